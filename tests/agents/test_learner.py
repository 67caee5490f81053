"""The tabular learner: against Q-learning in plain Python, and how well it plays in the end."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.learner import Learner, episode, history, kept
from envs.core import Env
from envs.levels import draw_levels
from envs.wrappers import Scramble, Sticky, wrap

LEVELS = 48
learned = jax.jit(history, static_argnames=("attempts", "episodes"))


def behind(name: str, **fields):
    """A family in the wrapped dynamics of the experiments."""
    return wrap(Sticky, wrap(Scramble, envs.make(name, **fields)), stickiness=0.1)


@functools.cache
def drawn(name: str):
    """(env, levels [L], their references float32[L, 2] of random and optimal play)."""
    env = behind(name)
    found = draw_levels(env, jax.random.key(7), LEVELS)
    return env, found.levels(jnp.arange(LEVELS)), np.asarray(found.references)


@pytest.fixture(scope="module")
def room():
    """(env, levels [3]): sticky dark rooms whose observation is the state's number."""
    env = wrap(Sticky, envs.make("dark-room", size=4), stickiness=0.25)
    found = draw_levels(env, jax.random.key(3), 3)
    return env, found.levels(jnp.arange(3))


@pytest.mark.parametrize("name", ["dark-room", "key-door"])
def test_returns_rise_along_the_attempts_and_end_near_the_optimum(name):
    env, levels, references = drawn(name)
    found = learned(env, Learner(), jax.random.key(1), levels, attempts=6, episodes=600)
    returns = np.asarray(found.returns)
    assert returns.shape == (LEVELS, 6)
    random, best = references.mean(0)
    score = (returns.mean(0) - random) / (best - random)
    # A mean of 48 returns of 0 or 1 has a standard error of at most 0.07.
    assert abs(score[0]) < 0.3
    assert score[2:4].mean() > score[:2].mean() + 0.2
    assert score[4:].mean() > score[2:4].mean() - 0.03
    assert score[-1] > 0.85
    # Without learning there is no rise.
    still = learned(env, Learner(rate=0.0), jax.random.key(1), levels, attempts=6, episodes=600)
    flat = (np.asarray(still.returns).mean(0) - random) / (best - random)
    assert np.abs(flat).max() < 0.3


def test_it_learns_what_q_learning_in_plain_python_learns(room):
    """The values after every episode and, as it takes no chances, every choice."""
    env, levels = room
    level = jax.tree.map(lambda x: x[0], levels)
    learner = Learner(rate=0.3, gamma=0.8, optimism=0.7)
    play = jax.jit(functools.partial(episode, env, learner, level=level, chance=jnp.float32(0)))
    table = np.full((env.num_states, env.num_actions), 0.7)
    q, ends = jnp.full(table.shape, 0.7, jnp.float32), set()
    for key in jax.random.split(jax.random.key(5), 60):
        q, steps = play(key=key, q=q)
        steps = jax.device_get(steps)
        for t in range(env.horizon):
            if not steps["valid"][t]:
                assert steps["reward"][t] == 0
                continue
            state, action = steps["observation"][t, 0], steps["action"][t]
            assert table[state, action] >= table[state].max() - 1e-5
            later = 0 if steps["terminated"][t] else table[steps["successor"][t, 0]].max()
            error = steps["reward"][t] + 0.8 * later - table[state, action]
            table[state, action] += 0.3 * error
        ends |= {"terminated"} if steps["terminated"].any() else {"truncated"}
        np.testing.assert_allclose(q, table, atol=1e-5)
    assert ends == {"terminated", "truncated"}
    assert np.abs(table - 0.7).max() > 0.1


def test_the_attempts_are_episodes_of_the_whole_history(room):
    env, levels = room
    settings = (env, Learner(explore=0.4), jax.random.key(2), levels)
    whole = learned(*settings, attempts=21, episodes=21)
    some = learned(*settings, attempts=5, episodes=21)
    for all_of_it, part in zip(jax.tree.leaves(whole), jax.tree.leaves(some), strict=True):
        picked = all_of_it if part.ndim == 2 and part.shape[1] == 2 else all_of_it[:, ::5]
        np.testing.assert_array_equal(picked, part)


