"""The source of a data set, from its options."""

from __future__ import annotations

from pydantic import BaseModel

from clsim.data.own import ObjectConfig, open_object, open_own
from clsim.data.own_class import OwnConfig
from clsim.data.source import ImageSource
from clsim.parts import find
from clsim.sealing import refuse_sealed


def open_source(options: BaseModel) -> ImageSource:
    """Return the source of a data set's options, or of a scenario section that extends them; reads no data yet.

    Raises:
        Unplannable: a class of the user's own that is not there, or does not take its options.
        Sealed: a run trains in this process.
    """
    refuse_sealed("a data set with its labels")
    if isinstance(options, OwnConfig):
        return open_own(options)
    if isinstance(options, ObjectConfig):
        return open_object(options)
    kind = find("dataset", str(options.name))  # type: ignore[attr-defined]
    source: ImageSource = kind(kind.Options(**{name: getattr(options, name) for name in kind.Options.model_fields}))
    return source
