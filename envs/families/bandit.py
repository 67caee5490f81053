"""bandit: one state and arms that pay by chance; all there is to learn is which pays best."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, static
from envs.registry import register

HEIGHT = 10  # tiles of an arm that always pays, in pictures


class Level(struct.PyTreeNode):
    """Attributes:
    payoff: float32[A], the probability that each arm pays; 0 for a dud.
    """

    payoff: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    here: int32[], always 0.
    """

    here: jax.Array


class Bandit(Env):
    """A bandit with Bernoulli arms (Robbins 1952; as a distribution of tasks, Duan et al. 2016,
    arXiv 1611.02779).

    Observation: int32[1], always 0. Actions: A arms to pull. Reward: every pull pays 1 / horizon
    with the arm's own probability, else 0, so that a return is the share of pulls that paid; no
    pull ends the episode, the horizon truncates it. Levels: an arm is a dud with probability
    ``density``; a dud never pays, and any other arm with a probability that is uniform in [0, 1).

    Attributes:
        arms: A.
        density: probability of a dud, in [0, 1).
    """

    hidden = (tiles.LIT, tiles.UNLIT)

    arms: int = static(5)
    density: float = 0.5

    def check(self) -> None:
        if self.arms < 2:
            raise ValueError(f"bandit arms {self.arms}: use 2 or more")

    @property
    def num_actions(self) -> int:
        return self.arms

    @property
    def num_fields(self) -> int:
        return 1

    @property
    def num_symbols(self) -> int:
        return 1

    @property
    def num_states(self) -> int:
        return 1

    def level(self, key: jax.Array) -> Level:
        pay_key, dud_key = jax.random.split(key)
        payoff = jax.random.uniform(pay_key, (self.arms,))
        dud = jax.random.bernoulli(dud_key, self.density, (self.arms,))
        return Level(jnp.where(dud, 0.0, payoff))

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        pays = jax.random.bernoulli(key, level.payoff[action])
        return Outcome(state, jnp.where(pays, 1 / self.horizon, 0.0), jnp.zeros((), bool))

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        """It pays, or it does not."""
        pays = level.payoff[action]
        twice = jax.tree.map(lambda x: jnp.stack([x, x]), state)
        outcome = Outcome(twice, jnp.array([1 / self.horizon, 0.0]), jnp.zeros(2, bool))
        return jnp.stack([pays, 1 - pays]), outcome

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.here[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.here

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        """The arms from worst to best: their names mean nothing."""
        return Level(jnp.sort(level.payoff)[None])

    def draw(self, level: Level, state: State) -> jax.Array:
        """A column for each arm, lit as high as it pays, and the agent at their feet."""
        height = HEIGHT - jnp.arange(HEIGHT, dtype=jnp.float32)[:, None]
        bars = jnp.where(level.payoff * HEIGHT >= height - 0.5, tiles.LIT, tiles.UNLIT)
        feet = jnp.where(jnp.arange(self.arms) == 0, tiles.AGENT, tiles.FLOOR)
        return jnp.concatenate([bars, feet[None]]).astype(jnp.int32)

    def text(self, level: Level, state: State) -> str:
        """A line an arm: the probability that it pays."""
        lines = [f"{arm}: {pay:.3f}" for arm, pay in enumerate(np.asarray(level.payoff).tolist())]
        return "\n".join(["@", *lines])


register("bandit", Bandit)
