"""What a scenario file may say of its stream: classes of each task, and who is in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.path_options import DATA_PATH
from clsim.parts import PartOption
from clsim.scenario.online_schema import OnlineSection
from clsim.scenario.section import PositiveInt, Section, either


class Disjoint(Section):
    disjoint: Literal["random", "first", "rarest"] = Field(
        description="task of an image whose classes belong to several tasks: a random one, the first, or that of "
        "its rarest class"
    )


class OwnRule(Section):
    rule: Annotated[str, PartOption("stream-rule")] = Field(
        description="file.py:function, relative to the scenario, or the name of an entry point",
        examples=["my_rule.py:by_size"],
    )
    options: dict[str, Any] = Field({}, description="keyword parameters of the function")


class Given(Section):
    given: Annotated[str, DATA_PATH] = Field(
        min_length=1,
        description="CSV file with the columns image and task, tasks counted from 0; an image with several lines "
        "is in several tasks; relative to the scenario",
    )


Assignment = Annotated[
    Annotated[Literal["overlap"], Tag("keyword")]
    | Annotated[Disjoint, Tag("{disjoint}")]
    | Annotated[OwnRule, Tag("{rule}")]
    | Annotated[Given, Tag("{given}")],
    either("overlap", "{disjoint: random | first | rarest}", "{rule: file.py:function}", "{given: partition.csv}"),
]


class RepetitionSection(Section):
    probability: float = Field(
        gt=0, le=1, description="probability that a class seen before comes back in a later task; drawn for each task"
    )
    images: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the images with returning classes only that are kept; drawn for each task",
    )


class BlurrySection(Section):
    tasks: int = Field(ge=2, description="number of tasks")
    disjoint: float = Field(
        ge=0,
        le=1,
        description="share of classes that belong to one task each, the first ones of `order` (N of i-Blurry)",
    )
    blurred: float = Field(
        ge=0, le=1, description="share of the images of the other classes that move to another task (M of i-Blurry)"
    )
    sizes: Literal["even", "random"] = Field(
        "even", description="number of classes per task: even: equal; random: random sizes (Si-Blurry)"
    )


DomainName = Annotated[
    str,
    BeforeValidator(lambda given: str(given) if type(given) is int else given, json_schema_input_type=str | int),
]


class DomainsSection(Section):
    column: str = Field(
        min_length=1, description="column of the table that names the domain of an image; for digits: crowding"
    )
    order: Literal["sorted"] | list[DomainName] = Field(
        "sorted",
        description="order of the domains, one task each: sorted (by number or name), or a list; unlisted domains"
        " are left out",
    )


def _of_column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class StreamSection(Section):
    base: int = Field(0, ge=0, description="number of classes in the first task; 0: as many as `increment`")
    increment: PositiveInt | None = Field(
        None,
        description="number of classes in each later task; the last task may have fewer. Alternatives: `sizes`, "
        "`tasks`, `blurry`, `domains`",
    )
    sizes: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        None,
        description="number of new classes in each task, in place of base and increment; 0: the task only repeats"
        " classes",
        examples=[[24, 18, 14, 14]],
    )
    tasks: Annotated[list[Annotated[list[str], Field(min_length=1)]], Field(min_length=1)] | None = Field(
        None,
        description="names of the classes in each task, in place of base, increment and order; a class named "
        "again comes back",
        examples=[[["cat", "dog"], ["horse"]]],
    )
    blurry: BlurrySection | None = Field(
        None,
        description="blurred task borders, in place of base, increment and assignment: some classes belong to one"
        " task, the others appear in all tasks",
    )
    domains: (
        Annotated[DomainsSection, BeforeValidator(_of_column, json_schema_input_type=str | DomainsSection)] | None
    ) = Field(
        None,
        description="domain-incremental stream, in place of base, increment and assignment: every task has all "
        "classes and the images of one domain; name of a column, or {column, order}",
        examples=["weather"],
    )
    order: Literal["alphabetical", "seed", "frequency"] | list[str] = Field(
        "alphabetical",
        description="class order: by name, shuffled with order_seed, by decreasing number of training positives, "
        "or a list. With a long tail, seed is the shuffled and frequency the ordered setting of Liu "
        "et al., ECCV 2022",
    )
    repetition: RepetitionSection | None = Field(
        None, description="lets classes come back at random; null: only those that `tasks` names again"
    )
    online: OnlineSection | None = Field(
        None,
        description="online stream: each task is one pass over its images in small batches. training.epochs is "
        "then 1 and training.batch_size the size of these batches. null: all images of a task are "
        "available at once",
    )
    order_seed: int = Field(0, ge=0, description="seed of the class order when `order` is seed")
    assignment: Assignment = Field(
        "overlap",
        description="which images a task has: all with one of its classes (overlap), each image in one task "
        "(disjoint), a table, or a rule of your own",
    )
    seed: int = Field(
        0,
        ge=0,
        description="seed of all other random choices of the plan: assignment, visibility, noise, validation split",
    )

    @property
    def summary(self) -> str:
        """How classes are dealt out: B0-C2, or the number of classes of each task, such as 24-18-14-14."""
        return self._classes + ("" if self.online is None else f", online by {self.online.batch}")

    @property
    def _classes(self) -> str:
        if self.increment is not None:
            return f"B{self.base}-C{self.increment}"
        if self.blurry is not None:
            return f"blurry {self.blurry.disjoint:g}/{self.blurry.blurred:g} x {self.blurry.tasks}"
        if self.domains is not None:
            return f"domains by {self.domains.column}"
        return "-".join(map(str, self.sizes or [len(task) for task in self.tasks or []]))

    @property
    def overlaps(self) -> bool:
        """Whether every image comes in each task of which it shows a class."""
        return self.assignment == "overlap" and self.blurry is None and self.domains is None

    @model_validator(mode="after")
    def _one_way_to_say_tasks(self) -> Self:
        given = [key for key in _EXCLUDED if getattr(self, key) is not None]
        if not given:
            *some, last = _EXCLUDED
            text = f"one of {', '.join(some)} and {last} is missing"
            raise PydanticCustomError("absent", "{text}", {"text": text})
        for key in [*given[1:], *_EXCLUDED[given[0]]]:
            if getattr(self, key) != type(self).model_fields[key].default:
                text = f"not together with {given[0]}; leave one of them out, or set it to null"
                raise PydanticCustomError("misplaced", "{text}", {"below": (key,), "text": text})
        return self


_EXCLUDED: dict[str, tuple[str, ...]] = {
    "increment": (),
    "sizes": ("base",),
    "tasks": ("base", "order", "repetition"),
    "blurry": ("base", "repetition", "assignment"),
    "domains": ("base", "repetition", "assignment"),
}
"""Ways to say what the tasks are, and the keys beside which each has no meaning."""
