"""PyTorch's side of ``decode``: rollouts with a preallocated cache, in inference mode.

A step writes its keys and values in place and attends over the slice written so far, which eager
PyTorch may do at any length; shown contexts are prefilled once and their cache is repeated for the
rows that share them. Runs in the rival's own environment.
"""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.nn.functional as F
from serve import clock, serve
from torch import Tensor
from torch_train import Decoder, angles, batch_of


class Rollouts:
    """R rows on C shown contexts of P tokens, T steps each."""

    def __init__(self):
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    def setup(
        self,
        width: int,
        layers: int,
        heads: int,
        contexts: int,
        rows: int,
        prefix: int,
        length: int,
        fields: int = 2,
        symbols: int = 38,
        actions: int = 4,
        weights: str = "",
    ) -> None:
        """``rows`` on each of the contexts; ``weights`` is an .npz of ours."""
        torch.manual_seed(0)
        self.model = Decoder(width, layers, heads, fields, symbols, actions)
        if weights:
            self.model.load(dict(np.load(weights)))
        dice = np.random.default_rng(0)
        shapes = {"fields": fields, "symbols": symbols, "actions": actions}
        self.shown = batch_of(dice, (contexts, prefix), **shapes)
        self.told = batch_of(dice, (length, contexts * rows), **shapes)
        self.rows, self.prefix, self.length = rows, prefix, length

    def prefill(self, shown: dict[str, Tensor], room: int) -> list[tuple[Tensor, Tensor]]:
        """The cache float[R, H, P + room, D] of each layer, with the contexts' P in it."""
        x = self.model.embed(self.model.features(shown))
        cos, sin = angles(torch.arange(x.shape[1]), self.model.depth)
        cache = []
        for block in self.model.blocks:
            query, key, value = block.heads_of(x, cos, sin)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = block.finish(x, attended)
            pair = (h.repeat_interleave(self.rows, 0) for h in (key, value))
            cache.append(tuple(F.pad(h, (0, 0, 0, room)) for h in pair))
        return cache

    def decode(self, token: dict[str, Tensor], cache: list, time: int) -> Tensor:
        """Logits float[R, A] of one more token [R], written to the cache at ``time``."""
        x = self.model.embed(self.model.features(token))[:, None]
        cos, sin = angles(torch.tensor([time]), self.model.depth)
        for block, (keys, values) in zip(self.model.blocks, cache):
            query, key, value = block.heads_of(x, cos, sin)
            keys[:, :, time], values[:, :, time] = key[:, :, 0], value[:, :, 0]
            seen = (keys[:, :, : time + 1], values[:, :, : time + 1])
            x = block.finish(x, F.scaled_dot_product_attention(query, *seen))
        return self.model.head(self.model.norm(x))[:, 0]

    @torch.inference_mode()
    def once(self) -> None:
        """Prefills, then T steps; each acts with an action sampled from the logits."""
        cache = self.prefill(self.shown, self.length)
        action = self.told["action"][0]
        for time in range(self.length):
            token = {name: x[time] for name, x in self.told.items()} | {"action": action}
            logits = self.decode(token, cache, self.prefix + time)
            action = torch.multinomial(logits.softmax(-1), 1)[:, 0]

    @torch.inference_mode()
    def logits(self, tokens: str, shown: int, out: str) -> None:
        """Writes the logits of an .npz of tokens [B, T], of which the first ``shown`` are
        prefilled and the others decoded one by one, to a .npy [B, T - shown, A]."""
        given = {name: torch.from_numpy(x) for name, x in np.load(tokens).items()}
        length = given["action"].shape[1]
        cache = self.prefill({name: x[:, :shown] for name, x in given.items()}, length - shown)
        found = [
            self.decode({name: x[:, t] for name, x in given.items()}, cache, t)
            for t in range(shown, length)
        ]
        np.save(out, torch.stack(found, 1).numpy())

    def run(self, times: int = 1) -> list[float]:
        """Seconds of each rollout."""
        return clock(self.once, times)

    def version(self) -> str:
        """What runs here."""
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads, inference mode"


if __name__ == "__main__":
    rollouts = Rollouts()
    serve({name: getattr(rollouts, name) for name in ("setup", "run", "logits", "version")})
