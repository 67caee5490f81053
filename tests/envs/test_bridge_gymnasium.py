"""Any Gymnasium environment as Trajectories[level, rollout, time]: the core's own freeze, symbols,
fingerprints, what breaks the rules, and the way on into contexts."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import envs
from agents.policy import Random
from envs.bridges.gymnasium import collect, fingerprint, name_of, symbols
from envs.gymnasium import LevelburstEnv
from envs.levels import bucket
from envs.rollout import Trajectories, rollout
from icl.arms import Arm
from icl.contexts import arrange
from tests.envs.worlds import QUICK, same

SEEDS = (3, 1, 4, 15)


class Hall(gymnasium.Env):
    """Five places in a row; the seed says where the goal is. Observations and actions do not
    start at 0: places are -2 … 2, and the actions 1, 2 lead left and right."""

    observation_space = spaces.Discrete(5, start=-2)
    action_space = spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = 0, int(self.np_random.choice([-2, 2]))
        return self.place, {}

    def step(self, action):
        self.place = min(max(self.place + (1 if action == 2 else -1), -2), 2)
        found = self.place == self.goal
        return self.place, float(found), found, False, {}

    def close(self):
        self.closed = True


class Restless(Hall):
    """A broken twin: its seed does not settle where an episode starts."""

    starts = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.starts += 1
        self.place = self.starts % 2
        return self.place, {}


class Outside(Hall):
    """A broken twin: it shows places that its space does not have."""

    def step(self, action):
        return 7, *super().step(action)[1:]


class Rich(Hall):
    """A broken twin: it pays more than 1."""

    def step(self, action):
        return super().step(action)[0], 2.0, False, False, {}


class Both(Hall):
    """Ends by both flags at once."""

    def step(self, action):
        return 0, 0.0, True, True, {}


class SeedIsLevel(gymnasium.Wrapper):
    """A seed stands for the level of ``jax.random.key(seed)``."""

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed, options={"level": seed})


class Replay:
    """Plays given actions int32[L, R, T] of the levels again; it has a memory."""

    def __init__(self, action: np.ndarray):
        self.action, self.begun = action, []

    def begin(self, level: int, rollout: int):
        self.begun.append((level, rollout))
        self.left = iter(self.action[SEEDS.index(level), rollout].tolist())

    def __call__(self, observation, rng):
        return next(self.left)


def wander(observation, rng):
    return int(rng.integers(1, 3))


def halls(rollouts: int = 6, **settings) -> Trajectories:
    given = {"levels": SEEDS, "rollouts": rollouts, "horizon": 8, **settings}
    return jax.device_get(collect(Hall, wander, **given))


@pytest.mark.parametrize("name", ["dark-room", "lava-crossing"])
def test_a_family_through_gymnasium_is_the_family(name):
    """The rollouts of the core, played again through Gymnasium, are the same to the bit, ends and
    frozen steps included; after the end the core's policy idles on, here the action is 0."""
    core = envs.make(name, horizon=9)
    keys = jnp.stack([jax.random.key(seed) for seed in SEEDS])
    levels = jax.jit(jax.vmap(core.level), compiler_options=QUICK)(keys)
    roll = jax.jit(rollout, static_argnames="rollouts", compiler_options=QUICK)
    own = jax.device_get(roll(core, Random(), jax.random.key(0), levels, rollouts=12))
    policy = Replay(own.action)
    seeds = {"levels": SEEDS, "rollouts": 12, "horizon": 9}
    found = collect(lambda: SeedIsLevel(LevelburstEnv(core)), policy, **seeds)
    idle = own.replace(action=np.where(own.valid, own.action, 0), fingerprint=found.fingerprint)
    assert same(found, idle)
    assert own.terminated.any() and own.truncated.any()
    assert policy.begun == [(seed, i) for seed in SEEDS for i in range(12)]


