"""combination-lock: a chain of stages, each opened by its own action; the others throw back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, static
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    leads: int32[N, A], the stage that each action leads to; 0 from ``goal`` on.
    goal: int32[], the last stage.
    """

    leads: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    stage: int32[], in [0, goal].
    """

    stage: jax.Array


class CombinationLock(Env):
    """A chain of stages (the reset state space of Koenig & Simmons 1993): one right sequence of
    actions opens the lock, and mistakes undo it.

    Observation: int32[1], the stage. Actions: A dials; one of them, at least, leads to the next
    stage. Reward: 1 on reaching the last stage, which terminates the episode; 0 elsewhere.
    Levels: the last stage is uniform in [``shortest``, ``stages``]. At every stage before it one
    action, uniform, advances; each other is distracting with probability ``density`` and advances
    otherwise. A distracting action leads, by equal chance, back to the first stage or back by one
    (from the first stage: nowhere).

    Attributes:
        stages: N, the number of the last stage, at most.
        dials: A, the number of actions.
        shortest: the number of the last stage, at least.
        density: probability that an action but the right one is distracting, in [0, 1].
    """

    hidden = (
        tiles.START,
        tiles.GOAL,
        tiles.WALL,
        tiles.WIND_RIGHT,
        tiles.WIND_LEFT,
        tiles.SPIKES,
    )

    stages: int = static(12)
    dials: int = static(4)
    shortest: int = static(5)
    density: float = 0.8

    def check(self) -> None:
        if not 1 <= self.shortest <= self.stages:
            raise ValueError(
                f"combination-lock: no lock of at least {self.shortest} stages has at most "
                f"{self.stages}; use 1 <= shortest <= stages"
            )
        if self.dials < 2:
            raise ValueError(f"combination-lock dials {self.dials}: use 2 or more")

    @property
    def num_actions(self) -> int:
        return self.dials

    @property
    def num_fields(self) -> int:
        return 1

    @property
    def num_symbols(self) -> int:
        return self.stages + 1

    @property
    def num_states(self) -> int:
        return self.stages + 1

    def level(self, key: jax.Array) -> Level:
        goal_key, right_key, part_key, far_key = jax.random.split(key, 4)
        goal = jax.random.randint(goal_key, (), self.shortest, self.stages + 1)
        shape = (self.stages, self.dials)
        right = jax.random.randint(right_key, (self.stages, 1), 0, self.dials)
        distracts = jax.random.bernoulli(part_key, self.density, shape)
        distracts &= jnp.arange(self.dials) != right
        stage = jnp.arange(self.stages, dtype=jnp.int32)[:, None]
        back = jnp.where(jax.random.bernoulli(far_key, shape=shape), 0, jnp.maximum(stage - 1, 0))
        leads = jnp.where(distracts, back, stage + 1)
        return Level(jnp.where(stage < goal, leads, 0), goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        stage = level.leads[jnp.minimum(state.stage, self.stages - 1), action]
        won = stage == level.goal
        return Outcome(State(stage), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.stage[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.stage

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        """The actions in the order of what they do: their names mean nothing."""
        order = jnp.lexsort(level.leads[::-1])
        return jax.tree.map(lambda x: x[None], level.replace(leads=level.leads[:, order]))

    def draw(self, level: Level, state: State) -> jax.Array:
        """The chain, and below it a row for each action: on, back by one, or back to the start."""
        stage = jnp.arange(self.stages + 1, dtype=jnp.int32)
        chain = jnp.where(stage == level.goal, tiles.GOAL, tiles.FLOOR)
        chain = jnp.where(stage == 0, tiles.START, chain)
        on, home = level.leads == stage[:-1, None] + 1, level.leads == 0
        does = jnp.where(on, tiles.WIND_RIGHT, jnp.where(home, tiles.SPIKES, tiles.WIND_LEFT))
        does = jnp.pad(does.T, ((0, 0), (0, 1)))
        does = jnp.where(stage == level.goal, tiles.FLOOR, does)
        picture = jnp.concatenate([chain[None], does])
        picture = jnp.where(stage > level.goal, tiles.WALL, picture)
        return picture.at[0, state.stage].set(tiles.AGENT).astype(jnp.int32)

    def from_tiles(self, picture: np.ndarray) -> Level:
        if picture.shape != (1 + self.dials, 1 + self.stages):
            raise ValueError(
                f"the level is {' x '.join(map(str, picture.shape))} tiles, this environment's are "
                f"{1 + self.dials} x {1 + self.stages}; make it with other dials or stages"
            )
        goals = np.flatnonzero(picture[0] == tiles.GOAL)
        if goals.size != 1 or goals[0] == 0:
            raise ValueError("the first row of the level needs exactly one 'G', after the start")
        stage, does = np.arange(self.stages)[:, None], picture[1:, :-1].T
        back = np.where(does == tiles.WIND_LEFT, np.maximum(stage - 1, 0), 0)
        leads = np.where(does == tiles.WIND_RIGHT, stage + 1, back)
        leads = np.where(stage < goals[0], leads, 0)
        if not (leads == stage + 1)[: goals[0]].any(1).all():
            raise ValueError("the level has a stage without a way on; draw '>' for an action there")
        return Level(jnp.asarray(leads, jnp.int32), jnp.int32(goals[0]))


register("combination-lock", CombinationLock)
