"""Batches of environments: a loop of single ones, the three ways to start anew, seeds, infos."""

import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scipy import stats

import envs
import envs.vector as ours
from envs.core import Env
from envs.families.dark_room import DarkRoom
from envs.gymnasium import LevelburstEnv
from envs.levels import LevelSet, draw_levels
from envs.render import image
from envs.vector import LevelburstVectorEnv
from envs.wrappers import Sticky, wrap
from tests.envs.worlds import MEMBERS, raw_levels, same

COUNT, SIZE, HORIZON = 6, 5, 7
CORE = envs.make("lava-crossing", horizon=HORIZON)  # it ends by lava, goal and horizon
LEVELS = raw_levels(CORE, 0, SIZE)
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


def batch(mode: AutoresetMode = AutoresetMode.NEXT_STEP, core: Env = CORE) -> LevelburstVectorEnv:
    return LevelburstVectorEnv(core, num_envs=COUNT, levels=LEVELS, autoreset_mode=mode)


def actions(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CORE.num_actions, (steps, COUNT))


def played(env: LevelburstVectorEnv, steps: int, seed: int | None = 0) -> list:
    return [env.reset(seed=seed), *(env.step(action) for action in actions(steps))]


def pick(levels, index: int):
    return jax.tree.map(lambda x: x[index], levels)


class Loop:
    """What a batch should do, by single environments: each is told the level it has to play."""

    def __init__(self, mode: AutoresetMode):
        self.mode = mode
        self.singles = [LevelburstEnv(CORE, level=pick(LEVELS, 0)) for _ in range(COUNT)]
        self.over = np.zeros(COUNT, bool)

    def start(self, i: int, level: int) -> np.ndarray:
        return self.singles[i].reset(options={"level": pick(LEVELS, level)})[0]

    def step(self, action: np.ndarray, level: np.ndarray):
        """(observations, rewards, terminations, truncations, observations before new starts)."""
        rows = []
        for i, single in enumerate(self.singles):
            if self.mode == AutoresetMode.NEXT_STEP and self.over[i]:
                first = self.start(i, level[i])
                rows.append((first, 0.0, False, False, first))
                continue
            shown, reward, terminated, truncated, _ = single.step(action[i])
            anew = self.mode == AutoresetMode.SAME_STEP and (terminated or truncated)
            now = self.start(i, level[i]) if anew else shown
            rows.append((now, reward, terminated, truncated, shown))
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        self.over = columns[2] | columns[3]
        return columns


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_is_a_loop(mode):
    env, loop = batch(mode), Loop(mode)
    shown, infos = env.reset(seed=0)
    level = infos["level"]
    assert same(shown, np.stack([loop.start(i, level[i]) for i in range(COUNT)]))
    ends, changes = [], 0
    for action in actions(30):
        before = loop.over
        shown, reward, terminated, truncated, infos = env.step(action)
        expected = loop.step(action, infos["level"])
        assert same(shown, expected[0])
        assert same(reward, expected[1].astype(np.float32))
        assert same((terminated, truncated), tuple(expected[2:4]))
        assert env.observation_space.contains(shown)
        ended = terminated | truncated
        ends.append(ended)
        # Levels change where episodes start, and nowhere else.
        fresh = {"NEXT_STEP": before, "SAME_STEP": ended, "DISABLED": ended & False}[mode.name]
        changed = infos["level"] != level
        assert not (changed & ~fresh).any()
        changes += changed.sum()
        assert same(infos["_level"], np.ones(COUNT, bool))
        assert ("final_obs" in infos) == (mode == AutoresetMode.SAME_STEP and ended.any())
        if "final_obs" in infos:
            assert same(infos["_final_obs"], ended) and same(infos["_final_info"], ended)
            for i in range(COUNT):
                final = infos["final_obs"][i]
                assert same(final, expected[4][i]) if ended[i] else final is None
            assert same(infos["final_info"]["level"], np.where(ended, level, 0))
            assert same(infos["final_info"]["_level"], ended)
        level = infos["level"]
    assert env.metadata["autoreset_mode"] is mode
    if mode == AutoresetMode.DISABLED:  # finished episodes freeze, and pay nothing
        assert np.asarray(ends)[HORIZON - 1 :].all() and not reward.any() and not changes
    else:
        assert changes > 10


