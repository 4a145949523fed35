"""BiC, bias correction (Wu, Chen, Wang, Ye, Liu, Guo, Fu: "Large Scale Incremental Learning", CVPR 2019)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clsim import kit


class BiC(kit.Strategy):
    """After each task, scale and shift the logits of its classes to fit held-out rows: `lwf+er+bic`.

    z -> beta z + gamma on the columns of the newest classes, fitted to rows that were held out of training: of the task
    and of the memory. **AP of a class cannot see it**: beta > 0 keeps the order of images within a class, so mAP and
    forgetting are those without it in the same task. Only numbers at a threshold (CF1, OF1, FPR) change, and through
    the teacher and relabelling later tasks. What it costs can be seen: a tenth of the rows is not trained on.

    DECIDED: the first stage is the host's, `lwf+er`. The paper mixes cross-entropy and distillation by lam = old / all
    classes; here they have disjoint entries, known and unknown ones. The correction is written into the head, so that
    teacher, relabelling and scores have it; the paper goes on training the uncorrected head. Held-out rows are weighted
    so that each class's positives count the same. Unknown new classes of memory rows are absent where `er` takes them
    for absent, else left out. The penalty of gamma is one of beta - 1, too, because the fit of rows that can be
    separated has no end. Which rows of the memory validate is left to its selection: those held out that it stores,
    a tenth on average; with few rows per class that may be none.
    """

    name = "bic"
    claims: ClassVar[frozenset[str]] = frozenset({"correction"})
    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "imbalance"
    year = 2019
    stores = "nothing"
    cost = "a forward pass over held-out rows after each task, and a fit of two numbers on them"
    bib = """@inproceedings{wu2019large,
  author = {Wu, Yue and Chen, Yinpeng and Wang, Lijuan and Ye, Yuancheng and Liu, Zicheng and Guo, Yandong and Fu, Yun},
  title = {Large Scale Incremental Learning},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019},
}"""
    whole_task = "holds out a share of"

    class Options(kit.Options):
        share: float = Field(0.1, gt=0, lt=1, description="share of a task's rows that is held out of training")
        ridge: float = Field(0.1, ge=0, description="factor of (beta - 1)^2 + gamma^2 in the fit of the correction")

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        return [kit.BiasCorrection(self.options.share, self.options.ridge)]

    def first_task_key(self) -> str | None:
        return f"bic share={self.options.share}"  # rows are held out from the start