def test_axes_and_dtypes():
    group = halls()
    steps = (4, 6, 8)
    expected = {
        "observation": (np.int32, (*steps, 1)),
        "action": (np.int32, steps),
        "reward": (np.float32, steps),
        "terminated": (np.bool_, steps),
        "truncated": (np.bool_, steps),
        "successor": (np.int32, (*steps, 1)),
        "valid": (np.bool_, steps),
        "fingerprint": (np.uint32, (4, 2)),
    }
    assert {k: (v.dtype, v.shape) for k, v in vars(group).items()} == expected
    # From 0 on, whatever the spaces start with.
    assert set(np.unique(group.observation)) <= set(range(5))
    assert (group.observation[:, :, 0] == 2).all()
    assert set(np.unique(group.action[group.valid])) == {0, 1}
    step = np.where(group.action == 1, 1, -1)
    moved = np.clip(group.observation[..., 0] + step, 0, 4)
    assert (group.successor[..., 0] == moved)[group.valid].all()
    assert (group.terminated == (group.reward == 1)).all()
    over = group.terminated | group.truncated
    assert (over.sum(-1) == 1).all() and group.truncated[..., -1].any()
    assert (group.valid[..., 1:] == (group.valid[..., :-1] & ~over[..., :-1])).all()


def test_a_seed_gives_a_result_and_episodes_do_not_depend_on_each_other():
    group = halls()
    assert same(group, halls())
    assert not same(group, halls(seed=1))
    few = halls(rollouts=2, levels=SEEDS[::-1])
    assert same(few, jax.tree.map(lambda x: x[::-1], group.replace(
        **{k: v[:, :2] for k, v in vars(group).items() if k != "fingerprint"}
    )))  # fmt: skip
    actions = group.action[group.valid.all(-1)]
    assert len(np.unique(actions, axis=0)) > 1  # rollouts differ


def test_both_flags_at_once_count_as_an_end():
    group = collect(Both, wander, levels=[0], rollouts=1, horizon=1)
    assert group.terminated.all() and not group.truncated.any()


def test_the_way_on_into_contexts():
    settings = {"levels": range(8), "rollouts": 4, "horizon": 12}
    group = collect("FrozenLake-v1", lambda o, rng: int(rng.integers(4)), **settings)
    assert group.observation.shape == (8, 4, 12, 1)
    with jax.numpy_dtype_promotion("standard"):
        context = jax.device_get(jax.jit(arrange)(jax.random.key(0), Arm(), group))
    assert context.valid.shape == (8, 48)
    assert context.valid.sum() == group.valid.sum()
    source = context.source[context.valid]
    assert sorted(source) == np.flatnonzero(group.valid).tolist()
    assert (context.steps.action[context.valid] == np.asarray(group.action).ravel()[source]).all()
    assert (context.query.sum(-1) > 0).all()


def test_fingerprints_stand_for_name_and_seed():
    lake = gymnasium.make("FrozenLake-v1", render_mode="ansi")
    large = gymnasium.make("FrozenLake-v1", map_name="8x8")
    names = [name_of(lake), name_of(large), name_of(Hall())]
    assert names[0] == name_of(gymnasium.make("FrozenLake-v1"))  # looks do not matter
    assert names[2].endswith("Hall") and len(set(names)) == 3
    prints = np.array([[fingerprint(name, seed) for seed in range(400)] for name in names])
    assert prints.dtype == np.uint32 and prints.shape == (3, 400, 2)
    assert len(np.unique(prints.reshape(-1, 2), axis=0)) == 1200
    assert 100 < (np.asarray(bucket(prints)) == 0).sum() < 200  # of the test split: one in eight
    # For good: data on disk keeps its fingerprints.
    assert fingerprint("FrozenLake-v1 {}", 7).tolist() == [3033055987, 2933773711]
    group = halls()
    assert same(group.fingerprint, np.stack([fingerprint(names[2], seed) for seed in SEEDS]))
    assert not same(halls(name="other").fingerprint, group.fingerprint)


