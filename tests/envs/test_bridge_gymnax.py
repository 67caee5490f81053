"""gymnax as families: the core's contract holds, and nothing differs from the package."""

import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.policy import Random
from envs import registry, tiles
from envs.bridges.symbols import binned, whole
from envs.rollout import rollout
from tests.envs.test_contract import (  # noqa: F401
    STEP,
    test_a_key_gives_a_result,
    test_finished_episodes_freeze,
    test_jit_is_eager_and_vmap_is_a_loop,
    test_rewards_are_finite_and_bounded,
    test_terminated_and_truncated_are_two_things,
    test_the_level_comes_first,
)
from tests.envs.walks import World, walked
from tests.envs.worlds import QUICK, raw_levels

ROOMS, CATCH, POLE = "FourRooms-misc", "Catch-bsuite", "CartPole-v1"


@pytest.fixture(scope="module", autouse=True)
def strict():
    """The package promotes numbers as it likes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return walked(envs.make(f"gymnax:{ROOMS}", horizon=40))


@pytest.mark.parametrize("name", [ROOMS, CATCH, POLE])
def test_nothing_differs_from_the_package(name):
    """Its own step, which starts anew at the end of an episode, from the same states."""
    env, (foreign, _) = envs.make(f"gymnax:{name}"), gymnax.make(name)
    levels = raw_levels(env, 0, 32)

    def play(key, level):
        def step(state, key):
            action = jax.random.randint(key, (), 0, env.num_actions)
            ours = env.step(jax.random.split(key)[0], level, state, action)
            theirs = foreign.step(key, state.inner, action, level.params)
            return ours.state, (state, ours, theirs)

        return jax.lax.scan(step, env.reset(key, level), jax.random.split(key, 200))[1]

    keys = jax.random.split(jax.random.key(1), 32)
    before, ours, theirs = jax.device_get(
        jax.jit(jax.vmap(play), compiler_options=QUICK)(keys, levels)
    )
    _, after, reward, terminated, truncated, info = theirs
    first = np.cumsum(ours.terminated, axis=1) - ours.terminated == 0
    assert (ours.reward == np.clip(reward, -1, 1))[first].all()
    assert (ours.terminated == terminated)[first].all() and not truncated[first].any()
    assert terminated[first].any() and (reward[first] > 0).any()
    symbols = jax.jit(jax.vmap(jax.vmap(env.foreign.alphabet)))(info["final_observation"])
    assert (ours.state.seen == symbols)[first].all()
    running = first & ~terminated  # where the package did not start anew
    for one, other in zip(jax.tree.leaves(ours.state.inner), jax.tree.leaves(after), strict=True):
        assert one.dtype == other.dtype and (one == other)[running].all()
    assert (before.seen[:, 1:] != before.seen[:, :-1]).any()


def test_there_is_no_key(world):
    for leaf in jax.tree.leaves((world.levels, world.episodes.state)):
        assert not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) and leaf.dtype != np.uint32
    first = jax.tree.map(lambda x: x[0], world.levels)
    states = [world.env.reset(jax.random.key(seed), first) for seed in range(2)]
    assert states[0] is states[1] is first.first


def test_spaces_hold(world):
    seen = world.episodes.timestep.observation
    assert seen.dtype == np.int32 and seen.shape[3:] == (world.env.num_fields,) == (4,)
    assert (seen.min(), seen.max()) == (0, world.env.num_symbols - 1) == (0, 10)
    assert set(np.unique(world.actions)) == set(range(world.env.num_actions))
    assert (seen[..., :2] + 1 == world.episodes.state.inner.pos).all()  # counted from 1 there
    assert world.env.num_states == 0


def test_physics_and_levels_agree_to_rounding_and_prints_to_the_bit():
    env = envs.make(f"gymnax:{POLE}", spread=0.3)
    keys = jax.random.split(jax.random.key(0), 64)
    levels, compiled_step = jax.jit(jax.vmap(env.level))(keys), jax.jit(env.step)
    prints = jax.jit(jax.vmap(env.fingerprint))
    for i in range(2):
        level = env.level(keys[i])
        pairs = zip(jax.tree.leaves(level), jax.tree.leaves(levels), strict=True)
        assert all(np.allclose(one, many[i], rtol=1e-6) for one, many in pairs)
        assert (env.fingerprint(level) == prints(levels)[i]).all()
        arguments = (jax.random.key(5), level, level.first, jnp.int32(1))
        results = [jax.tree.leaves(step(*arguments)) for step in (env.step, compiled_step)]
        for eager, compiled in zip(*results, strict=True):
            assert np.allclose(eager, compiled, rtol=1e-6, atol=1e-6)
    # Another compiler setting rounds otherwise; it is the same level all the same.
    others = raw_levels(env, 0, 64)
    assert (prints(levels) == prints(others)).all()
    assert len(np.unique(prints(levels), axis=0)) == 64


def test_spread_is_between_levels_and_within_its_bounds():
    env = envs.make(f"gymnax:{POLE}", spread=0.3)
    params = raw_levels(env, 0, 512).params
    assert 0.7 * 9.8 <= params.gravity.min() < 7 and 12.6 < params.gravity.max() <= 1.3 * 9.8
    ratio = params.length / 0.5 * 9.8 / params.gravity  # each is drawn by itself
    assert ratio.min() < 0.8 and ratio.max() > 1.25
    assert (params.max_steps_in_episode == 500).all()
    still = raw_levels(env.replace(spread=0.0, gravity=5.0), 0, 4).params
    assert (still.gravity == 5).all() and (still.length == 0.5).all()


def test_numbers_do_not_recompile_and_options_do(world):
    level = jax.tree.map(lambda x: x[0], world.levels)
    arguments = (jax.random.key(0), level, level.first, jnp.int32(0))
    STEP(world.env, *arguments)
    size = STEP._cache_size()
    STEP(envs.make(f"gymnax:{ROOMS}", horizon=40, fail_prob=0.0), *arguments)
    assert STEP._cache_size() == size
    lake = envs.make("gymnax:FrozenLake-misc", map_name="8x8", is_slippery=False)
    assert (lake.num_symbols, lake.num_fields, lake.num_actions) == (64, 1, 4)
    assert envs.make("gymnax:FrozenLake-misc").num_symbols == 16


def test_fingerprints_are_of_the_content(world):
    fingerprint = jax.jit(jax.vmap(world.env.fingerprint))
    prints = np.asarray(fingerprint(world.levels))
    again = np.asarray(fingerprint(raw_levels(world.env, 0, 32)))
    assert (prints == again).all() and prints.dtype == np.uint32
    contents = np.unique(world.levels.first.seen, axis=0)
    assert len(np.unique(prints, axis=0)) == len(contents) > 16
    calm = jnp.full(32, 0.1, jnp.float32)
    other = world.levels.replace(params=world.levels.params.replace(fail_prob=calm))
    assert (np.asarray(fingerprint(other)) != prints).any(-1).all()


def test_rollouts_and_what_is_revealed():
    env = envs.make(f"gymnax:{CATCH}", horizon=9)
    levels = raw_levels(env, 0, 8)

    def play(key):
        return rollout(env, Random(), key, levels, rollouts=8)

    found = jax.jit(play, compiler_options=QUICK)(jax.random.key(0))
    assert found.observation.shape == (8, 8, 9, 50)
    assert set(np.unique(found.returns)) == {-1.0, 1.0}
    assert (found.terminated.sum(-1) == 1).all() and not found.truncated.any()
    told = np.asarray(jax.vmap(env.reveal)(levels, levels.first))
    # A limit and all of the state, then waves of what is whole; whether it is over is a bool.
    assert told.dtype == np.float32 and told.shape == (8, 7 + 6 * 12)
    assert (told[:, 2] == levels.first.inner.ball_x).all()


def test_pictures():
    rooms, catch, lake = (envs.make(f"gymnax:{name}") for name in (ROOMS, CATCH, "FrozenLake-misc"))
    level = jax.tree.map(lambda x: x[0], raw_levels(rooms, 0, 1))
    picture = np.asarray(rooms.draw(level, level.first))
    assert picture.shape == (13, 13) and (picture == tiles.WALL).sum() == 65
    for tile, place in ((tiles.AGENT, "pos"), (tiles.GOAL, "goal")):
        found = np.argwhere(picture == tile)
        assert found.tolist() == [np.asarray(getattr(level.first.inner, place)).tolist()]
    level = jax.tree.map(lambda x: x[0], raw_levels(catch, 0, 32))
    text = catch.text(level, level.first).splitlines()
    assert [len(line) for line in text] == [5] * 10
    assert text[0].index("*") == level.first.inner.ball_x and text[9] == "oo*oo"
    level = jax.tree.map(lambda x: x[0], raw_levels(lake, 0, 1))
    assert lake.text(level, level.first) == "@...\n.~.~\n...~\n~..G"
    breakout = envs.make("gymnax:Breakout-MinAtar", bins=2)
    level = jax.tree.map(lambda x: x[0], raw_levels(breakout, 0, 1))
    assert breakout.text(level, level.first).splitlines()[1:4] == ["dddddddddd"] * 3


def test_numbers_become_symbols():
    plain = whole((2, 2), 3, 6)
    assert (plain.fields, plain.count) == (4, 4)
    assert plain(jnp.array([[3, 4], [6, 9]])).tolist() == [0, 1, 3, 3]
    free = np.finfo(np.float32).max
    some = binned((2,), np.array([0.0, -free]), np.array([1.0, free]), 4)
    assert (some.fields, some.count) == (2, 4)
    values = ((-1.0, -5.0), (0.24, -0.9), (0.25, 0.0), (0.5, 0.9), (0.74, 1.1), (9.0, free))
    symbols = [some(jnp.array(value)).tolist() for value in values]
    assert symbols == [[0, 0], [0, 1], [1, 2], [2, 2], [2, 3], [3, 3]]
    assert some(jnp.zeros(2)).dtype == jnp.int32 == plain(jnp.zeros((2, 2))).dtype


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("gymnax:FourRoom-misc", {}, "did you mean 'gymnax:FourRooms-misc'"),
        ("gymnax:zzz", {}, "unknown family 'gymnax:zzz'; known ids: CartPole-v1, "),
        ("gymnax:Pendulum-v1", {}, "its actions are Box.*only actions to choose from"),
        (f"gymnax:{POLE}", {"bins": 1}, "bins 1: use 2 or more"),
        (f"gymnax:{POLE}", {"spread": 1.0}, "spread 1.0: use a share from 0 up to 1"),
        (f"gymnax:{POLE}", {"speed": 1}, "has no field 'speed'; it has .*bins.*gravity"),
        (f"gymnax:{ROOMS}", {"max_steps_in_episode": 5}, "has no field"),
        (f"gymnax:{ROOMS}", {"recoverability": 0.5}, "cannot be enumerated"),
        ("gymnax:FrozenLake-misc", {"map_name": "5x5"}, "map_name must be '4x4' or '8x8'"),
        ("gymnax:FrozenLake-misc", {"map_name": ["4x4"]}, "unhashable"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(name, fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        envs.make(name, **fields)
    assert "\n" not in str(caught.value)


def test_too_many_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="from 0 to 5000, more than 1024 symbols"):
        whole((), 0, 5000)


def test_every_id_is_a_family_of_its_own():
    names = [f"gymnax:{name}" for name in (ROOMS, CATCH, POLE)]
    classes = [registry.lookup(name) for name in names]
    assert len(set(classes)) == 3 and [registry.lookup(name) for name in names] == classes
    assert not set(names) & set(envs.names())


def test_a_missing_package_is_named(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("gymnax")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "envs.bridges.gymnax")
    with pytest.raises(ValueError, match=r"needs the extra: pip install 'levelburst\[bridges\]'"):
        envs.make(f"gymnax:{ROOMS}")
