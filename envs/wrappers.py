"""Wrappers: environments around an environment, tables included.

The order that the experiments use is ``Sticky(Scramble(Pad(family)))``: a family is padded to the
common interface, its meaning is drawn anew for every level, and the hand on the joystick sticks.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, Outcome, State, static
from envs.table import Table


class Wrapper(Env):
    """Passes everything through to the environment inside, horizon and margin included."""

    env: Env = struct.field(default=None)  # type: ignore[assignment]

    @property
    def bare(self) -> Env:
        return self.env.bare

    @property
    def num_actions(self) -> int:
        return self.env.num_actions

    @property
    def num_fields(self) -> int:
        return self.env.num_fields

    @property
    def num_symbols(self) -> int:
        return self.env.num_symbols

    @property
    def num_states(self) -> int:
        return self.env.num_states

    def level(self, key: jax.Array) -> Level:
        return self.env.level(key)

    def reset(self, key: jax.Array, level: Level) -> State:
        return self.env.reset(key, level)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        return self.env.step(key, level, state, action)

    def observe(self, level: Level, state: State) -> jax.Array:
        return self.env.observe(level, state)

    def encode(self, level: Level, state: State) -> jax.Array:
        return self.env.encode(level, state)

    def decode(self, level: Level, index: jax.Array) -> State:
        return self.env.decode(level, index)

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        raise NotImplementedError("a wrapper changes the whole table: see tabulate")

    def tabulate(self, level: Level) -> Table:
        return self.env.tabulate(level)

    def symmetries(self, level: Level) -> Level:
        return self.env.symmetries(level)

    def fingerprint(self, level: Level) -> jax.Array:
        return self.env.fingerprint(level)

    def begins(self, level: Level, state: State) -> jax.Array:
        level, state = self.peel(level, state)
        return self.env.begins(level, state)

    def milestone(self, level: Level, state: State) -> jax.Array:
        level, state = self.peel(level, state)
        return self.env.milestone(level, state)

    def reveal(self, level: Level, state: State) -> jax.Array:
        level, state = self.peel(level, state)
        return self.env.reveal(level, state)

    def draw(self, level: Level, state: State) -> jax.Array:
        level, state = self.peel(level, state)
        return self.env.draw(level, state)

    def view(self, level: Level, state: State) -> jax.Array:
        level, state = self.peel(level, state)
        return self.env.view(level, state)

    def text(self, level: Level, state: State) -> str:
        level, state = self.peel(level, state)
        return self.env.text(level, state)

    def peel(self, level: Level, state: State) -> tuple[Level, State]:
        """The level and state of the environment inside."""
        return level, state

    def outward(self, level: Level, action: jax.Array) -> jax.Array:
        """int32[]: the action here that means ``action`` int32[] to the environment inside."""
        return action


def wrap(kind: type[Wrapper], env: Env, **fields: Any) -> Wrapper:
    """``kind`` around ``env``, with the horizon and margin of what is inside."""
    return kind(env=env, horizon=env.horizon, margin=env.margin, **fields)


class StickyState(struct.PyTreeNode):
    """Attributes:
    inner: the wrapped state.
    previous: int32[], the action executed last; A before the first.
    """

    inner: State
    previous: jax.Array


class Sticky(Wrapper):
    """Sticky actions (Machado et al. 2018, arXiv 1709.06009): with probability ``stickiness`` the
    action executed last is executed again instead of the chosen one, never at the first step."""

    stickiness: float = 0.1

    def reset(self, key: jax.Array, level: Level) -> StickyState:
        return StickyState(self.env.reset(key, level), jnp.int32(self.num_actions))

    def step(self, key: jax.Array, level: Level, state: StickyState, action: jax.Array) -> Outcome:
        stick_key, step_key = jax.random.split(key)
        sticks = jax.random.bernoulli(stick_key, self.stickiness)
        sticks &= state.previous < self.num_actions
        executed = jnp.where(sticks, state.previous, action).astype(jnp.int32)
        outcome = self.env.step(step_key, level, state.inner, executed)
        return outcome._replace(state=StickyState(outcome.state, executed))

    def observe(self, level: Level, state: StickyState) -> jax.Array:
        return self.env.observe(level, state.inner)

    def encode(self, level: Level, state: StickyState) -> jax.Array:
        """The number of the inner state; the previous action is the table's other axis."""
        return self.env.encode(level, state.inner)

    def decode(self, level: Level, index: jax.Array) -> StickyState:
        return StickyState(self.env.decode(level, index), jnp.int32(self.num_actions))

    def tabulate(self, level: Level) -> Table:
        return self.env.tabulate(level).replace(stickiness=jnp.float32(self.stickiness))

    def peel(self, level: Level, state: StickyState) -> tuple[Level, State]:
        return level, state.inner


