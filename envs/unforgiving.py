"""Unforgiving levels: how many mistakes are fatal, and how many can be made good, as numbers.

A mistake is an action outside the optimal set of its state (discounted values, exact). In every
level each mistake is, once and for all, fatal with probability ``lethality``: it ends the episode
and pays nothing. Of the others, each is dear with probability 1 − ``recoverability``: wherever it
would leave the agent better placed than at the start, it throws it back there. Right actions
are as before, so the optimal return of a discounted level does not change, and the failure map of
Raparthy et al. (arXiv 2312.03801, section 5) can be predicted from two knobs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, Outcome, State
from envs.oracle import GAMMA, TIES, Solution, solve
from envs.table import Table
from envs.wrappers import Wrapper


class UnforgivingLevel(struct.PyTreeNode):
    """Attributes:
    inner: the wrapped level.
    fatal: bool[S, A], choosing the action ends the episode.
    dear: bool[S, A], choosing it costs the way made so far.
    ahead: bool[S], states better placed than the first.
    """

    inner: Level
    fatal: jax.Array
    dear: jax.Array
    ahead: jax.Array


class Unforgiving(Wrapper):
    """Mistakes that are fatal or dear. ``make`` puts it around any family that can be enumerated.

    Attributes:
        lethality: share of the mistakes that end the episode, in [0, 1].
        recoverability: share of the other mistakes that do not throw the agent back to the start.
    """

    lethality: float = 0.0
    recoverability: float = 1.0

    def check(self) -> None:
        if not self.env.num_states:
            raise ValueError(
                f"{type(self.env).__name__} cannot be enumerated, so its mistakes are unknown; "
                "leave lethality and recoverability as they are"
            )

    def level(self, key: jax.Array) -> UnforgivingLevel:
        fatal_key, dear_key = jax.random.split(jax.random.fold_in(key, 2**30))
        inner = self.env.level(key)
        table = self.env.tabulate(inner)
        solution = solve(table)
        wrong = ~solution.optimal
        fatal = wrong & jax.random.bernoulli(fatal_key, self.lethality, wrong.shape)
        dear = wrong & ~jax.random.bernoulli(dear_key, self.recoverability, wrong.shape)
        value = solution.v[:, -1]
        return UnforgivingLevel(inner, fatal, dear & ~fatal, value > value[table.start] + TIES)

    def reset(self, key: jax.Array, level: UnforgivingLevel) -> State:
        return self.env.reset(key, level.inner)

    def step(self, key: jax.Array, level: UnforgivingLevel, state: State, action) -> Outcome:
        step_key, reset_key = jax.random.split(key)
        index = self.env.encode(level.inner, state)
        fatal, dear = level.fatal[index, action], level.dear[index, action]
        outcome = self.env.step(step_key, level.inner, state, action)
        after = self.env.encode(level.inner, outcome.state)
        back = dear & level.ahead[after] & ~outcome.terminated
        first = self.env.reset(reset_key, level.inner)
        return Outcome(
            state=jax.tree.map(lambda a, b: jnp.where(back, a, b), first, outcome.state),
            reward=jnp.where(fatal, 0.0, outcome.reward),
            terminated=outcome.terminated | fatal,
        )

    def observe(self, level: UnforgivingLevel, state: State) -> jax.Array:
        return self.env.observe(level.inner, state)

    def encode(self, level: UnforgivingLevel, state: State) -> jax.Array:
        return self.env.encode(level.inner, state)

    def decode(self, level: UnforgivingLevel, index: jax.Array) -> State:
        return self.env.decode(level.inner, index)

    def tabulate(self, level: UnforgivingLevel) -> Table:
        table = self.env.tabulate(level.inner)
        back = level.dear[:, :, None] & level.ahead[table.target] & ~table.terminated
        fatal = level.fatal[:, :, None]
        return table.replace(
            target=jnp.where(back, table.start, table.target),
            reward=jnp.where(fatal, 0.0, table.reward),
            terminated=table.terminated | fatal,
        )

    def symmetries(self, level: UnforgivingLevel) -> Level:
        return self.env.symmetries(level.inner)

    def fingerprint(self, level: UnforgivingLevel) -> jax.Array:
        """Of the content inside: two ways to fail in one level are one level."""
        return self.env.fingerprint(level.inner)

    def peel(self, level: UnforgivingLevel, state: State) -> tuple[Level, State]:
        return level.inner, state


class Forgiveness(struct.PyTreeNode):
    """What the mistakes of a level cost, exactly, float32[] each.

    Attributes:
        lethality: share of the mistakes (outcomes weighted by probability) after which no reward
            can be earned any more, over the states that can be reached and are not lost already.
        recoverability: share of the others that cost at most one step more: the optimal value
            after the mistake is no less than the discounted value before it.
    """

    lethality: jax.Array
    recoverability: jax.Array


def forgiveness(table: Table, solution: Solution, gamma: float = GAMMA) -> Forgiveness:
    """Measures a level: how unforgiving it is with all that its family builds in."""
    value = solution.execute.max(1)
    alive = value > TIES

    def spread(reached: jax.Array) -> jax.Array:
        flow = reached[:, None, None] & (table.probability > 0) & ~table.terminated
        return reached.at[table.target.ravel()].max(flow.ravel())

    start = jnp.arange(value.size) == table.start
    reached = jax.lax.while_loop(
        lambda c: (c[0] != c[1]).any(), lambda c: (spread(c[0]), c[0]), (spread(start), start)
    )[0]
    wrong = (reached & alive)[:, None, None] & ~solution.optimal[:, :, None]
    weight = jnp.where(wrong, table.probability, 0.0)
    after = jnp.where(table.terminated, 0.0, value[table.target])
    lost = (after <= TIES) & (table.reward <= 0)
    undone = after >= gamma * value[:, None, None] - TIES
    whole = jnp.maximum(weight.sum(), 1e-9)
    left = jnp.where(lost, 0.0, weight).sum()
    return Forgiveness(
        lethality=jnp.where(lost, weight, 0.0).sum() / whole,
        recoverability=jnp.where(undone & ~lost, weight, 0.0).sum() / jnp.maximum(left, 1e-9),
    )


def unforgiving(env: Env, lethality: float = 0.0, recoverability: float = 1.0) -> Env:
    """``env`` with mistakes that cost; itself where they cost nothing more.

    Raises:
        ValueError: a share outside [0, 1], or a family that cannot be enumerated.
    """
    for name, share in (("lethality", lethality), ("recoverability", recoverability)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} {share}: it is a share, use a number from 0 to 1")
    if lethality == 0 and recoverability == 1:
        return env
    wrapped = Unforgiving(
        env=env,
        horizon=env.horizon,
        margin=env.margin,
        lethality=lethality,
        recoverability=recoverability,
    )
    wrapped.check()
    return wrapped
