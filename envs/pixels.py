"""Pixel observations: the other interface, the same 64 × 64 × 3 bytes for every family."""

from __future__ import annotations

import jax

from envs.core import Level, State
from envs.render import SIDE, pixels
from envs.wrappers import Wrapper


class Pixels(Wrapper):
    """Shows what the agent may see as a picture, rendered on the device. It goes outermost.

    Observation: uint8[64, 64, 3], the tiles of ``view`` in the project's palette (envs/tiles.py).
    Symbols there are none, so scrambling can change the meaning of actions only.
    """

    @property
    def num_fields(self) -> int:
        """No symbols: 0."""
        return 0

    @property
    def num_symbols(self) -> int:
        """No symbols: 0."""
        return 0

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return (SIDE, SIDE, 3)

    @property
    def observation_dtype(self) -> str:
        return "uint8"

    def observe(self, level: Level, state: State) -> jax.Array:
        """uint8[64, 64, 3]."""
        return pixels(self.env.view(level, state))
