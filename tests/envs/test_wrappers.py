"""Sticky hands, and meanings drawn anew for every level (contract 10)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs.core import advance, begin
from envs.wrappers import Scramble, Sticky, pad, wrap
from tests.envs.worlds import behind, each, raw_levels, same


@functools.partial(jax.jit, static_argnames="steps")
def executed(env, key, level, *, steps):
    """Chosen and executed actions int32[steps] of random play behind sticky hands."""

    def step(episode, key):
        act_key, step_key = jax.random.split(key)
        action = jax.random.randint(act_key, (), 0, env.num_actions)
        after = advance(env, step_key, level, episode, action)
        return after, (action, after.state.previous)

    first = begin(env, key, level)
    assert first.state.previous.dtype == jnp.int32
    return jax.lax.scan(step, first, jax.random.split(key, steps))[1]


@pytest.mark.parametrize("stickiness", [0.0, 0.3, 1.0])
def test_hands_stick_with_their_probability_and_never_at_first(stickiness):
    env = wrap(Sticky, envs.make("dark-room", horizon=8), stickiness=stickiness)
    # A goal out of reach, so that episodes last.
    level = raw_levels(env, 0, 1)
    level = jax.tree.map(lambda x: x[0], level)
    level = level.replace(walls=jnp.zeros(49, bool), start=jnp.int32(0), goal=jnp.int32(48))
    keys = jax.random.split(jax.random.key(1), 4000)
    chosen, done = map(np.asarray, jax.vmap(lambda k: executed(env, k, level, steps=8))(keys))
    assert (chosen[:, 0] == done[:, 0]).all()
    other = chosen[:, 1:] != done[:, :-1]  # where repeating and obeying are told apart
    repeats = (done[:, 1:] == done[:, :-1])[other]
    obeys = (done[:, 1:] == chosen[:, 1:])[other]
    assert (repeats ^ obeys).all()
    assert (done[:, 1:] == chosen[:, 1:])[~other].all()
    error = np.sqrt(stickiness * (1 - stickiness) / repeats.size)
    assert abs(repeats.mean() - stickiness) <= 4 * error
    at_two, at_seven = (repeats_at(chosen, done, t).mean() for t in (1, 7))
    assert abs(at_two - at_seven) <= 6 * np.sqrt(stickiness * (1 - stickiness) / 2000)


def repeats_at(chosen, done, time):
    other = chosen[:, time] != done[:, time - 1]
    return (done[:, time] == done[:, time - 1])[other]


def test_the_first_state_has_no_previous_action():
    env = behind(envs.make("dark-room"))
    level = jax.tree.map(lambda x: x[0], raw_levels(env, 0, 1))
    assert env.reset(jax.random.key(0), level).previous == env.num_actions
    assert (env.horizon, env.margin) == (16, 0.3)
    assert wrap(Sticky, envs.make("dark-room", horizon=5, margin=0.2)).horizon == 5
    assert wrap(Sticky, envs.make("dark-room", horizon=5, margin=0.2)).margin == 0.2


def test_meanings_are_permutations_and_each_is_as_likely():
    levels = raw_levels(behind(envs.make("dark-room")), 0, 6000)
    actions, symbols = np.asarray(levels.actions), np.asarray(levels.symbols)
    assert (np.sort(actions, axis=1) == np.arange(actions.shape[1])).all()
    assert (np.sort(symbols, axis=1) == np.arange(symbols.shape[1])).all()
    assert (symbols[:, -1] == symbols.shape[1] - 1).all()  # the blank
    kinds = np.unique(actions, axis=0, return_counts=True)[1]
    assert len(kinds) == 120 and stats.chisquare(kinds).pvalue > 1e-4
    for place in (0, 17, 49):
        shown = np.bincount(symbols[:, place], minlength=50)
        assert len(shown) == 50 and stats.chisquare(shown).pvalue > 1e-4
    both = np.histogram2d(actions[:, 0], symbols[:, 0], bins=(5, 17))[0]
    assert stats.chi2_contingency(both).pvalue > 1e-4  # actions and symbols are independent
    assert (
        stats.chi2_contingency(
            np.histogram2d(actions[:, 0], np.asarray(levels.inner.start) % 7, bins=(5, 7))[0]
        ).pvalue
        > 1e-4
    )


@pytest.mark.parametrize(("acts", "signs"), [(True, False), (False, True), (False, False)])
def test_meanings_can_be_left_alone(acts, signs):
    common = pad(envs.make("dark-room"), 2, 60, 4)
    env = wrap(Scramble, common, scramble_actions=acts, scramble_symbols=signs)
    levels = raw_levels(env, 0, 50)
    assert (np.asarray(levels.actions) == np.arange(4)).all() != acts
    assert (np.asarray(levels.symbols) == np.arange(60)).all() != signs


def test_a_level_keeps_its_meaning():
    env = behind(envs.make("key-door"))
    assert same(raw_levels(env, 3, 8), raw_levels(env, 3, 8))
    assert (
        np.asarray(raw_levels(env, 3, 8).actions) != np.asarray(raw_levels(env, 4, 8).actions)
    ).any()


@pytest.mark.parametrize("name", envs.names())
def test_scrambled_dynamics_are_those_inside_under_other_names(name):
    bare = envs.make(name)
    real, blank, actions = bare.num_fields, bare.num_symbols + 1, bare.num_actions
    common = pad(bare, real + 1, blank + 1, actions + 1)
    env = wrap(Scramble, common)
    levels = raw_levels(env, 5, 8)

    @jax.jit
    def both(level):
        inner, outer = common.tabulate(level.inner), env.tabulate(level)
        states = jax.vmap(lambda i: env.decode(level, i))(jnp.arange(env.num_states))
        sights = jax.vmap(lambda s: (common.observe(level.inner, s), env.observe(level, s)))(states)
        key = jax.random.key(0)

        def step(state, action):
            meant = common.step(key, level.inner, state, level.actions[action])
            return meant, env.step(key, level, state, action)

        steps = jax.vmap(lambda s: jax.vmap(lambda a: step(s, a))(jnp.arange(actions + 1)))(states)
        return inner, outer, sights, steps

    for level in each(levels):
        inner, outer, (seen, shown), (meant, done) = jax.device_get(both(level))
        for field in ("target", "probability", "reward", "terminated"):
            assert (getattr(outer, field) == getattr(inner, field)[:, level.actions]).all()
        assert outer.start == inner.start
        assert (shown == level.symbols[seen]).all()
        assert same(meant, done)
        # Padding: what is missing shows the blank, which stands for nothing else.
        assert (seen[:, real:] == blank).all() and (shown[:, real:] == blank).all()
        assert (seen[:, :real] < blank).all() and (shown[:, :real] < blank).all()
        idle = np.flatnonzero(level.actions == actions)
        assert (outer.probability[:, idle, 0] == 1).all()
        assert (outer.target[:, idle, 0] == np.arange(env.num_states)[:, None]).all()
        assert not outer.terminated[:, idle].any() and not outer.reward[:, idle].any()


def test_structure_is_that_of_what_is_inside():
    env = wrap(Scramble, envs.make("gauntlet", moments=3, spelling=2))
    env = wrap(Sticky, env)
    level = each(raw_levels(env, 0, 1))[0]
    for index in range(env.num_states):
        state, inner = env.decode(level, index), env.bare.decode(level.inner, index)
        assert env.begins(level, state) == env.bare.begins(level.inner, inner)
        assert env.milestone(level, state) == env.bare.milestone(level.inner, inner)
    told = [bool(env.begins(level, env.decode(level, i))) for i in range(env.num_states)]
    assert set(told) == {True, False}


def test_every_action_is_a_move_unless_a_family_says_otherwise():
    env = wrap(Sticky, envs.make("dark-room"))
    level = each(raw_levels(env, 0, 1))[0]
    assert env.begins(level, env.decode(level, 0))
    with pytest.raises(NotImplementedError, match="milestone"):
        env.milestone(level, env.decode(level, 0))
