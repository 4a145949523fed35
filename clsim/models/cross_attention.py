"""The incremental cross-attention head of KRT (Dong et al., ICCV 2023, arXiv 2302.13334): one token per task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clsim.models.head import TokenHead, positions


class CrossAttentionHead(TokenHead):
    """Lets one shared query look at an image's map once per task, and classifies what it sees by that task's head.

        X = [u; k_s; x],  x the N positions of the map in width e, u shared, k_s of task s
        e_s = u + Attention(query LN(u), keys and values LN(X)),   e_s <- e_s + MLP(LN(e_s))
        logits of the classes of task s = Linear_s(LN_s(e_s))

    The attention block, u, the projection of the map and its positions are shared by all tasks and go on learning; k_s,
    LN_s and Linear_s of earlier tasks are frozen when the head grows.

    DECIDED: linear maps of the block begin with weights N(0, 0.01) and torch's biases, tokens and positions with a
    normal distribution of 0.02 cut at 2; heads, which are made later, as torch makes a Linear (all as in the released
    code).

    Args:
        shape: of the map of one image, (d, h, w) or (N, d).
        seed: the run's seed.
        width: e.
        heads: of the attention; they divide e.
    """

    def __init__(self, shape: Sequence[int], seed: int, width: int = 384, heads: int = 8) -> None:
        inputs = shape[0] if len(shape) == 3 else shape[1]
        n_positions = math.prod(shape) // inputs
        super().__init__(inputs, seed)
        self.width = width
        self.heads = heads
        self.project = nn.Linear(inputs, width)
        self.place = nn.Parameter(torch.empty(n_positions, width))
        self.shared = nn.Parameter(torch.empty(1, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.own = nn.ParameterList()
        self.norms = nn.ModuleList()
        self.rows = nn.ModuleList()
        generator = self.generator("block")
        with torch.no_grad():
            for linear in (self.query, self.key, self.value, self.out, *self.mlp[::2]):
                linear.weight.normal_(0, 0.01, generator=generator)
        for token in (self.place, self.shared):
            nn.init.trunc_normal_(token, std=0.02, generator=generator)

    def add_classes(self, columns: range) -> None:
        for earlier in (self.own, self.norms, self.rows):
            earlier.requires_grad_(False)
        generator, like = self.generator("task", columns.start), self.shared
        own = nn.init.trunc_normal_(torch.empty(1, self.width), std=0.02, generator=generator)
        rows = nn.Linear(self.width, len(columns))
        bound = 1 / math.sqrt(self.width)
        with torch.no_grad():
            for values in (rows.weight, rows.bias):
                values.uniform_(-bound, bound, generator=generator)
        self.own.append(nn.Parameter(own.to(like)))
        self.norms.append(nn.LayerNorm(self.width).to(like))
        self.rows.append(rows.to(like))

    def tokens(self, maps: Tensor) -> Tensor:
        """Return e_s of each task, [B, tasks, e]; each is computed alone, so that more tasks change no bit of it."""
        x = self.norm1(self.project(positions(maps)) + self.place)
        keys, values = self._divided(self.key(x)), self._divided(self.value(x))
        seen = [self._token(own, keys, values) for own in self.own]
        return torch.stack(seen, dim=1) if seen else x[:, :0]

    def classified(self, tokens: Tensor) -> Tensor:
        parts = [
            rows(norm(tokens[:, task])) for task, (norm, rows) in enumerate(zip(self.norms, self.rows, strict=True))
        ]
        return torch.cat(parts, dim=1) if parts else tokens.new_zeros(len(tokens), 0)

    def _token(self, own: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return e_s [B, e] of one task from keys and values of the map, [B, H, N, e/H]."""
        first = self.norm1(torch.cat([self.shared, own]))
        query = self._divided(self.query(first[:1]))
        keys, values = (
            torch.cat([self._divided(linear(first)).expand(keys.shape[0], -1, -1, -1), others], dim=2)
            for linear, others in ((self.key, keys), (self.value, values))
        )
        weights = (query @ keys.transpose(-1, -2) / math.sqrt(self.width // self.heads)).softmax(dim=-1)
        token = self.shared + self.out((weights @ values).flatten(1))
        seen: Tensor = token + self.mlp(self.norm2(token))
        return seen

    def _divided(self, x: Tensor) -> Tensor:
        """Return [..., n, e] as heads, [..., H, n, e/H]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
