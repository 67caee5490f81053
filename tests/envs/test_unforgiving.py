"""Lethality and recoverability: what is set is what levels do, and what is measured."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.policy import Mixture
from envs.oracle import solve
from envs.rollout import rollout
from envs.unforgiving import Unforgiving, forgiveness, unforgiving
from tests.envs.worlds import QUICK, behind, raw_levels, same

COUNT = 200


@functools.partial(jax.jit, compiler_options=QUICK)
def solved(env, levels):
    """Solutions, tables and forgiveness of levels."""

    def one(level):
        table = env.tabulate(level)
        solution = solve(table)
        return solution, table, forgiveness(table, solution)

    return jax.vmap(one)(levels)


@pytest.fixture(scope="module", params=["dark-room", "random-graph"])
def both(request):
    """(calm env, its solutions, unforgiving env, its levels, its solutions)."""
    calm = envs.make(request.param)
    hard = envs.make(request.param, lethality=0.4, recoverability=0.25)
    levels = raw_levels(hard, 0, COUNT)
    return calm, solved(calm, levels.inner), hard, levels, solved(hard, levels)


def test_right_actions_are_as_before(both):
    _, (calm, *_), _, levels, (hard, *_) = both
    assert np.allclose(calm.v[..., -1], hard.v[..., -1], atol=1e-5)
    wrong = np.asarray(~calm.optimal)
    assert not (np.asarray(levels.fatal | levels.dear) & ~wrong).any()
    assert not np.asarray(levels.fatal & levels.dear).any()


def test_shares_are_as_set(both):
    _, (calm, *_), _, levels, _ = both
    wrong = np.asarray(~calm.optimal).sum()
    fatal, dear = (np.asarray(x).sum() for x in (levels.fatal, levels.dear))
    assert abs(fatal / wrong - 0.4) < 5 * (0.4 * 0.6 / wrong) ** 0.5
    rest = wrong - fatal
    assert abs(dear / rest - 0.75) < 5 * (0.75 * 0.25 / rest) ** 0.5


def test_what_is_measured_is_what_was_set(both):
    _, (solution, _, calm), _, _, (_, _, hard) = both
    solvable = np.asarray(solution.v)[:, :, -1].max(1) > 0
    assert np.asarray(hard.lethality)[solvable].mean() == pytest.approx(0.4, abs=0.04)
    assert np.asarray(calm.lethality)[solvable].mean() < 0.02
    assert (
        np.asarray(hard.recoverability)[solvable].mean()
        < np.asarray(calm.recoverability)[solvable].mean()
    )


def test_tables_say_what_is_fatal_and_what_is_dear(both):
    _, (_, calm, _), _, levels, (_, hard, _) = both
    fatal, dear = np.asarray(levels.fatal)[..., None], np.asarray(levels.dear)[..., None]
    over, target = np.asarray(hard.terminated), np.asarray(hard.target)
    assert (over >= fatal).all() and (over == (np.asarray(calm.terminated) | fatal)).all()
    assert (np.asarray(hard.reward)[np.broadcast_to(fatal, over.shape)] == 0).all()
    moved = target != np.asarray(calm.target)
    assert moved.any() and not (moved & ~dear).any()
    start = np.broadcast_to(np.asarray(hard.start)[:, None, None, None], target.shape)
    assert (target[moved] == start[moved]).all()


def test_one_content_is_one_level(both):
    calm, _, hard, levels, _ = both
    prints = jax.jit(lambda env, x: jax.vmap(env.fingerprint)(x))
    assert same(prints(hard, levels), prints(calm, levels.inner))
    picture = hard.text(*first(hard, levels))
    assert picture == calm.text(*first(calm, levels.inner))


def first(env, levels):
    level = jax.tree.map(lambda x: x[0], levels)
    return level, env.reset(jax.random.key(0), level)


def test_deaths_in_play_rise_with_lethality():
    deaths = []
    for lethality in (0.0, 0.3, 1.0):
        env = behind(envs.make("dark-room", lethality=lethality), 0.1)
        levels = raw_levels(env, 3, 64)
        play = jax.jit(functools.partial(rollout, rollouts=4), compiler_options=QUICK)
        found = play(env, Mixture(epsilon=0.5), jax.random.key(1), levels)
        deaths.append(float((found.terminated & (found.reward == 0)).any(-1).mean()))
    assert deaths[0] == 0 < deaths[1] < deaths[2]


def test_a_built_in_hazard_is_measured():
    env = envs.make("lava-crossing")
    *_, found = solved(env, raw_levels(env, 0, COUNT))
    assert 0.1 < float(found.lethality.mean()) < 0.4


def test_nothing_is_wrapped_for_nothing():
    env = envs.make("dark-room", lethality=0.0, recoverability=1.0)
    assert type(env).__name__ == "DarkRoom"
    assert isinstance(envs.make("dark-room", recoverability=0.5), Unforgiving)


@pytest.mark.parametrize("fields", [{"lethality": 1.5}, {"recoverability": -0.1}])
def test_shares_are_checked(fields):
    with pytest.raises(ValueError, match="it is a share, use a number from 0 to 1"):
        envs.make("dark-room", **fields)


def test_what_cannot_be_enumerated_has_no_mistakes():
    class Endless(type(envs.make("dark-room"))):
        num_states = 0

    with pytest.raises(ValueError, match="Endless cannot be enumerated, so its mistakes"):
        unforgiving(Endless(), 0.5, 1.0)


def test_numbers_do_not_recompile():
    env = envs.make("dark-room", lethality=0.5)
    draw = jax.jit(lambda env, key: env.level(key))
    draw(env, jax.random.key(0))
    draw(env.replace(lethality=jnp.float32(0.1)), jax.random.key(0))
    before = draw._cache_size()
    draw(env.replace(lethality=jnp.float32(0.9)), jax.random.key(1))
    assert draw._cache_size() == before