class Pad(Wrapper):
    """The common interface of several families: F fields of V symbols and A actions.

    Missing fields hold the blank symbol V - 1, which no family uses; missing actions do nothing.
    """

    fields: int = static(1)
    symbols: int = static(1)
    actions: int = static(1)

    @property
    def num_actions(self) -> int:
        return self.actions

    @property
    def num_fields(self) -> int:
        return self.fields

    @property
    def num_symbols(self) -> int:
        return self.symbols

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        real = self.env.num_actions
        if real == self.actions:
            return self.env.step(key, level, state, action)
        outcome = self.env.step(key, level, state, jnp.minimum(action, real - 1))
        idle = Outcome(state, jnp.float32(0.0), jnp.zeros((), bool))
        return jax.tree.map(lambda i, o: jnp.where(action >= real, i, o), idle, outcome)

    def observe(self, level: Level, state: State) -> jax.Array:
        inner = self.env.observe(level, state)
        return jnp.pad(inner, (0, self.fields - inner.size), constant_values=self.symbols - 1)

    def tabulate(self, level: Level) -> Table:
        table = self.env.tabulate(level)
        states, real, outcomes = table.target.shape
        extra = (states, self.actions - real, outcomes)
        stay = jnp.broadcast_to(jnp.arange(states, dtype=jnp.int32)[:, None, None], extra)
        first = jnp.broadcast_to((jnp.arange(outcomes) == 0).astype(jnp.float32), extra)

        def join(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.concatenate([old, new], axis=1)

        return table.replace(
            target=join(table.target, stay),
            probability=join(table.probability, first),
            reward=join(table.reward, jnp.zeros(extra)),
            terminated=join(table.terminated, jnp.zeros(extra, bool)),
        )


def pad(env: Env, fields: int, symbols: int, actions: int) -> Wrapper:
    """``env`` behind the common interface.

    Raises:
        ValueError: the interface is too small for the family, or the environment is sticky.
    """
    if isinstance(env, Sticky):
        raise ValueError("pad the environment inside Sticky: a padded action moves the hand, too")
    for name, have, need in (
        ("fields", fields, env.num_fields),
        ("symbols", symbols, env.num_symbols + 1),
        ("actions", actions, env.num_actions),
    ):
        if have < need:
            raise ValueError(
                f"common interface too small for {type(env).__name__}: {have} {name}, "
                f"it needs {need}; raise `{name}`"
            )
    return wrap(Pad, env, fields=fields, symbols=symbols, actions=actions)


class ScrambledLevel(struct.PyTreeNode):
    """Attributes:
    inner: the wrapped level.
    actions: int32[A], the inner action that each action means here.
    symbols: int32[V], the symbol shown here for each inner symbol.
    """

    inner: Level
    actions: jax.Array
    symbols: jax.Array


class Scramble(Wrapper):
    """Draws the meaning of actions and of symbols anew for every level, so that nothing about a
    level can be known but from its context. The last symbol, Pad's blank, keeps its meaning.

    Attributes:
        scramble_actions: permute the actions.
        scramble_symbols: permute the symbols.
    """

    scramble_actions: bool = static(True)
    scramble_symbols: bool = static(True)

    def level(self, key: jax.Array) -> ScrambledLevel:
        level_key, action_key, symbol_key = jax.random.split(key, 3)
        actions = jnp.arange(self.num_actions, dtype=jnp.int32)
        symbols = jnp.arange(self.num_symbols, dtype=jnp.int32)
        if self.scramble_actions:
            actions = jax.random.permutation(action_key, actions)
        if self.scramble_symbols:
            symbols = symbols.at[:-1].set(jax.random.permutation(symbol_key, symbols[:-1]))
        return ScrambledLevel(self.env.level(level_key), actions, symbols)

    def reset(self, key: jax.Array, level: ScrambledLevel) -> State:
        return self.env.reset(key, level.inner)

    def step(
        self, key: jax.Array, level: ScrambledLevel, state: State, action: jax.Array
    ) -> Outcome:
        return self.env.step(key, level.inner, state, level.actions[action])

    def observe(self, level: ScrambledLevel, state: State) -> jax.Array:
        return level.symbols[self.env.observe(level.inner, state)]

    def encode(self, level: ScrambledLevel, state: State) -> jax.Array:
        return self.env.encode(level.inner, state)

    def decode(self, level: ScrambledLevel, index: jax.Array) -> State:
        return self.env.decode(level.inner, index)

    def tabulate(self, level: ScrambledLevel) -> Table:
        table = self.env.tabulate(level.inner)
        order = level.actions
        return table.replace(
            target=table.target[:, order],
            probability=table.probability[:, order],
            reward=table.reward[:, order],
            terminated=table.terminated[:, order],
        )

    def symmetries(self, level: ScrambledLevel) -> Level:
        return self.env.symmetries(level.inner)

    def fingerprint(self, level: ScrambledLevel) -> jax.Array:
        """Of the content before scrambling: two meanings of one level are one level."""
        return self.env.fingerprint(level.inner)

    def peel(self, level: ScrambledLevel, state: State) -> tuple[Level, State]:
        return level.inner, state

    def outward(self, level: ScrambledLevel, action: jax.Array) -> jax.Array:
        return jnp.argmax(level.actions == action).astype(jnp.int32)
