"""Learning without Forgetting in its multi-label form (Li & Hoiem, ECCV 2016; as the LwF rows of KRT, ICCV 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from clsim import kit


class LwF(kit.Strategy):
    """Distil the sigmoids of old classes from the model after the previous task (LwF)."""

    name = "lwf"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes", "distillation"})
    leaves: ClassVar[dict[str, str]] = {"old_classes": "completion"}
    family = "distillation"
    year = 2016
    stores = "the model before the task"
    cost = "a forward pass of that model in each step"
    bib = """@inproceedings{li2016learning,
  author = {Li, Zhizhong and Hoiem, Derek},
  title = {Learning without Forgetting},
  booktitle = {European Conference on Computer Vision},
  year = {2016},
}"""

    class Options(kit.Options):
        weight: float = Field(1.0, ge=0, description="factor of the distillation term")
        old_classes: Literal["distil", "negative", "ignore"] = Field(
            "distil", description="unknown old classes of new images: from the teacher, read as absent, or left out"
        )
        memory: Literal["given", "teacher"] = Field(
            "given",
            description="old classes of memory rows: given labels stay and the teacher says the others, or it says all "
            "(iCaRL's source)",
        )

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        if self.options.memory == "given":
            return
        memories = [other.options for other in self.others if "memory" in other.claims]
        told = {getattr(options, "other_classes", "distil") for options in memories} - {"distil"}
        if told or not memories:
            beside = f"beside other_classes: {told.pop()}, which distils none" if told else "without a memory"
            raise kit.StrategyError(f"strategy.lwf.memory: given 'teacher' {beside}; allowed there: given")

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.unknown import ForgottenLabels

        options = self.options
        plugins: list[kit.Plugin] = []
        if self.decides("old_classes"):
            plugins.append(kit.OldClassesOfNewRows(options.old_classes))
        if options.memory == "teacher":
            plugins.append(ForgottenLabels())
        return [*plugins, kit.Distillation(kit.sigmoid_distillation, options.weight, context.snapshot)]

    def first_task_key(self) -> str | None:
        return ""  # the first task has neither old classes nor a teacher
