"""Stages of training on tasks that are tables: the same dynamics, exact scores, a kept budget."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.perceptron import KINDS, merged, sight, untrained
from envs import tiles
from envs.core import advance, begin
from envs.oracle import policy_return
from envs.wrappers import Sticky, pad, wrap
from icl.signals.coverage import Open
from icl.signals.stages import StageConfig, imitate, spread, stage
from icl.signals.tasks import covered, play, scored, tabulated

VIEW, COUNT, HORIZON = 7, 6, 8
ROOM = {"size": 4, "density": 0.2, "horizon": HORIZON}
SCORED = jax.jit(scored, static_argnames="runs")
PLAY = jax.jit(play, static_argnames="runs")
RUNS = 64
SMALL = StageConfig(groups=6, runs=6, parts=4, learning_rate=1e-2)


def families():
    key = jax.random.key(3)
    room = envs.make("dark-room", **ROOM)
    lock = envs.make("combination-lock", stages=4, shortest=3, dials=3, horizon=HORIZON)
    lock = pad(lock, 1, lock.num_symbols + 1, 4)

    def levels(env, number):
        keys = jax.random.split(jax.random.fold_in(key, number), COUNT)
        return jax.jit(jax.vmap(env.level))(keys)

    return [(room, levels(room, 0)), (lock, levels(lock, 1)), (Open(**ROOM), levels(room, 0))]


@pytest.fixture(scope="module")
def made():
    return families()


@pytest.fixture(scope="module")
def tasks(made):
    return tabulated(made, jax.random.key(4), VIEW, trials=512)


@pytest.fixture(scope="module")
def network():
    return untrained(jax.random.key(5), VIEW, 4, width=16, layers=1)


@pytest.fixture(scope="module")
def train():
    return jax.jit(stage)


def test_what_is_seen_is_what_is_drawn_around_the_agent():
    env = envs.make("key-door", size=4)
    level = env.parse("@k#.\n..D.\n..#G\n..#.")
    state = begin(env, jax.random.key(0), level).state
    seen = np.asarray(sight(env, level, state, VIEW)).reshape(VIEW, VIEW, len(KINDS))
    found = {
        name: np.argwhere(seen[..., KINDS.index(tile)]).tolist()
        for name, tile in (("key", tiles.KEY), ("door", tiles.DOOR), ("goal", tiles.GOAL))
    }
    assert found == {"key": [[3, 4]], "door": [[4, 5]], "goal": [[5, 6]]}
    assert seen[:3, :, KINDS.index(tiles.UNSEEN)].all() and not seen[3, 3].any()
    laden = state.replace(holds=jnp.int32(1))
    after = np.asarray(sight(env, level, laden, VIEW)).reshape(seen.shape)
    assert after[3, 3].tolist() == [kind == tiles.LADEN for kind in KINDS]


def test_runs_are_those_of_the_families(made, tasks, network):
    for number, (env, levels) in enumerate(made):
        own = tasks.at(jnp.full(COUNT, number), jnp.arange(COUNT))
        runs = PLAY(own, network(own.sight), jax.random.key(6), runs=3)

        def again(level, actions, env=env):
            def step(episode, action):
                after = advance(env, jax.random.key(0), level, episode, action)
                before = env.encode(level, episode.state), ~episode.timestep.last
                return after, (*before, after.timestep.reward)

            return jax.lax.scan(step, begin(env, jax.random.key(0), level), actions)[1]

        replayed = jax.jit(jax.vmap(jax.vmap(again, in_axes=(None, 0))))(levels, runs.action)
        state, live, reward = map(np.asarray, replayed)
        np.testing.assert_array_equal(runs.live, live)
        np.testing.assert_array_equal(runs.reward, reward)
        np.testing.assert_array_equal(np.asarray(runs.state)[..., :-1][live], state[live])
        assert live.mean() > 0 and (number == 2 or not live.all())


def test_scores_are_exact_and_those_of_chance_are_zero(made, tasks, network):
    flat = jax.tree.map(jnp.zeros_like, network)
    np.testing.assert_allclose(SCORED(tasks, flat, jax.random.key(7), runs=RUNS), 0, atol=0.03)
    env, levels = made[0]
    found = SCORED(tasks, network, jax.random.key(7), runs=RUNS)[0]
    policy = jax.nn.softmax(network(tasks.sight[0]))
    own = jax.vmap(lambda t, p: policy_return(t, p[: env.num_states], HORIZON))
    returns = own(jax.vmap(env.tabulate)(levels), policy[:, : env.num_states])
    lead = (returns - tasks.random[0]).sum() / (tasks.best[0] - tasks.random[0]).sum()
    assert float(found) == pytest.approx(float(lead), abs=1e-5)


def test_no_run_covers_more_than_the_bound(tasks):
    own = tasks.at(jnp.full(COUNT, 2), jnp.arange(COUNT))
    shares = covered(own, PLAY(own, jnp.zeros((COUNT, 16, 4)), jax.random.key(8), runs=64))
    assert (shares <= own.best[:, None] + 1e-6).all() and (shares >= 0).all()
    assert float(shares.max()) > 0.5


def test_a_stage_keeps_its_budget_and_learns(tasks, network, train):
    which, budget = jnp.zeros(6, jnp.int32), 20_000
    better, course = train(tasks, network, jax.random.key(9), which, jnp.int32(budget), SMALL)
    most = SMALL.groups * SMALL.runs * HORIZON
    assert budget - most < int(course.actions) <= budget
    before, after = (SCORED(tasks, x, jax.random.key(7), runs=RUNS) for x in (network, better))
    assert float(after[0]) > float(before[0]) + 0.3
    assert float(course.earned[-1]) > float(course.earned[0])
    assert float(course.entropy[-1]) < float(course.entropy[0])


def test_without_a_budget_nothing_is_learned(tasks, network, train):
    which = jnp.zeros(6, jnp.int32)
    same, course = train(tasks, network, jax.random.key(9), which, jnp.int32(10), SMALL)
    assert all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), same, network)))
    assert int(course.updates) == int(course.actions) == 0
    own = tasks.at(which, jnp.arange(6))
    assert float(course.entropy[0]) == pytest.approx(np.log(4), abs=0.05)
    runs = PLAY(own, jnp.zeros((6, 16, 4)), jax.random.key(0), runs=2)
    assert float(spread(jnp.zeros((6, 16, 4)), runs)) == pytest.approx(np.log(4))


def test_coverage_is_learned_from_comparisons_alone(tasks, network, train):
    sure = SMALL.replace(temperature=1e-3)
    which = jnp.full(6, 2, jnp.int32)
    better, _ = train(tasks, network, jax.random.key(1), which, jnp.int32(30_000), sure)
    before, after = (SCORED(tasks, x, jax.random.key(7), runs=RUNS)[2] for x in (network, better))
    assert float(after) > float(before) + 0.15


def test_imitation_shows_what_is_best(tasks, network):
    which = jnp.asarray([0, 1] * 3, jnp.int32)
    shown = jax.jit(imitate)(tasks, network, jax.random.key(2), which, jnp.int32(200), 1e-2)
    assert (SCORED(tasks, shown, jax.random.key(7), runs=RUNS)[:2] > 0.8).all()


def test_merged_weights_are_the_mean(network):
    twice = jax.tree.map(lambda x: 3 * x, network)
    mean = merged(jax.tree.map(lambda x, y: jnp.stack([x, y]), network, twice))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, 2 * y, rtol=1e-6), mean, network)


def test_families_that_chance_or_sizes_part_are_refused(made):
    room, levels = made[0]
    sticky = wrap(Sticky, room, stickiness=0.1)
    with pytest.raises(ValueError, match="without stickiness"):
        tabulated([(sticky, levels)], jax.random.key(0), VIEW)
    with pytest.raises(ValueError, match="horizons"):
        tabulated([(room, levels), (room.replace(horizon=9), levels)], jax.random.key(0), VIEW)
