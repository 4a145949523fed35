"""KRT's network and token loss (Dong et al., "Knowledge Restore and Transfer for Multi-Label Class-Incremental
Learning", ICCV 2023, arXiv 2302.13334)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from clsim import kit


class KRT(kit.Strategy):
    """Cross-attention head with one token per task; a loss keeps the direction of earlier tasks' tokens (KRT).

        L = L_cls + lambda_t L_tok,   lambda_t = weight sqrt(|C_1..t| / |C_t|)
        L_tok = mean over images of 1 - cos(earlier tasks' tokens, those of the model before the task)

    See `clsim.models.cross_attention`. The head reads the backbone's map, so a frozen backbone needs
    `training.model.cache_features: maps` or false. The published method adds dynamic pseudo-labels of old classes, a
    memory chosen by herding, and the asymmetric loss: `krt+er(selection=herding)` with `training.loss: {name: asl,
    gamma_pos: 0}`, and a part that fills old classes. Alone it leaves unknown old classes out of the loss.

    DECIDED: the published weight of L_tok is against a sum over the 64 rows of a batch, here L_cls is divided by them;
    so the default is 100 / 64 (COCO B0; COCO B40: 300 / 64, VOC: 80 / 64). |C_t| is the task's own number of classes,
    which the paper takes as equal for all.
    """

    name = "krt"
    family = "architecture"
    year = 2023
    stores = "a token per task, in the network, and the model before the task"
    cost = "its head: an attention over the map per task; a forward pass of that model in each step"
    bib = """@inproceedings{dong2023knowledge,
  author = {Dong, Songlin and Luo, Haoyu and He, Yuhang and Wei, Xing and Cheng, Jie and Gong, Yihong},
  title = {Knowledge Restore and Transfer for Multi-Label Class-Incremental Learning},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2023},
}"""

    class Options(kit.Options):
        weight: float = Field(1.5625, ge=0, description="lambda, factor of the token loss before it is scaled")
        width: PositiveInt = Field(384, description="e, width of the tokens (published: COCO 384, VOC 768)")
        heads: PositiveInt = Field(8, description="heads of the attention; they divide width")

        @model_validator(mode="after")
        def _divides(self) -> Self:
            if self.width % self.heads:
                raise ValueError(f"width must be a multiple of heads, {self.heads}, given {self.width}")
            return self

    options: Options

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        from clsim.models.cross_attention import CrossAttentionHead

        options = self.options
        network.head = CrossAttentionHead(network.map_place.shape, seed, options.width, options.heads)
        return network

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.token_distillation import TokenDistillation

        return [TokenDistillation(self.options.weight, context.snapshot)]

    def first_task_key(self) -> str | None:
        return f"krt width={self.options.width} heads={self.options.heads}"  # there are no earlier tokens
