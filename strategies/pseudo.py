"""Pseudo-labels of old classes on new rows, as the part that several multi-label methods share.

KRT's dynamic pseudo-labels (Dong et al., "Knowledge Restore and Transfer for Multi-Label Class-Incremental Learning",
ICCV 2023, arXiv 2302.13334), HCP's recall enhancement (Zhang et al., AAAI 2025, arXiv 2503.17017), KBK's uncertain
recall enhancement (arXiv 2608.30316), and the F1 threshold of RCLP (Ceccon et al., WACV 2025, arXiv 2404.06859).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from clsim import kit


class Pseudo(kit.Strategy):
    """Label old classes of new images as present where the model before the task is sure of them.

        y_c <- 1 if y_c is unknown, c is old and q_c > theta_c;   the rest: absent, left out, or distilled

    See `clsim.training.pseudo_labels`. After each task the evaluator compares what is written with the truth:
    `written/PseudoLabels_precision`. With a part that distils (`pseudo+lwf`), that part's `old_classes` is left to
    `rest`. With a relabelled memory it is `rclp`.

    DECIDED: `dynamic` starts at 0.8 in every task, where the released code goes on from the last one; it looks at new
    rows only, where the released code counts memory rows, whose old labels are there already; thresholds per class are
    set when the task of the class ends and stay (KBK "updates queues after each session").
    """

    name = "pseudo"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes", "completion"})
    family = "labels"
    year = 2023
    stores = "the model before the task and a threshold per class"
    cost = "a forward pass of that model in each step, and one or two passes over the rows of a task"
    bib = """@inproceedings{dong2023knowledge,
  author = {Dong, Songlin and Luo, Haoyu and He, Yuhang and Wei, Xing and Cheng, Jie and Gong, Yihong},
  title = {Knowledge Restore and Transfer for Multi-Label Class-Incremental Learning},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2023},
}

@inproceedings{zhang2025specifying,
  author = {Zhang, Aoting and Yang, Dongbao and Liu, Chang and Hong, Xiaopeng and Zhou, Yu},
  title = {Specifying What You Know or Not for Multi-Label Class-Incremental Learning},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2025},
}

@inproceedings{ceccon2025multi,
  author = {Ceccon, Marina and Dalle Pezze, Davide and Fabris, Alessandro and Susto, Gian Antonio},
  title = {Multi-Label Continual Learning for the Medical Domain: A Novel Benchmark},
  booktitle = {IEEE/CVF Winter Conference on Applications of Computer Vision},
  year = {2025},
}"""

    class Options(kit.Options):
        rule: Literal["fixed", "dynamic", "recall", "uncertain", "f1"] = Field(
            "dynamic",
            description="theta: the number `threshold`; one number for all old classes, by how many positives an image "
            "should get (KRT); by class the mean score of its positives (HCP), the upper score of their mean entropy "
            "(KBK), or the best F1 on a held-out tenth of its task (RCLP)",
        )
        threshold: float = Field(
            0.8,
            gt=0,
            description="of fixed, where dynamic starts, and of classes that the other rules cannot judge; above 1: no "
            "label is written",
        )
        statistic: Literal["mean"] | Annotated[float, Field(gt=0, lt=1)] = Field(
            "mean", description="of recall: the mean, or a quantile of the scores of a class's positives"
        )
        labels_per_image: Literal["seen"] | Annotated[float, Field(gt=0)] = Field(
            "seen",
            description="of dynamic: by the positives and images seen so far; or the classes that an image of the "
            "whole data set shows on average (KRT: 1.4 on VOC, 2.9 on COCO), which makes the run a control",
        )
        rest: Literal["negative", "ignore", "distil"] = Field(
            "negative", description="other unknown old classes of these images: absent, left out, or of a teacher"
        )
        rows: Literal["new", "all"] = Field(
            "new", description="which rows are filled: the task's, or those of a memory as well (KRT)"
        )

        @model_validator(mode="after")
        def _belongs_to_the_rule(self) -> Self:
            for option, rule in (("statistic", "recall"), ("labels_per_image", "dynamic")):
                if option in self.model_fields_set and self.rule != rule:
                    raise ValueError(f"{option} belongs to the rule {rule}, but rule is {self.rule}")
            if self.rule == "dynamic" and self.threshold >= 1:
                raise ValueError(f"dynamic starts at a threshold below 1, given {self.threshold}")
            return self

    options: Options

    @property
    def control(self) -> str:  # type: ignore[override]  # by its options
        given = self.options.labels_per_image
        return "" if given == "seen" else f"pseudo.labels_per_image: labels of an image of the whole data set, {given}"

    @property
    def whole_task(self) -> str:
        does = {"fixed": "", "dynamic": "searches its threshold on", "f1": "with rule: f1 holds out a tenth of"}
        return does.get(self.options.rule, f"with rule: {self.options.rule} finds thresholds on")

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        for other in self.others:
            if "old_classes" in other.leaves and "old_classes" in other.options.model_fields_set:
                raise kit.StrategyError(
                    f"strategy.{other.name}.old_classes: given {other.options.old_classes!r}, but beside pseudo it is "
                    "strategy.pseudo.rest that says what unknown old classes are; leave it out"
                )
        distils = self.brought("distillation")
        if self.options.rest == "distil" and not distils:
            raise kit.StrategyError("strategy.pseudo.rest: given 'distil', which needs a teacher, such as pseudo+lwf")
        if self.options.rest != "distil" and distils and not self.brought("memory"):
            raise kit.StrategyError(
                f"strategy.pseudo.rest: given {self.options.rest!r}, which leaves nothing to distil without a memory; "
                "allowed beside distillation: distil"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.pseudo_labels import PseudoLabels

        options = self.options
        return [
            PseudoLabels(
                rule=options.rule,
                threshold=options.threshold,
                statistic=options.statistic,
                labels_per_image=options.labels_per_image,
                rest=options.rest,
                all_rows=options.rows == "all",
                n_classes=context.n_classes,
                snapshot=context.snapshot,
                held_out=context.held_out if options.rule == "f1" else None,
            )
        ]

    def first_task_key(self) -> str | None:
        return "or adaptive" if self.options.rule == "f1" else ""  # what is held out; there are no old classes
