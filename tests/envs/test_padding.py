"""Contract 10: one interface for all families, tried on one with fewer actions and with chance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.policy import Random
from envs.core import Env, Outcome, advance, begin
from envs.oracle import optimal_return, random_return
from envs.registry import make
from envs.rollout import rollout
from envs.wrappers import Pad, Scramble, Sticky, pad, wrap
from tests.envs.worlds import QUICK, raw_levels


class Corridor(Env):
    """Cells 0 … length - 1 in a row, the last one the goal; three actions: back, ahead, and a leap
    of two that slips (stays) with probability ``slip``. One level; the level says the start."""

    length: int = struct.field(pytree_node=False, default=6)
    slip: float = 0.25

    num_actions = 3
    num_fields = 1

    @property
    def num_symbols(self) -> int:
        return self.length

    @property
    def num_states(self) -> int:
        return self.length

    def level(self, key):
        return jax.random.randint(key, (), 0, 2)

    def reset(self, key, level):
        return level

    def land(self, state, move):
        cell = jnp.clip(state + move, 0, self.length - 1).astype(jnp.int32)
        won = cell == self.length - 1
        return Outcome(cell, won.astype(jnp.float32), won)

    def step(self, key, level, state, action):
        slips = jax.random.bernoulli(key, self.slip) & (action == 2)
        return self.land(state, jnp.where(slips, 0, jnp.array([-1, 1, 2])[action]))

    def outcomes(self, level, state, action):
        moves = jnp.stack([jnp.array([-1, 1, 2])[action], jnp.int32(0)])
        slip = jnp.where(action == 2, self.slip, 0.0)
        return jnp.stack([1 - slip, slip]), jax.vmap(lambda m: self.land(state, m))(moves)

    def observe(self, level, state):
        return state[None]

    def encode(self, level, state):
        return state

    def decode(self, level, index):
        return index


STACK = [
    ("pad", lambda: pad(Corridor(), 2, 9, 5)),
    ("scramble", lambda: wrap(Scramble, pad(Corridor(), 2, 9, 5))),
    ("sticky", lambda: wrap(Sticky, wrap(Scramble, pad(Corridor(), 2, 9, 5)), stickiness=0.3)),
]


@pytest.mark.parametrize(("kind", "make"), STACK)
def test_missing_actions_do_nothing(kind, make):
    env = make()
    level = jax.tree.map(lambda x: x[0], raw_levels(env, 0, 1))
    meaning = np.arange(5) if kind == "pad" else np.asarray(level.actions)
    episode = begin(env, jax.random.key(0), level)
    for action in np.flatnonzero(meaning >= 3):
        after = advance(env, jax.random.key(1), level, episode, jnp.int32(action))
        assert (after.timestep.observation == episode.timestep.observation).all()
        assert after.time == 1
        assert not after.timestep.last and after.timestep.reward == 0
    for action in np.flatnonzero(meaning == 1):
        after = advance(env, jax.random.key(1), level, episode, jnp.int32(action))
        assert (after.timestep.observation != episode.timestep.observation).any()


@pytest.mark.parametrize(("kind", "make"), STACK)
def test_a_stochastic_family_keeps_its_table(kind, make):
    env = make().replace(horizon=6)
    level = jax.tree.map(lambda x: x[0], raw_levels(env, 0, 1))
    table = jax.jit(env.tabulate)(level)
    assert table.target.shape == (6, 5, 2)
    assert np.allclose(table.probability.sum(-1), 1)
    assert table.stickiness == (jnp.float32(0.3) if kind == "sticky" else 0)

    @jax.jit
    def empirical(key):
        def one(index, action, key):
            outcome = env.step(key, level, env.decode(level, index), action)
            return env.encode(level, outcome.state) + 6 * outcome.terminated.astype(jnp.int32)

        grid = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
        return grid(jnp.arange(6), jnp.arange(5), jax.random.split(key, 2000))

    after = np.asarray(empirical(jax.random.key(2)))
    landing = np.asarray(table.target) + 6 * np.asarray(table.terminated)
    for s, a in np.ndindex(6, 5):
        expected = np.bincount(landing[s, a], np.asarray(table.probability)[s, a], minlength=12)
        seen = np.bincount(after[s, a], minlength=12) / 2000
        assert np.abs(seen - expected).max() < 5 * np.sqrt(0.25 / 2000)
        assert (seen[expected == 0] == 0).all()
    levels = jax.tree.map(lambda x: jnp.broadcast_to(x, (1, *x.shape)), level)
    play = jax.jit(functools.partial(rollout, rollouts=4000), compiler_options=QUICK)
    returns = play(env, Random(), jax.random.key(3), levels).returns
    exact = float(random_return(table, 6))
    assert abs(float(returns.mean()) - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)
    assert exact < float(optimal_return(table, 6)) <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))
def test_an_interface_that_is_too_small_says_what_to_raise(fields, symbols, actions):
    """Corridor needs 1 field, 6 symbols and a blank, 3 actions."""
    short = [
        (name, have, need)
        for name, have, need in (
            ("fields", fields, 1),
            ("symbols", symbols, 7),
            ("actions", actions, 3),
        )
        if have < need
    ]
    if not short:
        env = pad(Corridor(), fields, symbols, actions)
        assert isinstance(env, Pad)
        assert (env.num_fields, env.num_symbols, env.num_actions) == (fields, symbols, actions)
        sight = env.observe(jnp.int32(0), jnp.int32(4))
        assert sight.tolist() == [4] + [symbols - 1] * (fields - 1)
        assert sight.dtype == jnp.int32
        return
    name, have, need = short[0]
    message = f"too small for Corridor: {have} {name}, it needs {need}; raise `{name}`"
    with pytest.raises(ValueError, match=message):
        pad(Corridor(), fields, symbols, actions)


def test_a_sticky_environment_is_not_padded():
    sticky = wrap(Sticky, make("dark-room"))
    with pytest.raises(ValueError, match="inside Sticky"):
        pad(sticky, 1, 64, 5)
