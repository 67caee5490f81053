"""XLand-MiniGrid as families: the core's contract holds, and nothing differs from the package."""

import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xminigrid
from scipy import stats
from xminigrid.benchmarks import Benchmark

import envs
from agents.policy import Random
from envs import registry, tiles
from envs.bridges import BRIDGES, rulesets
from envs.rollout import rollout
from experiments import families
from tests.envs import test_contract
from tests.envs.test_contract import (  # noqa: F401
    test_a_key_gives_a_result,
    test_finished_episodes_freeze,
    test_jit_is_eager_and_vmap_is_a_loop,
    test_rewards_are_finite_and_bounded,
    test_terminated_and_truncated_are_two_things,
    test_the_level_comes_first,
)
from tests.envs.walks import World, walked
from tests.envs.worlds import QUICK, raw_levels, same

DOOR, MEMORY, ROOM = "MiniGrid-DoorKey-5x5", "MiniGrid-MemoryS8", "XLand-MiniGrid-R2-9x9"


@pytest.fixture(scope="module", autouse=True)
def strict():
    """The package promotes numbers as it likes; every eager step of it compiles anew."""
    with jax.numpy_dtype_promotion("standard"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_contract, "SAMPLES", 2)
        yield


@pytest.fixture(scope="module")
def world() -> World:
    """What the contract is held against: quick to compile."""
    return walked(envs.make(f"xland:{MEMORY}", horizon=24))


@pytest.fixture(scope="module")
def room() -> World:
    """Doors, objects, a goal and a rule."""
    return walked(envs.make(f"xland:{ROOM}", horizon=40))


def theirs(name: str, keys: jax.Array, actions: np.ndarray, ruleset=None) -> list[np.ndarray]:
    """What the package shows, pays and ends, [L, W, T + 1] each, for the same actions."""
    foreign, params = xminigrid.make(name)

    def one(key, ruleset, actions):
        own = params if ruleset is None else params.replace(ruleset=ruleset)
        first = foreign.reset(own, key)

        def step(timestep, action):
            after = foreign.step(own, timestep, action)
            return after, after

        rest = jax.lax.scan(step, first, actions)[1]
        every = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, rest)
        return every.observation, every.reward > 0, every.discount == 0

    many = jax.vmap(jax.vmap(one, (None, None, 0)))
    return [np.asarray(x) for x in jax.jit(many, compiler_options=QUICK)(keys, ruleset, actions)]


@pytest.mark.parametrize("name", [ROOM, MEMORY])
def test_nothing_differs_from_the_package(name, world, room):
    world = room if name == ROOM else world
    keys, ruleset = jax.random.split(jax.random.key(0), 32), None
    if name == ROOM:
        first, keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        ruleset = jax.vmap(lambda key: rulesets.draw_ruleset(key, 1, 2))(first)
    shown, paid, over = theirs(name, keys, world.actions, ruleset)
    shown = (shown + np.array([0, 13])).reshape(*shown.shape[:3], -1)
    running = np.cumsum(over, axis=-1) - over == 0  # up to and with the step that ends it
    running &= np.arange(running.shape[-1]) <= world.env.horizon
    ours = world.episodes.timestep
    assert (ours.observation[running] == shown[running]).all()
    assert (ours.reward[running] == paid[running]).all()
    assert (ours.terminated[running] == over[running]).all()
    assert running.sum() > 2000 and over[running].any()
    grids = world.episodes.state.grid
    assert (grids != grids[:, :, :1]).any() == (name == ROOM)  # things were taken or opened


def test_rules_and_goals_are_the_same_eager(room):
    level, before, after = (
        jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), tree)
        for tree, i in (
            (room.levels, 3),
            (room.episodes.state, (3, 0, 5)),
            (room.episodes.state, (3, 0, 6)),
        )
    )
    outcome = room.env.step(jax.random.key(0), level, before, jnp.asarray(room.actions[3, 0, 5]))
    assert same(outcome.state, after)
    assert outcome.reward == room.episodes.timestep.reward[3, 0, 6]