def test_steps_are_those_of_trajectories(room):
    env, levels = room
    found = jax.device_get(
        learned(env, Learner(), jax.random.key(4), levels, attempts=4, episodes=40)
    )
    shape = (3, 4, env.horizon)
    assert found.observation.shape == found.successor.shape == (*shape, 1)
    assert found.action.shape == shape and found.action.dtype == np.int32
    assert found.reward.dtype == np.float32
    assert (np.diff(found.valid.astype(int), axis=-1) <= 0).all() and found.valid[..., 0].all()
    last = found.terminated | found.truncated
    assert (last.sum(-1) == 1).all() and found.valid[last].all()
    assert (last.argmax(-1) == found.valid.sum(-1) - 1).all()
    ongoing = found.valid[..., 1:]
    np.testing.assert_array_equal(
        found.observation[..., 1:, :][ongoing], found.successor[..., :-1, :][ongoing]
    )
    np.testing.assert_array_equal(found.fingerprint, jax.vmap(env.fingerprint)(levels))


def test_levels_side_by_side_are_levels_one_by_one(room):
    env, levels = room
    keys = jax.random.split(jax.random.key(6), 3)
    both = learned(env, Learner(), keys, levels, attempts=3, episodes=9)
    for i in range(3):
        here = jax.tree.map(lambda x, i=i: x[i : i + 1], levels)
        one = learned(env, Learner(), keys[i : i + 1], here, attempts=3, episodes=9)
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y[0]), both, one)


def test_a_learner_that_hopes_tries_more():
    """Two learners side by side in one program, as settings are data; neither takes chances."""
    env, levels, _ = drawn("dark-room")
    hopes = Learner(optimism=jnp.array([0.0, 1.0]), explore=0.0)
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, hopes)
    play = functools.partial(history, attempts=60, episodes=60)
    found = jax.jit(jax.vmap(play, in_axes=(None, axes, None, None)))(
        env, hopes, jax.random.key(8), levels
    )
    symbols = jax.device_get(found.observation[..., 0])  # a symbol is a cell, by another name
    pairs = symbols * env.num_actions + np.asarray(found.action)
    valid = np.asarray(found.valid)
    tried = [np.mean([len(set(p[v])) for p, v in zip(pairs[i], valid[i])]) for i in (0, 1)]
    assert tried[1] > 1.1 * tried[0]


def test_the_chance_of_any_action_goes_from_explore_to_exploit():
    env, levels, references = drawn("dark-room")
    random, best = references.mean(0)

    def last(explore: float, exploit: float) -> float:
        learner = Learner(explore=explore, exploit=exploit)
        found = learned(env, learner, jax.random.key(2), levels, attempts=6, episodes=600)
        return float((found.returns[:, -1].mean() - random) / (best - random))

    assert last(1.0, 0.0) > 0.8
    assert abs(last(0.0, 1.0)) < 0.3


@pytest.mark.parametrize("chance", [0.0, 0.4, 1.0])
def test_choices_are_the_best_or_by_chance_any(chance):
    keys = jax.random.split(jax.random.key(9), 4000)
    act = jax.jit(jax.vmap(Learner().act, (0, None, None)))
    chosen = np.asarray(act(keys, jnp.array([0.0, 1.0, 0.0, 0.0]), jnp.float32(chance)))
    assert chosen.dtype == np.int32
    assert abs((chosen != 1).mean() - 0.75 * chance) < 0.03
    tied = np.asarray(act(keys, jnp.ones(4), jnp.float32(chance)))
    np.testing.assert_allclose(np.bincount(tied, minlength=4) / 4000, 0.25, atol=0.03)


def test_attempts_are_spread_from_the_first_to_the_last():
    assert kept(3, 11).tolist() == [0, 5, 10]
    assert kept(1, 11).tolist() == [10]
    assert kept(4, 4).tolist() == [0, 1, 2, 3]
    for attempts, episodes in ((5, 7), (6, 600), (9, 10)):
        found = kept(attempts, episodes)
        assert len(set(found.tolist())) == attempts and (np.diff(found) > 0).all()


@pytest.mark.parametrize(("attempts", "episodes"), [(0, 4), (5, 4), (-1, 4)])
def test_attempts_that_cannot_be(room, attempts, episodes):
    env, levels = room
    with pytest.raises(ValueError, match="1 <= attempts <= episodes"):
        history(env, Learner(), jax.random.key(0), levels, attempts=attempts, episodes=episodes)


def test_states_without_numbers_are_refused(room):
    class Dumb(Env):
        """No states to enumerate."""

    with pytest.raises(ValueError, match="Dumb cannot number its states"):
        history(Dumb(), Learner(), jax.random.key(0), room[1], attempts=1, episodes=1)
