"""Gymnasium's side of ``simulate``: CartPole in NumPy, one call a step, arrays in and out."""

from __future__ import annotations

import gymnasium
import numpy as np
from serve import clock, serve


class Play:
    """Random play in N environments for S steps."""

    def setup(self, name: str, lanes: int, steps: int) -> dict[str, int]:
        """``name`` is a vectorization mode: sync, or vector_entry_point for the one written in
        NumPy over all environments at once."""
        self.envs = gymnasium.make_vec("CartPole-v1", num_envs=lanes, vectorization_mode=name)
        self.envs.reset(seed=0)
        self.dice, self.lanes, self.steps = np.random.default_rng(0), lanes, steps
        return {"actions": 2}

    def once(self) -> None:
        """S steps of every environment."""
        for _ in range(self.steps):
            self.envs.step(self.dice.integers(0, 2, self.lanes))

    def run(self, times: int = 1) -> list[float]:
        """Seconds of each S steps."""
        return clock(self.once, times)

    def version(self) -> str:
        """What runs here."""
        return f"gymnasium {gymnasium.__version__}, NumPy {np.__version__}"


if __name__ == "__main__":
    play = Play()
    serve({name: getattr(play, name) for name in ("setup", "run", "version")})
