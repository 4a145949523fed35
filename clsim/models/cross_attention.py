"""The incremental cross-attention head of KRT (Dong et al., ICCV 2023, arXiv 2302.13334): one token per task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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
        """Return e_s of each task, [B, tasks, e]; each is computed alone, so that more tasks change no bit of it.

        There is one query, the same for all images and tasks. So its key matrix is applied to it instead of to each
        position, and the value matrix to what a head has gathered: (Wq u) . (Wk x) = (Wk' Wq u) . x and
        sum_n a_n Wv x_n = Wv sum_n a_n x_n. This costs N times fewer products, N the positions of the map.
        """
        x = self.norm1(self.project(positions(maps)) + self.place)
        query = self.query(self.norm1(self.shared)).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [H, 1, e/H]
        sought = query.bmm(self._by_head(self.key)).squeeze(1) / math.sqrt(self.width // self.heads)  # [H, e]
        scores = F.linear(x, sought)  # [B, N, H]
        seen = [self._token(own, x, sought, scores) for own in self.own]
        return torch.stack(seen, dim=1) if seen else x[:, :0]

    def classified(self, tokens: Tensor) -> Tensor:
        parts = [
            rows(norm(tokens[:, task])) for task, (norm, rows) in enumerate(zip(self.norms, self.rows, strict=True))
        ]
        return torch.cat(parts, dim=1) if parts else tokens.new_zeros(len(tokens), 0)

    def _token(self, own: Tensor, x: Tensor, sought: Tensor, scores: Tensor) -> Tensor:
        """Return e_s [B, e] of one task.

        Args:
            x: normed positions of the map, [B, N, e].
            sought: the query of each head through its key matrix, [H, e].
            scores: of the positions by it, [B, N, H].
        """
        first = self.norm1(torch.cat([self.shared, own]))
        of_first = F.linear(first, sought).expand(x.shape[0], -1, -1)
        weights = torch.cat([of_first, scores], dim=1).softmax(dim=1).transpose(1, 2)  # [B, H, 2 + N]
        gathered = weights[..., :2].bmm(first.expand(x.shape[0], -1, -1)) + weights[..., 2:].bmm(x)  # [B, H, e]
        values = gathered.transpose(0, 1).bmm(self._by_head(self.value).transpose(1, 2))  # [H, B, e/H]
        token = self.shared + self.out(values.transpose(0, 1).flatten(1))
        seen: Tensor = token + self.mlp(self.norm2(token))
        return seen

    def _by_head(self, linear: nn.Linear) -> Tensor:
        """Return the matrix of a linear map as one per head, [H, e/H, e]."""
        return linear.weight.unflatten(0, (self.heads, -1))