@pytest.mark.parametrize("mode", MODES[:2])
def test_infos_have_the_form_of_gymnasiums_own(mode):
    """Keys, types and shapes are those of SyncVectorEnv over the single environments."""
    ids, zeros = jnp.arange(SIZE, dtype=jnp.uint32), jnp.zeros((SIZE, 2))
    levels = LevelSet(CORE, jax.random.key(0), ids, zeros, zeros, jnp.float32(0))
    own = LevelburstVectorEnv(CORE, num_envs=COUNT, levels=levels, autoreset_mode=mode)
    reference = SyncVectorEnv(
        [lambda: LevelburstEnv(CORE, level=levels)] * COUNT, autoreset_mode=mode
    )

    def form(tree):
        return jax.tree.map(lambda x: (type(x), getattr(x, "dtype", 0), np.shape(x)), tree)

    one, other = own.reset(seed=0), reference.reset(seed=0)
    assert form(one) == form(other)
    assert own.single_observation_space == reference.single_observation_space
    assert own.observation_space == reference.observation_space
    assert own.action_space == reference.action_space
    seen = set()
    for action in actions(4 * HORIZON):
        one, other = own.step(action), reference.step(action)
        for mine, theirs in zip(one[:4], other[:4], strict=True):
            assert mine.shape == theirs.shape and mine.dtype.kind == theirs.dtype.kind
        if one[4].keys() == other[4].keys():
            assert form(one[4]) == form(other[4])
            seen |= set(one[4])
    assert ("final_info" in seen) == (mode == AutoresetMode.SAME_STEP)
    reference.close()


def test_a_mask_starts_some_and_leaves_the_others():
    env = batch(AutoresetMode.DISABLED)
    env.reset(seed=0)
    for action in actions(HORIZON):
        before, *_, infos = env.step(action)
    state = jax.device_get(env.batch.episode)
    mask = np.arange(COUNT) % 2 == 0
    wanted = np.array([4, 3, 2, 1, 0, 4])
    shown, fresh = env.reset(options={"reset_mask": mask, "level": wanted})
    assert same(fresh, {"level": np.where(mask, wanted, 0), "_level": mask})
    after = jax.device_get(env.batch.episode)
    assert (after.time == np.where(mask, 0, state.time)).all()
    assert same(shown[~mask], before[~mask])
    starts = [
        CORE.observe(pick(LEVELS, i), CORE.reset(jax.random.key(0), pick(LEVELS, i)))
        for i in wanted
    ]
    assert same(shown[mask], np.stack(starts)[mask])
    _, reward, terminated, truncated, now = env.step(actions(1)[0])
    assert (terminated | truncated)[~mask].all() and not reward[~mask].any()
    assert same(now["level"], np.where(mask, wanted, infos["level"]))


def test_a_seed_gives_a_result():
    core = wrap(Sticky, CORE, stickiness=0.5)
    one, other = batch(core=core), batch(core=core)
    first = played(one, 12)
    assert same(first, played(other, 12))
    second = played(one, 12, seed=None)  # the generator goes on …
    assert not same(first[0], second[0])
    assert same(second, played(other, 12, seed=None))  # … in the same way
    assert same(first, played(one, 12))  # and starts again
    assert not same(first[0], played(other, 12, seed=1)[0])
    levels = {"level": np.zeros(COUNT, int)}  # in the same levels, too, chance is another
    for env, seed in ((one, 0), (other, 1)):
        env.reset(seed=seed, options=levels)
    steps = [[env.step(action)[0] for action in actions(HORIZON)] for env in (one, other)]
    assert not same(*steps)


def test_chance_differs_between_the_environments_of_a_batch():
    core = wrap(Sticky, CORE, stickiness=0.5)
    env = LevelburstVectorEnv(core, num_envs=64, levels=LEVELS, autoreset_mode="Disabled")
    env.reset(seed=0, options={"level": np.zeros(64, int)})
    for action in (0, 1, 2, 3):
        env.step(np.full(64, action))
    previous = np.asarray(env.batch.episode.state.previous)
    assert len(set(previous.tolist())) > 2


@pytest.mark.parametrize("mode", MODES[:2])
def test_new_starts_draw_levels_uniformly(mode):
    count = 256
    env = LevelburstVectorEnv(CORE, num_envs=count, levels=LEVELS, autoreset_mode=mode)
    _, infos = env.reset(seed=0)
    drawn, over = [infos["level"]], np.zeros(count, bool)
    for _ in range(3 * HORIZON):
        _, _, terminated, truncated, infos = env.step(np.zeros(count, int))
        ended = terminated | truncated
        drawn.append(infos["level"][over if mode == AutoresetMode.NEXT_STEP else ended])
        over = ended
    for numbers in (drawn[0], np.concatenate(drawn[1:])):
        assert stats.chisquare(np.bincount(numbers, minlength=SIZE)).pvalue > 1e-4


