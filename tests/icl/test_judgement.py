"""Judgements, on a corridor made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.oracle import solve
from envs.table import Table
from icl.judgement import judge

ON, BACK, JUMP = range(3)


@pytest.fixture(scope="module")
def solution():
    """States 0, 1, 2 in a row and a pit, 3, that nobody leaves. ``ON`` from 2 wins and ends,
    ``JUMP`` falls into the pit, from 2 to death."""
    target = [[1, 0, 3], [2, 0, 3], [2, 1, 2], [3, 3, 3]]
    reward, ends = np.zeros((4, 3, 1), np.float32), np.zeros((4, 3, 1), bool)
    reward[2, ON], ends[2, ON], ends[2, JUMP] = 1, True, True
    table = Table(
        target=jnp.array(target, jnp.int32)[..., None],
        probability=jnp.ones((4, 3, 1)),
        reward=jnp.array(reward),
        terminated=jnp.array(ends),
        start=jnp.int32(0),
        stickiness=jnp.float32(0),
    )
    return solve(table)


@pytest.mark.parametrize(
    ("actions", "states", "wrong", "lost", "doomed"),
    [
        ((ON, ON, ON), (0, 1, 2, 2), -1, -1, (0, 0, 0, 1)),  # wins
        ((BACK, ON, ON), (0, 0, 1, 2), 0, -1, (0, 0, 0, 0)),  # a detour, mended
        ((ON, JUMP, ON), (0, 1, 3, 3), 1, 1, (0, 0, 1, 1)),  # into the pit
        ((BACK, ON, JUMP), (0, 0, 1, 3), 0, 2, (0, 0, 0, 1)),  # a detour, and then the pit
        ((ON, ON, JUMP), (0, 1, 2, 2), 2, 2, (0, 0, 0, 1)),  # death
    ],
)
def test_where_it_first_went_wrong(solution, actions, states, wrong, lost, doomed):
    ended = states[2:] == (2, 2) and actions[-1] != BACK
    final = jnp.array([False, False, ended])
    won = ended and actions[-1] == ON
    found = jax.jit(judge)(
        solution,
        jnp.array(states),
        jnp.array(actions),
        jnp.array([0.0, 0.0, float(won)]),
        final,
        jnp.ones(3, bool),
    )
    assert (int(found.wrong), int(found.lost)) == (wrong, lost)
    assert tuple(found.doomed.astype(int).tolist()) == doomed
    assert found.optimal[0].tolist() == [True, False, False]


def test_steps_behind_the_end_are_not_judged(solution):
    found = jax.jit(judge)(
        solution,
        jnp.array([2, 2, 2, 2]),
        jnp.array([ON, BACK, JUMP]),
        jnp.array([1.0, 0.0, 0.0]),
        jnp.ones(3, bool),
        jnp.array([True, False, False]),
    )
    assert (int(found.wrong), int(found.lost)) == (-1, -1)