def test_there_is_no_key_and_no_clock(room):
    leaves = jax.tree.leaves((room.levels, room.episodes.state))
    assert {leaf.dtype.name for leaf in leaves} == {"uint8", "int32"}
    first = jax.tree.map(lambda x: x[0], room.levels)
    states = [room.env.reset(jax.random.key(seed), first) for seed in range(2)]
    assert states[0] is states[1] is first.first


def test_spaces_hold(room):
    seen = room.episodes.timestep.observation
    assert seen.dtype == np.int32 and seen.shape[3:] == (room.env.num_fields,)
    kinds, colours = seen[..., ::2], seen[..., 1::2]
    assert kinds.min() >= 0 and kinds.max() < 13
    assert colours.min() >= 13 and colours.max() < room.env.num_symbols == 25
    assert set(np.unique(room.actions)) == set(range(room.env.num_actions))
    assert room.env.num_states == 0


def test_what_is_revealed_tells_states_and_levels_apart(room):
    reveal = jax.jit(jax.vmap(jax.vmap(room.env.reveal, (None, 0))))
    states = jax.tree.map(lambda x: x[:, 0], room.episodes.state)
    told = np.asarray(reveal(room.levels, states))
    assert told.dtype == np.float32 and told.min() >= 0 and told.max() < 16
    whole = jax.tree.leaves((states, room.levels.goal[:, None] + 0 * states.direction[..., None]))
    rows = np.concatenate([np.reshape(x, (*told.shape[:2], -1)) for x in whole], axis=-1)
    count = len(np.unique(rows.reshape(-1, rows.shape[-1]), axis=0))
    assert len(np.unique(told.reshape(-1, told.shape[-1]), axis=0)) >= count
    for channel in (0, 1):  # of a corner, seen or not
        grid = states.grid.copy()
        grid[..., 0, 0, channel] += 1
        assert (np.asarray(reveal(room.levels, states.replace(grid=grid))) != told).any(-1).all()


def test_fingerprints_are_of_the_content():
    env = envs.make(f"xland:{DOOR}")
    prints = jax.jit(jax.vmap(env.fingerprint))
    levels = raw_levels(env, 0, 64)
    found, again = np.asarray(prints(levels)), np.asarray(prints(raw_levels(env, 0, 64)))
    assert (found == again).all() and found.dtype == np.uint32
    rows = [np.reshape(leaf, (64, -1)) for leaf in jax.tree.leaves(levels)]
    contents = np.unique(np.concatenate(rows, axis=1), axis=0)
    assert len(np.unique(found, axis=0)) == len(contents) < 64  # a small room: levels recur


def test_rollouts():
    env = envs.make(f"xland:{MEMORY}", horizon=24)
    levels = raw_levels(env, 0, 32)

    def play(key):
        return rollout(env, Random(), key, levels, rollouts=8)

    found = jax.jit(play, compiler_options=QUICK)(jax.random.key(0))
    assert found.observation.shape == (32, 8, 24, 18)
    assert set(np.unique(found.returns)) == {0.0, 1.0}
    assert (found.terminated.any(-1) & (found.returns == 0)).any()  # the wrong choice
    assert (found.terminated | found.truncated).any(-1).all()


def test_a_room_is_drawn():
    env = envs.make(f"xland:{DOOR}")
    level = jax.tree.map(lambda x: x[0], raw_levels(env, 0, 64))
    picture = np.asarray(env.draw(level, level.first))
    counts = Counter(picture.ravel().tolist())
    assert picture.shape == (5, 5) and counts[tiles.WALL] == 16 + 2
    assert counts[tiles.KEY] == counts[tiles.LOCKS[0]] == counts[tiles.GOAL] == 1
    arrow = int(picture[tuple(np.asarray(level.first.position))])
    assert (
        arrow
        == (tiles.WIND_UP, tiles.WIND_RIGHT, tiles.WIND_DOWN, tiles.WIND_LEFT)[
            int(level.first.direction)
        ]
    )
    seen = np.asarray(env.view(level, level.first))
    assert seen.shape == (7, 7) and seen[6, 3] == tiles.WIND_UP
    assert tiles.UNSEEN in seen and tiles.UNSEEN not in picture