class Counted(DarkRoom):
    """A family that counts how often its Python code generates or traces a level."""

    count = []  # noqa: RUF012

    def level(self, key):
        self.count.append(1)
        return super().level(key)


def test_no_reset_generates_a_level_and_nothing_compiles_anew():
    core = Counted(size=4, horizon=3)
    env = LevelburstVectorEnv(core, num_envs=COUNT, levels=raw_levels(core, 0, SIZE))
    assert Counted.count
    Counted.count.clear()
    played(env, 2)
    before = ours._start._cache_size(), ours._step._cache_size()
    played(env, 12, seed=1)
    others = LevelburstVectorEnv(
        core, num_envs=COUNT, levels=env.levels.replace(walls=~env.levels.walls)
    )
    Counted.count.clear()
    played(others, 12)
    assert not Counted.count
    assert (ours._start._cache_size(), ours._step._cache_size()) == before


def test_made_by_gymnasium():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(
            "levelburst/DarkRoom-v0", num_envs=3, levels=8, size=4, horizon=5,
            autoreset_mode="SameStep", observations="pixels", render_mode="rgb_array",
        )  # fmt: skip
    core = envs.make("dark-room", size=4, horizon=5)
    assert isinstance(env, LevelburstVectorEnv)
    assert env.core.bare == core
    levels = draw_levels(env.core, jax.random.key(0), 8)
    assert same(env.levels, MEMBERS(levels, np.arange(8)))
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    shown, infos = env.reset(seed=0)
    assert shown.shape == (3, 64, 64, 3) and env.observation_space.contains(shown)
    shown[:] = 0  # the caller's own
    pictures = env.render()
    for picture, number in zip(pictures, infos["level"], strict=True):
        level = pick(env.levels, int(number))
        state = core.reset(jax.random.key(0), level)
        assert same(picture, image(np.asarray(core.draw(level, state))))
    assert batch().render() is None
    env.close()
    env.close()
    for call in (env.reset, env.render, lambda: env.step(np.zeros(3, int))):
        with pytest.raises(gymnasium.error.ClosedEnvironmentError):
            call()


def test_a_family_without_states_takes_the_first_levels():
    class Endless(DarkRoom):
        num_states = 0

    env = LevelburstVectorEnv(Endless(size=4), levels=3)
    assert same(pick(env.levels, 2), Endless(size=4).level(jax.random.key(2)))


def test_gymnasiums_statistics_are_right():
    env = batch()
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(batch())
    wrapped.reset(seed=0)
    env.reset(seed=0)
    total, over = np.zeros(COUNT), np.zeros(COUNT, bool)
    checked = 0
    for action in actions(30):
        _, reward, terminated, truncated, _ = env.step(action)
        infos = wrapped.step(action)[4]
        total = np.where(over, 0, total + reward)
        over = terminated | truncated
        if over.any():
            assert same(infos["_episode"], over)
            np.testing.assert_array_equal(infos["episode"]["r"][over], total[over])
            checked += over.sum()
    assert checked > COUNT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs 0"),
        ({"levels": 0}, "levels 0"),
        ({"levels": pick(LEVELS, 0)}, "is no stack of LavaCrossing"),
        ({"levels": pick(LEVELS, 0).start}, "is no stack of LavaCrossing"),
        ({"render_mode": "human"}, "LavaCrossing has rgb_array"),
        ({"autoreset_mode": "Never"}, "Never"),
    ],
)
def test_what_is_wrong_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        LevelburstVectorEnv(CORE, **{"levels": LEVELS, **arguments})


def test_wrong_calls_are_refused():
    env = batch()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(actions(1)[0])
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.reset(options={"reset_mask": np.arange(COUNT) < 2})
    env.reset(seed=0)
    for wrong in (
        np.zeros(COUNT + 1, int),
        np.zeros(COUNT),
        np.full(COUNT, 4),
        -np.ones(COUNT, int),
    ):
        with pytest.raises(ValueError, match=r"actions: expected 6 integers in \[0, 4\)"):
            env.step(wrong)
    with pytest.raises(ValueError, match=r"level: expected 6 integers in \[0, 5\)"):
        env.reset(options={"level": np.full(COUNT, SIZE)})
    for mask in (np.zeros(COUNT, bool), np.ones(COUNT, int), np.ones(COUNT + 1, bool)):
        with pytest.raises(ValueError, match=r"reset_mask: expected bool\[6\]"):
            env.reset(options={"reset_mask": mask})
