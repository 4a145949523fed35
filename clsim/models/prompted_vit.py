"""Prompts and patch selectors on a frozen vision transformer: one lane per task (MULTI-LANE; De Min et al., CoLLAs
2024).

A ViT is read through its blocks, whoever made it: torchvision's VisionTransformer and timm's. Its attention is computed
here from their weights, so that keys and values can be put before those of the tokens.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from clsim.errors import RunError
from clsim.models.head import Head


@dataclass(frozen=True)
class Block:
    """A block of a ViT: h <- h + Attention(norm1 h), h <- h + mlp(norm2 h).

    Attributes:
        weight: of queries, keys and values in turn, float [3 d, d].
        bias: theirs, float [3 d].
        out: linear map behind the attention.
        heads: of the attention; they divide d.
    """

    norm1: nn.Module
    weight: Tensor
    bias: Tensor
    out: nn.Module
    heads: int
    norm2: nn.Module
    mlp: nn.Module

    def attention(self, x: Tensor, context: Tensor, prompts: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Let tokens x look at a context; return what they see, [B, M, d].

        Args:
            x: normalised tokens [B, M, d], of which the queries are made.
            context: normalised tokens [B, N, d], of which keys and values are made.
            prompts: keys and values [L, d] that stand before those of the context; None: none.
        """
        weights, biases = self.weight.chunk(3), self.bias.chunk(3)
        query, key, value = (
            linear(tokens, weight, bias)
            for tokens, weight, bias in zip((x, context, context), weights, biases, strict=True)
        )
        if prompts is not None:
            key, value = (
                torch.cat([own.to(others).expand(others.shape[0], -1, -1), others], dim=1)
                for own, others in zip(prompts, (key, value), strict=True)
            )
        query, key, value = (self._divided(tokens) for tokens in (query, key, value))
        seen = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1) @ value
        found: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return found

    def finished(self, h: Tensor) -> Tensor:
        """Return tokens with what the MLP adds to them."""
        added: Tensor = self.mlp(self.norm2(h))
        return h + added

    def _divided(self, x: Tensor) -> Tensor:
        """Return [B, n, d] as heads, [B, H, n, d/H]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Lane(nn.Module):
    """What one task learns: G selectors, float [G, d], and L keys and values of each of its P first blocks, [P, L, d].

    DECIDED: all begin with orthonormal rows, which the sheet of the method says of the prompts.

    Args:
        blocks: number P of blocks with prompts.
    """

    def __init__(self, width: int, selectors: int, prompts: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()

        def orthonormal(*shape: int) -> nn.Parameter:
            rows = torch.empty(shape)
            for matrix in rows if rows.ndim == 3 else [rows]:
                nn.init.orthogonal_(matrix, generator=generator)
            return nn.Parameter(rows)

        self.selectors = orthonormal(selectors, width)
        self.keys = orthonormal(blocks, prompts, width)
        self.values = orthonormal(blocks, prompts, width)

    def prompts(self, block: int) -> tuple[Tensor, Tensor] | None:
        """Return keys and values of a block, [L, d] each; None where it has none."""
        return (self.keys[block], self.values[block]) if block < len(self.keys) else None


class LaneHead(Head):
    """Holds the lanes, one per task, and classifies what each of them sees by its task's linear map.

        logits of the classes of task s = Linear_s(f_s / |f_s|)

    A new lane begins as a copy of the one before; earlier lanes and linear maps are frozen when the head grows. It
    reads the features of a `PromptedViT`, [B, tasks d].

    DECIDED: one linear map per task, which is the shared one of the paper by rows, so that an optimiser gets the rows
    of the task alone: with momentum or weight decay the others would move without a gradient. Rows begin as torch makes
    a Linear, with bias 0.

    Args:
        n_features: width d of the ViT.
        seed: the run's seed.
        selectors: G.
        prompts: L.
        blocks: first blocks of the ViT that get prompts.
    """

    def __init__(self, n_features: int, seed: int, selectors: int, prompts: int, blocks: int) -> None:
        super().__init__(n_features, seed)
        self.sizes = (selectors, prompts, blocks)
        self.lanes = nn.ModuleList()
        self.rows = nn.ModuleList()
        self.register_buffer("place", torch.empty(0), persistent=False)  # where new modules are to be

    place: Tensor

    def add_classes(self, columns: range) -> None:
        for earlier in (self.lanes, self.rows):
            earlier.requires_grad_(False)
        lane = (
            copy.deepcopy(self.lanes[-1]).requires_grad_(True)
            if len(self.lanes)
            else Lane(self.n_features, *self.sizes, self.generator("lane"))
        )
        rows, bound = nn.Linear(self.n_features, len(columns)), 1 / math.sqrt(self.n_features)
        with torch.no_grad():
            rows.weight.uniform_(-bound, bound, generator=self.generator("rows", columns.start))
            rows.bias.zero_()
        self.lanes.append(lane.to(self.place))
        self.rows.append(rows.to(self.place))

    def logits(self, features: Tensor) -> Tensor:
        seen = features.unflatten(1, (len(self.rows), -1)).unbind(1) if len(self.rows) else ()
        parts = [rows(normalize(one, dim=-1)) for rows, one in zip(self.rows, seen, strict=True)]
        return torch.cat(parts, dim=1) if parts else features[:, :0]


class PromptedViT(nn.Module):
    """A frozen ViT, and what each lane sees in it: images [B, 3, H, W] -> features [B, lanes d], lane after lane.

    In each block, with x_0 the class token and x the patch tokens of the ordinary ViT behind norm1, and a lane's class
    token c and selectors s, u = norm1 [c; s]:

        p = softmax(u_s x' / sqrt d) x                       (G summaries in place of N patches)
        c <- c + Attention(u_c over prompts, u_c and p),     s <- s + u_s
        both <- both + mlp(norm2 both)

    c begins as the ViT's own class token with its position, s as the lane's selectors. The features of a lane are its c
    behind the ViT's last norm. The ViT is frozen, so no gradient reaches h or x. Lanes do not meet: each is computed
    alone, so that a lane more changes no bit of another one.

    DECIDED: the selectors that look at the patches are those behind norm1, as the patches are; the class token is no
    patch; prompts stand before projected keys and values. The ViT is always in evaluation mode.

    Args:
        vit: torchvision's or timm's, frozen, whose features are its class token.
        image_size: side of its images in pixels.

    Raises:
        RunError: no such ViT, seen on two images of noise; or one that is not frozen.
    """

    def __init__(self, vit: nn.Module, image_size: int) -> None:
        super().__init__()
        self.vit = vit.eval()
        self._lanes = (nn.ModuleList(),)  # in a tuple, because they are modules of the head
        if any(parameter.requires_grad for parameter in vit.parameters()):
            raise RunError("prompts need a frozen ViT; set training.model.freeze: backbone")
        if not self._is_read_rightly(image_size):
            raise RunError(
                "training.model.name: prompts need a ViT of torchvision or timm whose features are its class token, "
                f"such as vit_b_16; the backbone is a {type(vit).__name__}, which is none"
            )

    def new_head(self, seed: int, selectors: int, prompts: int, blocks: int) -> LaneHead:
        """Return a head that holds the lanes of this network; see `LaneHead`. Of fewer blocks all get prompts."""
        width = _blocks(self.vit)[0].weight.shape[1]
        head = LaneHead(width, seed, selectors, prompts, min(blocks, len(_blocks(self.vit))))
        self._lanes = (head.lanes,)
        return head

    def train(self, mode: bool = True) -> PromptedViT:
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        h = _embedded(self.vit, x)
        lanes: list[Any] = list(self._lanes[0])
        tokens = [(h[:, :1], lane.selectors) for lane in lanes]
        for index, block in enumerate(_blocks(self.vit)):
            seen = block.norm1(h)
            tokens = [
                _lane_step(block, seen[:, 1:], *own, lane.prompts(index))
                for lane, own in zip(lanes, tokens, strict=True)
            ]
            h = block.finished(h + block.attention(seen, seen))
        features = [_last_norm(self.vit)(c[:, 0]) for c, _ in tokens]
        return torch.cat(features, dim=1) if features else h[:, 0, :0]

    def plain(self, x: Tensor) -> Tensor:
        """Return the features [B, d] of a lane without prompts whose summaries are the patches: those of the ViT."""
        h = _embedded(self.vit, x)
        c = h[:, :1]
        for block in _blocks(self.vit):
            seen, own = block.norm1(h), block.norm1(c)
            c = block.finished(c + block.attention(own, torch.cat([own, seen[:, 1:]], dim=1)))
            h = block.finished(h + block.attention(seen, seen))
        features: Tensor = _last_norm(self.vit)(c[:, 0])
        return features

    @torch.no_grad()
    def _is_read_rightly(self, image_size: int) -> bool:
        weight = next(self.vit.parameters(), torch.empty(0))
        noise = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(weight) * 2 - 1
        try:
            ours = self.plain(noise)
        except (AttributeError, TypeError, RuntimeError):  # it has no such blocks, or other ones
            return False
        features = self.vit(noise)
        return ours.shape == features.shape and torch.allclose(
            ours, features, rtol=1e-3, atol=1e-4 * float(features.abs().max())
        )


def summarised(selectors: Tensor, patches: Tensor) -> Tensor:
    """Return for each selector [G, d] the mean of patches [B, N, d] that it weighs by their likeness, [B, G, d].

    By torch.bmm, because the bits of torch.matmul depend on whether the selectors are being trained.
    """
    likeness = torch.bmm(selectors.expand(patches.shape[0], -1, -1), patches.transpose(1, 2))
    return torch.bmm((likeness / math.sqrt(patches.shape[-1])).softmax(dim=-1), patches)


def _lane_step(
    block: Block, patches: Tensor, c: Tensor, s: Tensor, prompts: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Return class token [B, 1, d] and selectors [G, d] of a lane behind a block; no image has a say in the latter."""
    own, selectors = block.norm1(c), block.norm1(s)
    context = torch.cat([own, summarised(selectors, patches)], dim=1)
    return block.finished(c + block.attention(own, context, prompts)), block.finished(s + selectors)


def _embedded(vit: Any, x: Tensor) -> Tensor:
    """Return the tokens of images before the first block, [B, 1 + N, d], the class token first."""
    if hasattr(vit, "encoder"):
        patches = vit._process_input(x)
        tokens = torch.cat([vit.class_token.expand(x.shape[0], -1, -1), patches], dim=1)
        embedded: Tensor = tokens + vit.encoder.pos_embedding
    else:
        embedded = vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
    return embedded


def _blocks(vit: Any) -> list[Block]:
    if hasattr(vit, "encoder"):
        return [
            Block(
                layer.ln_1,
                layer.self_attention.in_proj_weight,
                layer.self_attention.in_proj_bias,
                layer.self_attention.out_proj,
                layer.self_attention.num_heads,
                layer.ln_2,
                layer.mlp,
            )
            for layer in vit.encoder.layers
        ]
    return [
        Block(
            block.norm1,
            block.attn.qkv.weight,
            block.attn.qkv.bias,
            block.attn.proj,
            block.attn.num_heads,
            block.norm2,
            block.mlp,
        )
        for block in vit.blocks
    ]


def _last_norm(vit: Any) -> nn.Module:
    norm: nn.Module = vit.encoder.ln if hasattr(vit, "encoder") else vit.norm
    return norm
