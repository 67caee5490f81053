"""XLand-MiniGrid's side of ``simulate``: vmapped steps with its Gym-style reset, as it advises."""

from __future__ import annotations

import jax
import xminigrid
from steps import Made, Play
from xminigrid.wrappers import GymAutoResetWrapper


def make(name: str) -> Made:
    """An environment by name; it takes its chance from its own state."""
    env, params = xminigrid.make(name)
    env = GymAutoResetWrapper(env)
    step = jax.vmap(lambda lane, action: env.step(params, lane, action))
    first = jax.vmap(lambda key: env.reset(params, key))
    return lambda _, lanes, action: step(lanes, action), first, env.num_actions(params)


if __name__ == "__main__":
    Play("xminigrid", make).serve()
