"""PyTorch's side of ``train``: the same decoder, eager, with fused attention.

The model is agents/transformer.py's, written as PyTorch people write it: ``nn.Linear``,
``F.rms_norm``, ``F.scaled_dot_product_attention`` (is_causal), fused AdamW, foreach clipping.
Runs in the rival's own environment. By hand: ``python torch_train.py WIDTH LAYERS HEADS T B``.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from serve import clock, serve
from torch import Tensor, nn

EPSILON = 1e-6


class Norm(nn.Module):
    """RMSNorm with a gain."""

    def __init__(self, size: int, gain: float = 1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.full((size,), gain))

    def forward(self, x: Tensor) -> Tensor:
        """float[..., size], normalised over the last axis."""
        return F.rms_norm(x, self.scale.shape, self.scale, EPSILON)


class Block(nn.Module):
    """Attention with normalised, rotated queries and keys, then squared ReLU."""

    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.norm_attention, self.norm_mlp = Norm(width), Norm(width)
        self.qkv = linear(width, 3 * width)
        gain = float(self.depth) ** 0.25
        self.norm_query, self.norm_key = Norm(self.depth, gain), Norm(self.depth, gain)
        out = (2 * layers) ** -0.5
        self.project = linear(width, width, out)
        self.expand = linear(width, 4 * width)
        self.contract = linear(4 * width, width, out)

    def heads_of(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value float[B, H, T, D] of x float[B, T, d]."""
        split = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, self.depth))
        query, key, value = (h.transpose(1, 2) for h in split.unbind(2))
        return rotate(self.norm_query(query), cos, sin), rotate(self.norm_key(key), cos, sin), value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block, given the attention's output float[B, H, T, D]."""
        x = x + self.project(attended.transpose(1, 2).flatten(2))
        return x + self.contract(F.relu(self.expand(self.norm_mlp(x))).square())

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """float[B, T, d] -> the same shape; the default scale of the attention is 1/sqrt(D)."""
        query, key, value = self.heads_of(x, cos, sin)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.finish(x, attended)


class Decoder(nn.Module):
    """Tokens in, action logits out."""

    def __init__(
        self, width: int, layers: int, heads: int, fields: int, symbols: int, actions: int
    ):
        super().__init__()
        self.fields, self.symbols, self.actions = fields, symbols, actions
        features = 2 * fields * symbols + actions + 4
        self.embed = linear(features, width, features**0.5)
        self.blocks = nn.ModuleList(Block(width, heads, layers) for _ in range(layers))
        self.norm = Norm(width)
        self.head = linear(width, actions)
        self.depth = width // heads

    def features(self, tokens: dict[str, Tensor]) -> Tensor:
        """float[..., W]: indicators side by side, then the scalars."""

        def indicators(index: Tensor, count: int) -> Tensor:
            return (index[..., None] == torch.arange(count)).float()

        scalars = [tokens[name].float() for name in ("reward", "terminated", "start", "cut")]
        return torch.cat(
            [
                indicators(tokens["observation"], self.symbols).flatten(-2),
                indicators(tokens["successor"], self.symbols).flatten(-2),
                indicators(tokens["action"], self.actions),
                torch.stack(scalars, -1),
            ],
            dim=-1,
        )

    def forward(self, tokens: dict[str, Tensor]) -> Tensor:
        """Logits float[B, T, A] of tokens [B, T]."""
        x = self.embed(self.features(tokens))
        cos, sin = angles(torch.arange(x.shape[1]), self.depth)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.norm(x))

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Takes weights named as ours are, matrices [in, out]."""
        for name, parameter in self.named_parameters():
            ours = weights[name.replace("weight", "kernel")]
            wanted = torch.from_numpy(ours.T.copy() if ours.ndim == 2 else ours)
            if wanted.shape != parameter.shape:
                raise ValueError(f"{name}: {tuple(wanted.shape)} for {tuple(parameter.shape)}")
            parameter.data.copy_(wanted)


def linear(inputs: int, outputs: int, scale: float = 1.0) -> nn.Linear:
    """A matrix drawn from a normal distribution of deviation ``scale`` / sqrt(inputs)."""
    made = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(made.weight, std=scale / inputs**0.5)
    return made


def angles(position: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine float[T, D/2] of the rotary embedding."""
    half = depth // 2
    frequency = 10000.0 ** (-torch.arange(half) / half)
    angle = position[:, None].float() * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of float[..., T, D]."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Training:
    """One model, its optimiser and one batch."""

    def __init__(self):
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    def setup(
        self,
        width: int,
        layers: int,
        heads: int,
        length: int,
        batch: int,
        fields: int = 2,
        symbols: int = 38,
        actions: int = 4,
        weights: str = "",
        seed: int = 0,
    ) -> dict[str, float]:
        """Builds all; ``weights`` is an .npz of ours. Returns the number of parameters."""
        torch.manual_seed(seed)
        self.model = Decoder(width, layers, heads, fields, symbols, actions)
        if weights:
            self.model.load(dict(np.load(weights)))
        dice = np.random.default_rng(seed)
        shape = (batch, length)
        self.tokens = batch_of(dice, shape, fields, symbols, actions)
        self.labels = torch.from_numpy(dice.integers(0, actions, shape))
        groups = [[p for p in self.model.parameters() if (p.ndim > 1) == m] for m in (True, False)]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": groups[0], "weight_decay": 0.01},
                {"params": groups[1], "weight_decay": 0.0},
            ],
            lr=1e-3,
            betas=(0.9, 0.95),
            fused=True,
        )
        return {"parameters": sum(p.numel() for p in self.model.parameters())}

    def logits(self, tokens: str, out: str) -> None:
        """Writes the logits of an .npz of tokens to a .npy."""
        with torch.inference_mode():
            given = {name: torch.from_numpy(x) for name, x in np.load(tokens).items()}
            np.save(out, self.model(given).numpy())

    def update(self) -> float:
        """Forward, backward, clipping, AdamW; the loss."""
        logits = self.model(self.tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), self.labels.flatten())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.optimiser.step()
        return loss.item()

    def run(self, times: int = 1) -> list[float]:
        """Seconds of each update."""
        return clock(self.update, times)

    def version(self) -> str:
        """What runs here."""
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads, eager"


def batch_of(
    dice: np.random.Generator, shape: tuple[int, ...], fields: int, symbols: int, actions: int
) -> dict[str, Tensor]:
    """Random tokens [B, T]; the fields of an observation lie on a last axis."""
    whole = {
        "observation": dice.integers(0, symbols, (*shape, fields)),
        "successor": dice.integers(0, symbols, (*shape, fields)),
        "action": dice.integers(0, actions, shape),
        "reward": dice.random(shape, np.float32),
        "terminated": dice.random(shape) < 0.1,
        "start": dice.random(shape) < 0.1,
        "cut": dice.random(shape) < 0.1,
    }
    return {name: torch.from_numpy(np.asarray(x)) for name, x in whole.items()}


if __name__ == "__main__":
    training = Training()
    if len(sys.argv) == 1:
        names = ("setup", "run", "logits", "update", "version")
        serve({name: getattr(training, name) for name in names})
    else:
        width, layers, heads, length, batch = map(int, sys.argv[1:6])
        made = training.setup(width, layers, heads, length, batch)
        training.run(3)
        seconds = sorted(training.run(9))
        print(
            f"{training.version()}: {made['parameters']} parameters, median "
            f"{1e3 * seconds[4]:.1f} ms an update (min {1e3 * seconds[0]:.1f}, max "
            f"{1e3 * seconds[-1]:.1f}), {length * batch / seconds[4]:.0f} tokens/s"
        )
