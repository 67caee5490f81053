"""navix's side of ``simulate``: vmapped steps (they reset themselves), first-person symbols."""

from __future__ import annotations

import jax
import navix
from steps import Made, Play


def make(name: str) -> Made:
    """An environment by name; it takes its chance from its own state."""
    env = navix.make(name, observation_fn=navix.observations.symbolic_first_person)
    step = jax.vmap(env.step)
    return lambda _, lanes, action: step(lanes, action), jax.vmap(env.reset), len(env.action_set)


if __name__ == "__main__":
    Play("navix", make).serve()