def test_rulesets_can_be_met_and_not_at_once():
    """Every rule's inputs are there when its turn comes, and the goal's only after the last one."""
    depth, count = 3, 3000
    keys = jax.random.split(jax.random.key(0), count)
    drawn = jax.device_get(
        jax.jit(jax.vmap(lambda key: rulesets.draw_ruleset(key, depth, 4)))(keys)
    )
    assert (drawn.goal.dtype, drawn.goal.shape) == (np.uint8, (count, 5))
    assert (drawn.rules.dtype, drawn.rules.shape) == (np.uint8, (count, depth, 7))
    assert (drawn.init_tiles.dtype, drawn.init_tiles.shape) == (np.uint8, (count, depth + 6, 2))
    for goal, rules, first in zip(
        drawn.goal[:500].tolist(), drawn.rules.tolist(), drawn.init_tiles
    ):
        there = {tuple(tile) for tile in first.tolist()}
        assert len(there) == depth + 6
        made = None
        for kind, *tiles_of in reversed(rules):  # the rule next to the goal comes first
            pairs = list(zip(tiles_of[::2], tiles_of[1::2], strict=True))
            *needed, made = pairs if kind == rulesets.PAIR_RULE else pairs[:2]
            assert set(needed) <= there and made not in there
            there.add(made)
        assert tuple(goal[1:3]) == made
        assert (goal[0] == rulesets.PAIR_GOAL) == (tuple(goal[3:]) != (0, 0))
        assert goal[0] != rulesets.PAIR_GOAL or tuple(goal[3:]) in there
    for kinds, expected in (
        (drawn.goal[:, 0], {1, 3, 4}),
        (drawn.rules[..., 0].ravel(), {1, 2, 3}),
    ):
        numbers, counts = np.unique(kinds, return_counts=True)
        assert set(numbers.tolist()) == expected and stats.chisquare(counts).pvalue > 1e-4
    objects = np.unique(drawn.goal[:, 1:3], axis=0, return_counts=True)
    assert len(objects[0]) == 60 and stats.chisquare(objects[1]).pvalue > 1e-4


def test_a_benchmark_can_be_drawn_from():
    drawn = jax.vmap(lambda key: rulesets.draw_ruleset(key, 1, 0))(
        jax.random.split(jax.random.key(3), 2)
    )
    some = Benchmark(drawn.goal, drawn.rules, drawn.init_tiles, jnp.ones(2, jnp.uint8))
    env = envs.make("xland:XLand-MiniGrid-R1-9x9", rulesets=some)
    goals_of = jax.jit(lambda env, keys: jax.vmap(lambda key: env.level(key).goal)(keys))
    found = np.asarray(goals_of(env, jax.random.split(jax.random.key(0), 32)))
    goals = {tuple(goal) for goal in found.tolist()}
    assert goals == {tuple(goal) for goal in np.asarray(drawn.goal).tolist()}


def test_every_id_is_a_family_of_its_own():
    assert BRIDGES == families.BRIDGES
    names = [f"xland:{name}" for name in xminigrid.registered_environments()]
    classes = [registry.lookup(name) for name in names]
    assert len(set(classes)) == len(names) > 40
    assert [registry.lookup(name) for name in names] == classes
    assert not set(names) & set(envs.names())
    assert envs.make(f"xland:{MEMORY}").num_fields == 18
    assert envs.make(f"xland:{MEMORY}", view_size=5).num_fields == 50


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("xland:MiniGrid-DoorKey-6", {}, "did you mean 'xland:MiniGrid-DoorKey-6x6'"),
        ("xland:", {}, "unknown family 'xland:'; known ids: XLand-MiniGrid-R1-9x9, "),
        (f"xland:{DOOR}", {"view_size": 4}, "view_size 4: use an odd number"),
        (f"xland:{DOOR}", {"depth": 1}, "has no field 'depth'; it has .*view_size"),
        (f"xland:{DOOR}", {"lethality": 0.5}, "cannot be enumerated"),
        (f"xland:{ROOM}", {"rulesets": "trivial-21k"}, "load_benchmark"),
        (f"xland:{ROOM}", {"depth": 10}, "use 0 to 9 rules"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(name, fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        envs.make(name, **fields)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("xminigrid")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "envs.bridges.xland")
    with pytest.raises(ValueError, match=r"needs the extra: pip install 'levelburst\[bridges\]'"):
        envs.make(f"xland:{DOOR}")
