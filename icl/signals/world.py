"""The world that signals are graded in: levels of one family, and what is known of them exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level
from envs.oracle import optimal_values
from envs.table import Table as Dynamics
from envs.wrappers import Sticky, Wrapper
from icl.signals.lanes import Table
from icl.signals.truth import tables


class World(struct.PyTreeNode):
    """Attributes:
    env: the family, wrappers included; it can be enumerated.
    levels: stacked on L.
    dynamics: the transition tables of the levels, stacked on L.
    """

    env: Env
    levels: Level
    dynamics: Dynamics

    def leaning(self, skill: float | jax.Array) -> Table:
        """A policy that leans to what is best at the start of an episode: logits of ``skill`` times
        the value of each action for the best policy. At 0 all actions are alike."""

        def level(dynamics: Dynamics) -> jax.Array:
            return skill * optimal_values(dynamics, self.env.horizon).execute[0]

        return Table(jax.vmap(level)(self.dynamics))


def world(env: Env, levels: Level) -> World:
    """Of levels stacked on L.

    Raises:
        ValueError: the states of the family cannot be enumerated, so nothing is known exactly; or
            hands stick inside another wrapper, where lanes do not see what was executed.
    """
    if not env.num_states:
        raise ValueError(
            f"{type(env.bare).__name__} has no oracle: its states cannot be enumerated, so credit "
            "cannot be graded there; use a family that `levelburst envs` lists with states"
        )
    inner = env
    while isinstance(inner, Wrapper):
        inner = inner.env
        if isinstance(inner, Sticky):
            raise ValueError(
                f"Sticky lies inside {type(env).__name__}, so what was executed is not seen; put "
                "Sticky outermost"
            )
    return World(env, levels, tables(env, levels))


def uniform(world: World) -> Table:
    """The policy that knows nothing."""
    return Table(jnp.zeros(world.dynamics.target.shape[:3]))
