"""What the rivals written in JAX share: random play in one compiled scan.

Runs in the rival's own environment and imports nothing of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
from serve import clock, serve

Made = tuple[Callable[..., Any], Callable[[jax.Array], Any], int]
"""(step, first, actions): ``step(keys[N], lanes, action[N])`` and ``first(keys[N])`` give the N
lanes, observations included."""


class Play:
    """Random play in N lanes for S steps."""

    def __init__(self, package: str, make: Callable[[str], Made]):
        self.package, self.make = package, make

    def setup(self, name: str, lanes: int, steps: int) -> dict[str, Any]:
        """Compiles; returns the seconds that took and the lanes' shapes."""
        step, first, actions = self.make(name)

        def play(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            def one(state: Any, key: jax.Array) -> tuple[Any, None]:
                act_key, step_key = jax.random.split(key)
                action = jax.random.randint(act_key, (lanes,), 0, actions)
                return step(jax.random.split(step_key, lanes), state, action), None

            key, next_key = jax.random.split(key)
            return jax.lax.scan(one, state, jax.random.split(key, steps))[0], next_key

        key = jax.random.key(0)
        self.state = jax.jit(first)(jax.random.split(key, lanes)), key
        start = time.perf_counter()
        self.play = jax.jit(play).lower(*self.state).compile()
        return {"compile": time.perf_counter() - start, "actions": actions}

    def once(self) -> None:
        """S steps of every lane, going on from where the last ones ended."""
        self.state = jax.block_until_ready(self.play(*self.state))

    def run(self, times: int = 1) -> list[float]:
        """Seconds of each S steps."""
        return clock(self.once, times)

    def version(self) -> str:
        """What runs here."""
        return f"{self.package} {metadata.version(self.package)}, {jax.devices()[0].device_kind}"

    def serve(self) -> None:
        """Answers until standard input ends."""
        serve({name: getattr(self, name) for name in ("setup", "run", "version")})
