"""Altered demonstrations: each changes what its name says, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.policy import Oracle
from envs import make
from envs.keys import new_key
from envs.levels import draw_levels
from envs.rollout import rollout
from envs.wrappers import Scramble, Sticky, wrap
from icl.arms import Arm
from icl.conditions import DEMONSTRATIONS
from icl.demonstrations import show
from icl.variants import CORRUPTION, VARIANTS

LEVELS, ROLLOUTS, HORIZON = 32, 4, 12


@pytest.fixture(scope="module")
def pool():
    env = make("dark-room", horizon=HORIZON)
    env = wrap(Sticky, wrap(Scramble, env, scramble_actions=True), stickiness=0.1)
    return draw_levels(env, new_key(0), LEVELS)


@pytest.fixture(scope="module")
def groups(pool):
    play = jax.jit(lambda s: rollout(s.env, Oracle(), new_key(1), s.levels(jnp.arange(LEVELS)),
                                     rollouts=ROLLOUTS))  # fmt: skip
    return play(pool)


def altered(kind, groups, num_actions=4, seed=2):
    return jax.device_get(VARIANTS[kind](new_key(seed), groups, num_actions))


def test_a_foreign_demonstration_is_of_another_level(groups):
    found = altered("foreign", groups)
    assert (found.fingerprint != groups.fingerprint).any(-1).all()
    np.testing.assert_array_equal(found.action, np.roll(groups.action, 1, axis=0))
    assert {*map(tuple, found.fingerprint)} == {*map(tuple, np.asarray(groups.fingerprint))}


def test_swapped_is_foreign_first_and_the_levels_own_after(groups):
    found, other = altered("swapped", groups), altered("foreign", groups)
    for field in ("observation", "action", "reward", "successor", "valid", "terminated"):
        np.testing.assert_array_equal(getattr(found, field)[:, 0], getattr(other, field)[:, 0])
        np.testing.assert_array_equal(getattr(found, field)[:, 1:], getattr(groups, field)[:, 1:])


def test_truncated_keeps_the_first_half(groups):
    found = altered("truncated", groups)
    length, kept = np.asarray(groups.valid).sum(-1), found.valid.sum(-1)
    np.testing.assert_array_equal(kept, (length + 1) // 2)
    assert (found.valid <= groups.valid).all() and found.valid[..., 0].all()
    assert (np.diff(found.valid.astype(int), axis=-1) <= 0).all()  # a prefix
    np.testing.assert_array_equal(found.action, groups.action)


def test_corrupted_replaces_a_quarter_of_the_actions(groups):
    found = altered("corrupted", groups)
    changed = (found.action != groups.action).mean()
    # A random action is the same by chance in one case of four.
    expected, count = CORRUPTION * 3 / 4, found.action.size
    assert abs(changed - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    assert found.action.min() >= 0 and found.action.max() < 4
    np.testing.assert_array_equal(found.observation, groups.observation)


def test_relabelled_renames_every_action_one_way_a_level(groups):
    found = altered("relabelled", groups)
    shift = (found.action - groups.action) % 4
    assert (shift == shift[:, :1, :1]).all() and (shift > 0).all()
    assert len(np.unique(shift)) == 3
    np.testing.assert_array_equal(found.successor, groups.successor)


@pytest.fixture(scope="module")
def shown(pool):
    kinds = tuple(DEMONSTRATIONS)
    made = jax.jit(lambda s: show(new_key(3), Arm(), ((s,),), count=16, demos=3, kinds=kinds))
    return jax.device_get(made(pool))


def test_every_kind_can_be_shown_side_by_side(shown):
    kinds = list(DEMONSTRATIONS)
    assert shown.lengths.shape == (1, len(kinds), 16, 4)
    steps = shown.contexts.steps
    whole = kinds.index("whole")
    action = {kind: steps.action[0, i] for i, kind in enumerate(kinds)}
    valid = {kind: shown.contexts.valid[0, i] for i, kind in enumerate(kinds)}
    np.testing.assert_array_equal(action["as-trained"], action["whole"])  # the arm is bursty
    length = shown.lengths[0]
    np.testing.assert_array_equal(length[whole, :, -1], length[kinds.index("reordered"), :, -1])
    short = length[kinds.index("truncated"), :, -1]
    assert (short <= length[whole, :, -1]).all() and (short < length[whole, :, -1]).mean() > 0.7
    assert (short >= length[whole, :, -1] / 2).all()
    # The same steps in another order.
    for row in range(16):
        held = [np.sort(shown.contexts.source[0, kinds.index(kind), row][valid[kind][row]])
                for kind in ("whole", "reordered")]  # fmt: skip
        np.testing.assert_array_equal(*held)
    assert (action["reordered"] != action["whole"]).any()


def test_the_suboptimal_expert_is_slower_than_the_expert(shown):
    kinds = list(DEMONSTRATIONS)
    steps = shown.lengths[0, :, :, -1].mean(-1)
    assert steps[kinds.index("suboptimal")] > 1.2 * steps[kinds.index("whole")]
