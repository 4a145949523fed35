"""Networks, or parts of them, that compute in their own precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(kind: str) -> AbstractContextManager[Any]:
    """Return a context without autocast; one that does nothing where none is on, because torch's takes time to make.

    Args:
        kind: of device, such as "cpu".
    """
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
