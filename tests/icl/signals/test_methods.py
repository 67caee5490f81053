"""Methods count what they generate, and a key gives a result."""

import jax
import numpy as np
import pytest

import envs
from envs.wrappers import Scramble, Sticky, wrap
from icl.signals import credit, segments
from icl.signals.lanes import Table
from icl.signals.methods import SEGMENTERS, Chains, Forest, Valued, valued
from icl.signals.truth import exact, success
from icl.signals.world import world
from tests.envs.worlds import raw_levels
from tests.icl.signals.worlds import made, play, quick, recurrent

pytestmark = pytest.mark.early

LENGTH = 6  # three moves of two tokens, never a wait

METHODS = {
    "chains": Chains(4),
    "same-state": Chains(4, credit.same_state),
    "forest": Forest("move"),
    "forest-inside": Forest("inside", rounds=2, operator=credit.TREE_RL),
    "steps": Valued("step", runs=2, forks=3),
    "pieces": Valued("unsure", runs=2, forks=3, aggregator="soft-min"),
    "chunks": Valued("chunk", forks=3),
    "oracle": Valued("oracle", forks=3),
}


@pytest.fixture(scope="module")
def small():
    return made(3, moments=3, spelling=2, horizon=8)


@pytest.fixture(scope="module")
def agent(small):
    """Never waits, so that every run has as many steps."""
    return Table(small.leaning(1.0).scores.at[..., -1].set(-60.0))


@pytest.mark.parametrize("name", METHODS)
def test_each_method_pays_and_counts(small, agent, name):
    method = METHODS[name]
    run = quick(method.__call__)
    signal = jax.device_get(run(small, agent, jax.random.key(0)))
    lanes = signal.lanes
    assert signal.credit.shape == lanes.live.shape and signal.credit.dtype == np.float32
    assert np.isfinite(signal.credit).all() and (signal.credit[~lanes.live] == 0).all()
    assert (lanes.live.sum(-1) == LENGTH).all()

    count = lanes.own.sum((1, 2))
    if isinstance(method, Valued):
        starts = np.asarray(SEGMENTERS[method.pieces](small, lanes))
        for level, _, time in np.argwhere(starts):
            count[level] += method.forks * (LENGTH - time)
    else:
        assert (signal.credit != 0).any() or (lanes.returns == lanes.returns[:, :1]).all()
    np.testing.assert_array_equal(signal.actions, count)

    again, other = (jax.device_get(run(small, agent, jax.random.key(k))) for k in (0, 1))
    for one, two in zip(jax.tree.leaves(signal), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (lanes.action != other.lanes.action).any()


def test_values_by_forks_are_of_the_steps_that_begin_pieces(small, agent):
    lanes, snapshots = play(small, agent, jax.random.key(0), 2)
    starts = segments.chunks(lanes, 2)
    value, _ = quick(valued, static_argnames="count")(
        small, agent, jax.random.key(1), snapshots, starts, count=600
    )
    found = quick(exact)(small.env, small.dynamics, agent.scores, lanes)
    chance, starts = np.asarray(found.value)[..., :-1], np.asarray(starts)
    assert (np.asarray(value)[~starts] == 0).all()
    error = np.sqrt(chance * (1 - chance) / 600)
    assert (np.abs(value - chance) <= 4.5 * error + 1e-6)[starts].all()
    assert ((chance > 0.02) & (chance < 0.98) & starts).any()


def test_an_agent_with_a_memory_is_forked_with_it(small):
    mind = recurrent(small)
    signal = quick(METHODS["steps"].__call__)(small, mind, jax.random.key(0))
    assert (signal.actions > signal.lanes.generated).all()
    assert np.isfinite(signal.credit).all()


def test_a_world_leans_to_what_is_best(small):
    def worth(table):
        return np.asarray(success(small.env, small.dynamics, table.scores))

    assert not small.leaning(0.0).scores.any()
    rising = [worth(small.leaning(skill)) for skill in (-2.0, 0.0, 2.0, 4.0)]
    assert (np.diff(rising, axis=0) > 0).all()


def test_a_habit_is_to_be_sure_of_what_does_not_matter(small):
    plain = np.asarray(jax.nn.softmax(small.leaning(1.0).scores))
    sure = np.asarray(jax.nn.softmax(small.leaning(1.0, 6.0).scores))
    best = small.leaning(1.0).scores > 0
    one = np.asarray(best.sum(-1) == 1)
    assert one.any() and (~one).any()
    np.testing.assert_array_equal(sure[one], plain[one])
    assert (sure[~one].max(-1) > 0.9).all() and (plain[~one].max(-1) < 0.5).all()
    first = np.argmax(best, -1)
    assert (sure.argmax(-1)[~one] == first[~one]).all()


def test_a_world_has_to_be_known():
    env = envs.make("gauntlet", moments=3)
    wrong = wrap(Scramble, wrap(Sticky, env))
    with pytest.raises(ValueError, match="put Sticky outermost"):
        world(wrong, raw_levels(wrong, 0, 1))
    right = wrap(Sticky, wrap(Scramble, env))
    assert world(right, raw_levels(right, 0, 1)).dynamics.target.shape[1] == env.num_states

    class Endless(type(env)):
        @property
        def num_states(self):
            return 0

    with pytest.raises(ValueError, match="Endless has no oracle"):
        world(Endless(moments=3), raw_levels(env, 0, 1))
