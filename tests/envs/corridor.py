"""A family that keeps the contract, and twins of it that break one part."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from envs import tiles
from envs.contract import CHECKS
from envs.contract.faults import Fault
from envs.contract.specimen import Specimen
from envs.core import Env, Outcome, static

LOOK = {check.name: check.look for check in CHECKS}


class Level(struct.PyTreeNode):
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    cell: jax.Array


class Corridor(Env):
    """A line of cells: walk to the goal. It keeps the contract."""

    length: int = static(24)
    slope: float = 0.0
    num_actions = 2
    num_fields = 1
    size = property(lambda self: self.length)
    num_symbols = size
    num_states = size

    def level(self, key):
        cells = jax.random.permutation(key, jnp.arange(self.length, dtype=jnp.int32))
        return Level(cells[0], cells[1])

    def reset(self, key, level):
        return State(level.start)

    def step(self, key, level, state, action):
        cell = jnp.clip(state.cell + 2 * action - 1, 0, self.length - 1)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won)

    def observe(self, level, state):
        return state.cell[None]

    def encode(self, level, state):
        return state.cell

    def decode(self, level, index):
        return State(index)

    def symmetries(self, level):
        turned = jax.tree.map(lambda x: self.length - 1 - x, level)
        return jax.tree.map(lambda *x: jnp.stack(x), level, turned)

    def draw(self, level, state):
        cells = jnp.arange(self.length)
        picture = jnp.where(cells == level.goal, tiles.GOAL, tiles.FLOOR)
        return jnp.where(cells == state.cell, tiles.AGENT, picture)[None]

    def from_tiles(self, picture):
        line = np.asarray(picture)[0]
        return Level(*(jnp.int32(np.flatnonzero(line == t)[0]) for t in (tiles.AGENT, tiles.GOAL)))


def twin(**members: Any) -> type[Env]:
    """Corridor with other members."""
    return type("Twin", (Corridor,), members)


def fails(check: str, family: Any) -> str:
    """The fault that one check finds in a family; it must find one."""
    with pytest.raises(Fault) as fault:
        LOOK[check](Specimen(family))
    message = str(fault.value)
    assert message and "\n" not in message
    return message


def paying(pay, over=lambda won: won):
    """Corridor whose step returns another reward or another end."""

    def step(self, key, level, state, action):
        after, _, won = Corridor.step(self, key, level, state, action)
        return Outcome(after, pay(won), over(won))

    return twin(step=step)


def stepping(change):
    """Corridor whose step returns what ``change`` makes of it."""

    def step(self, key, level, state, action):
        return change(Corridor.step(self, key, level, state, action))

    return twin(step=step)


def fault(check: str, family: Any, parts: tuple[str, ...]) -> None:
    """Asserts that a check finds a fault in a family: one line with these parts."""
    message = fails(check, family)
    assert [part for part in parts if part not in message] == [], message
