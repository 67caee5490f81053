"""Coverage: rooms without a goal, what runs cover, and the judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.policy import Random
from envs.core import begin
from envs.rollout import rollout
from icl.signals.coverage import Open, judged, reached, visited


def test_an_open_room_pays_nothing_ends_with_the_horizon_and_shows_no_goal():
    env = Open(size=4, density=0.2, horizon=12)
    levels = jax.vmap(env.level)(jax.random.split(jax.random.key(0), 16))
    play = jax.jit(rollout, static_argnames="rollouts")
    runs = play(env, Random(), jax.random.key(1), levels, rollouts=4)
    assert not runs.reward.any() and not runs.terminated.any()
    assert runs.truncated[..., -1].all()
    first = jax.tree.map(lambda x: x[0], levels)
    assert "G" not in env.text(first, begin(env, jax.random.key(0), first).state)


def test_reached_is_what_a_walk_through_the_room_finds():
    env = Open(size=4, density=0.4, horizon=12)
    levels = jax.vmap(env.level)(jax.random.split(jax.random.key(0), 8))
    all_met = jax.jit(jax.vmap(lambda level: reached(env.tabulate(level))))(levels)
    for index, met in enumerate(np.asarray(all_met)):
        level = jax.tree.map(lambda x, i=index: x[i], levels)
        free, start = ~np.asarray(level.walls).reshape(4, 4), int(level.start)
        found, edge = {start}, [start]
        while edge:
            row, column = divmod(edge.pop(), 4)
            for y, x in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= y < 4 and 0 <= x < 4 and free[y, x] and y * 4 + x not in found:
                    found.add(y * 4 + x)
                    edge.append(y * 4 + x)
        assert set(np.flatnonzero(met).tolist()) == found


def test_visited_counts_different_numbers():
    assert visited(jnp.asarray([[0, 1, 0, 1], [3, 3, 3, 3]]), 4).tolist() == [2, 1]


def test_a_sure_judge_ranks_a_group():
    wins = judged(jax.random.key(0), jnp.asarray([0.1, 0.9, 0.5]), 1e-6)
    np.testing.assert_allclose(wins, [0, 1, 0.5])


def test_every_pair_is_compared_once_and_the_judge_errs_as_said():
    covered = jnp.asarray([0.3, 0.4, 0.9, 0.9])
    wins = jax.vmap(lambda key: judged(key, covered, 0.2))(
        jax.random.split(jax.random.key(1), 4000)
    )
    np.testing.assert_allclose(wins.sum(-1), 2)  # six comparisons, by three others
    lead = (covered[:, None] - covered[None]) / 0.2
    chance = 1 / (1 + np.exp(-np.asarray(lead)))
    wanted = (chance.sum(-1) - 0.5) / 3
    np.testing.assert_allclose(wins.mean(0), wanted, atol=0.02)


@pytest.mark.parametrize("runs", [2, 5])
def test_a_judge_who_sees_nothing_tosses_a_coin(runs):
    keys = jax.random.split(jax.random.key(2), 2000)
    wins = jax.vmap(lambda key: judged(key, jnp.arange(float(runs)), 1e9))(keys)
    np.testing.assert_allclose(wins.mean(0), 0.5, atol=0.04)
