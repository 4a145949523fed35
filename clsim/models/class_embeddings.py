"""The class-embedding head of HCP and KBK (Zhang et al., AAAI 2025, arXiv 2503.17017; arXiv 2608.30316)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clsim.models.head import TokenHead, positions


class ClassEmbeddingHead(TokenHead):
    """Lets an image's map and one embedding per class attend to each other, and classifies what the embeddings become.

        X = [F; S],  F the N positions of the map in width e, S the embeddings [S, e]
        X <- X + Attention(LN X),   X <- X + MLP(LN X)      in each block
        O_c = row of class c in X                           logit z_c = <w_c, O_c> + b_c

    s_c, w_c and b_c of earlier tasks are frozen when the head grows: a finished task is merged into what stands. The
    blocks are shared by all tasks and go on learning. O_c of an earlier class changes when the head grows, because it
    attends to new embeddings.

    Beside the classes it has a unit for classes that nobody knows, <u, O> + b, which is drawn anew when the head grows
    and gives no logit; see `clsim.training.unknown_class`.

    DECIDED: one w_c and b_c per class (the text does not say whether classes share them); blocks normalise first and
    have an MLP of 4 e, as in ViT; no positional encoding, of which the text says nothing; embeddings begin with a
    normal distribution of 0.02 cut at 2, as class tokens do, w_c and u as torch's Linear, all with bias 0.

    Args:
        n_features: width d of the map.
        seed: the run's seed.
        width: e; None: d, with no projection.
        depth: number of blocks.
        heads: of each attention; they divide e.
    """

    def __init__(self, n_features: int, seed: int, width: int | None = None, depth: int = 1, heads: int = 4) -> None:
        super().__init__(n_features, seed)
        self.width = width or n_features
        self.project = nn.Identity() if width is None else nn.Linear(n_features, width)
        self.blocks = nn.ModuleList(SelfAttention(self.width, heads) for _ in range(depth))
        self.embeddings, self.rows, self.biases = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.unknown = nn.Linear(self.width, 1)

    def add_classes(self, columns: range) -> None:
        like = self.unknown.weight
        drawn = [torch.empty(1, self.width) for _ in columns]
        for column, embedding in zip(columns, drawn, strict=True):
            nn.init.trunc_normal_(embedding, std=0.02, generator=self.generator("embedding", column))
        rows = torch.cat([self._drawn("row", column) for column in columns])
        for own, new in (
            (self.embeddings, torch.cat(drawn)),
            (self.rows, rows),
            (self.biases, torch.zeros(len(columns))),
        ):
            own.requires_grad_(False)
            own.append(nn.Parameter(new.to(like)))
        with torch.no_grad():
            self.unknown.weight.copy_(self._drawn("unknown", columns.start))
            self.unknown.bias.zero_()

    def _drawn(self, *purpose: str | int) -> Tensor:
        """Return a row [1, e] as torch draws those of a linear map, uniform in +-1/sqrt(e)."""
        return (torch.rand(1, self.width, generator=self.generator(*purpose)) * 2 - 1) / math.sqrt(self.width)

    def tokens(self, maps: Tensor) -> Tensor:
        """Return O of the classes, [B, S, e]."""
        x = self.project(positions(maps))
        known = x.shape[1]
        own = [embeddings.expand(x.shape[0], -1, -1) for embeddings in self.embeddings]
        joint = torch.cat([x, *own], dim=1)
        for block in self.blocks:
            joint = block(joint)
        return joint[:, known:]

    def classified(self, tokens: Tensor) -> Tensor:
        if not self.n_classes:
            return tokens.new_zeros(tokens.shape[0], 0)
        return (tokens * torch.cat([*self.rows])).sum(dim=2) + torch.cat([*self.biases])

    def of_unknown(self, tokens: Tensor) -> Tensor:
        """Return the logit of the unknown unit, [...], of outputs [..., e]."""
        logits: Tensor = self.unknown(tokens).squeeze(-1)
        return logits


class SelfAttention(nn.Module):
    """A block of self-attention of x float [B, n, e] that normalises first; see `ClassEmbeddingHead`.

    Args:
        width: e.
        heads: of the attention; they divide e.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, float [B, n, e]."""
        seen = self.norm1(x)
        query, key, value = (self._divided(linear(seen)) for linear in (self.query, self.key, self.value))
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        x = x + self.out((weights @ value).transpose(1, 2).flatten(2))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y

    def _divided(self, x: Tensor) -> Tensor:
        """Return [B, n, e] as heads, [B, H, n, e/H]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