@pytest.mark.parametrize(
    ("space", "shown", "numbers", "count"),
    [
        (spaces.Discrete(5, start=-2), -1, [1], 5),
        (spaces.MultiDiscrete([3, 9], start=[1, -4]), np.array([3, 0]), [2, 4], 9),
        (spaces.MultiDiscrete([[3], [9]]), np.array([[2], [8]]), [2, 8], 9),
        (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1], 2),
        (spaces.Box(-3, 4, (2, 2), np.int8), np.array([[-3, 4], [0, 1]]), [0, 7, 3, 4], 8),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), np.full((7, 7, 3), 9), [9] * 147, 256),
    ],
)
def test_spaces_of_whole_numbers_are_symbols(space, shown, numbers, count):
    assert space.contains(shown) or space.contains(shown.astype(space.dtype))
    look = symbols(space)
    assert look(shown).tolist() == numbers
    assert look.num_symbols == count


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 1, (3,)),
        spaces.Box(0, 255, (64, 64, 3), np.uint8),
        spaces.Box(-(2**63), 2**63 - 1, (1,), np.int64),
        spaces.Discrete(2000),
        spaces.Dict({"a": spaces.Discrete(2)}),
        spaces.Text(4),
    ],
)
def test_other_spaces_are_refused(space):
    with pytest.raises(ValueError, match=r"are no symbols: expected Discrete.*give encode="):
        symbols(space)


def test_a_given_function_makes_symbols():
    def corner(observation):
        return np.digitize(observation[:2], [-0.05, 0.0, 0.05])

    settings = {"levels": [0, 1], "rollouts": 2, "horizon": 5}
    group = collect("CartPole-v1", lambda o, rng: 0, encode=corner, **settings)
    env = gymnasium.make("CartPole-v1")
    for level in (0, 1):
        first, _ = env.reset(seed=level)
        assert (np.asarray(group.observation)[level, :, 0] == corner(first)).all()
    assert group.returns.tolist() == [[5.0, 5.0]] * 2
    with pytest.raises(ValueError, match=r"observations in Box.*are no symbols"):
        collect("CartPole-v1", lambda o, rng: 0, **settings)
    for wrong in (lambda o: o, lambda o: np.array([-1]), lambda o: np.zeros((2, 2), int)):
        with pytest.raises(ValueError, match="encode= gave"):
            collect("CartPole-v1", lambda o, rng: 0, encode=wrong, **settings)


@pytest.mark.parametrize(
    ("world", "policy", "changed", "message"),
    [
        (Restless, wander, {}, "Restless: level 3 starts differently in rollout 1"),
        (Outside, wander, {}, "Outside: an observation has numbers outside its space"),
        (Rich, wander, {}, r"Rich: reward 2.0 at step 1 of level 3 is outside \[-1, 1\]"),
        (Hall, lambda o, rng: 0, {}, "the policy chose 0, which is not in Discrete"),
        ("Pendulum-v1", wander, {"encode": lambda o: 0}, r"actions in Box.*expected Discrete"),
        (Hall, wander, {"levels": [1, 1]}, "levels: different seeds"),
        (Hall, wander, {"levels": [-1]}, "levels: different seeds"),
        (Hall, wander, {"levels": []}, "levels: different seeds"),
        (Hall, wander, {"rollouts": 0}, "rollouts and horizon: 1 or more"),
        (Hall, wander, {"horizon": 0}, "rollouts and horizon: 1 or more"),
    ],
)
def test_what_is_wrong_is_said(world, policy, changed, message):
    settings = {"levels": SEEDS, "rollouts": 2, "horizon": 4, **changed}
    with pytest.raises(ValueError, match=message):
        collect(world, policy, **settings)


@pytest.mark.parametrize("world", [Hall, Rich])
def test_the_environment_is_closed_whatever_happens(world):
    made = world()
    try:
        collect(lambda: made, wander, levels=[0], rollouts=1, horizon=2)
    except ValueError:
        assert world is Rich
    assert made.closed
