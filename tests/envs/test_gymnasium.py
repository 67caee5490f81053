"""Families as Gymnasium environments: seeds, the core step by step, levels, pictures."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import envs.gymnasium as ours
from envs.core import Env, advance, begin
from envs.families.dark_room import DarkRoom
from envs.gymnasium import LevelburstEnv
from envs.levels import draw_levels
from envs.oracle import optimal_return, random_return
from envs.pixels import Pixels
from envs.render import image, pixels
from envs.wrappers import Sticky, wrap
from tests.envs.worlds import QUICK, raw_levels, same

SMALL = {"size": 4, "horizon": 6, "density": 0.0}
BEGIN, ADVANCE = (jax.jit(f, compiler_options=QUICK) for f in (begin, advance))
ROOM = "S..\n.#.\n..G"


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Programs that run a few times: they had better compile fast."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def play(env: gymnasium.Env, actions, seed: int | None = 0) -> list:
    """Everything that a reset and the actions after it return."""
    return [env.reset(seed=seed), *(env.step(action) for action in actions)]


def equal(one: list, other: list) -> bool:
    """Two such lists, to the bit; what is no array by ``==``."""
    for x, y in zip(one, other, strict=True):
        if not same(x[0], y[0]) or x[1:] != y[1:]:
            return False
    return True


def test_a_family_from_anywhere():
    env = LevelburstEnv("envs.families.dark_room:DarkRoom", level=1, horizon=4)
    assert env.core == DarkRoom(horizon=4)
    with pytest.raises(ValueError, match="cannot be loaded"):
        LevelburstEnv("no.such.module:Room")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "dark-rom"}, "did you mean 'dark-room'"),
        ({"family": "dark-room", "sise": 4}, "has no field 'sise'"),
        ({"family": DarkRoom(), "size": 4}, "fields size for a ready DarkRoom"),
        ({"family": "dark-room", "stickiness": 1.5}, "stickiness 1.5"),
        ({"family": "dark-room", "observations": "sounds"}, "use 'symbols' or 'pixels'"),
        ({"family": "dark-room", "render_mode": "smell"}, "DarkRoom has rgb_array, ansi, human"),
        ({"family": "dark-room", "level": -1}, "level -1: use a number"),
        ({"family": "dark-room", "level": ROOM}, "3 x 3 tiles, this environment's are 7 x 7"),
        ({"family": "dark-room", "level": jnp.zeros(3)}, "is no level of DarkRoom: expected a"),
    ],
)
def test_what_is_wrong_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        LevelburstEnv(**arguments)


def test_a_level_of_another_size_is_refused():
    level = jax.tree.map(lambda x: x[0], raw_levels(envs.make("dark-room", size=4), 0, 1))
    with pytest.raises(ValueError, match=r"\(16,\).*is no level of DarkRoom.*\(49,\)"):
        LevelburstEnv("dark-room", level=level)
    levels = draw_levels(envs.make("dark-room", **SMALL), jax.random.key(0), 2)
    with pytest.raises(ValueError, match="is no level of DarkRoom"):
        LevelburstEnv("dark-room", level=levels)


def test_a_level_alone_has_no_scrambled_meaning():
    with pytest.raises(ValueError, match="expected a UnforgivingLevel"):
        LevelburstEnv("dark-room", level=ROOM, size=3, lethality=0.5)


def test_a_seed_gives_a_result():
    actions = np.random.default_rng(0).integers(0, 4, 20)

    def made():
        return LevelburstEnv("dark-room", stickiness=0.5, **SMALL)

    one, other = made(), made()
    first = play(one, actions)
    assert equal(first, play(other, actions))
    second = play(one, actions, seed=None)  # the generator goes on …
    assert not equal(first, second)
    assert equal(second, play(other, actions, seed=None))  # … in the same way
    assert equal(first, play(one, actions))  # and starts again
    assert not equal(first, play(other, actions, seed=1))
    assert made().reset()[1] != made().reset()[1]  # without a seed nothing repeats


@pytest.mark.parametrize(
    ("name", "observations"), [("dark-room", "symbols"), ("lava-crossing", "pixels")]
)
def test_the_core_step_by_step(name, observations):
    """The documented keys through ``begin`` and ``advance``, past the end of the episode."""
    core = wrap(Sticky, envs.make(name, horizon=6), stickiness=0.5)
    core = wrap(Pixels, core) if observations == "pixels" else core
    env = LevelburstEnv(name, level=7, observations=observations, stickiness=0.5, horizon=6)
    level = core.level(jax.random.key(7))
    key = jax.random.key(np.random.default_rng(5).integers(2**32, dtype=np.uint32))
    episode = BEGIN(core, jax.random.fold_in(key, 0), level)
    shown, info = env.reset(seed=5)
    assert info == {"level": 7}
    assert same(env.level, level)
    assert same(shown, np.asarray(episode.timestep.observation))
    for time, action in enumerate(np.random.default_rng(1).integers(0, core.num_actions, 9)):
        before = episode
        episode = ADVANCE(core, jax.random.fold_in(key, time + 1), level, episode, action)
        shown, reward, terminated, truncated, info = env.step(action)
        now = episode.timestep
        assert same(shown, np.asarray(now.observation))
        assert (reward, terminated, truncated) == (now.reward, now.terminated, now.truncated)
        assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
        assert info == {"level": 7}
        assert env.observation_space.contains(shown)
        if before.timestep.last:
            assert reward == 0 and same(shown, np.asarray(before.timestep.observation))
    assert episode.timestep.last


def test_the_horizon_truncates_once():
    made = gymnasium.make("levelburst/DarkRoom-v0", level="S.G\n###\n...", size=3, horizon=5)
    made.reset(seed=0)
    flags = [made.step(0)[2:4] for _ in range(5)]
    assert flags == [(False, False)] * 4 + [(False, True)]
    assert [made.step(1)[2:4] for _ in range(2)] == [(False, True)] * 2
    made.reset()
    made.step(1)
    assert made.step(1)[1:4] == (1.0, True, False)
    with pytest.raises(ValueError, match=r"action 4: expected an integer in Discrete\(4\)"):
        made.unwrapped.step(4)


def test_nothing_is_stepped_or_drawn_before_a_reset():
    env = LevelburstEnv("dark-room", level=0, render_mode="ansi")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()


def leads(env: Env, keys: jax.Array):
    """Levels, and by how much the best play beats random play in each."""
    levels = jax.vmap(env.level)(keys)
    tables = jax.vmap(env.tabulate)(levels)
    best, random = (
        jax.vmap(lambda t, f=f: f(t, 6))(tables) for f in (optimal_return, random_return)
    )
    return levels, best - random


def test_open_levels_are_admissible_and_have_a_number():
    env = LevelburstEnv("dark-room", **SMALL, margin=0.6)
    played, numbers, rejected = [], [], 0
    for i in range(30):
        shown, info = env.reset(seed=i)
        played.append(env.level)
        numbers.append(info["level"])
        rejected += info["level"] != int(np.random.default_rng(i).integers(2**32))
    assert rejected
    keys = jnp.stack([jax.random.key(number) for number in numbers])
    levels, lead = jax.jit(leads, compiler_options=QUICK)(env.core, keys)
    assert same(levels, jax.tree.map(lambda *x: jnp.stack(x), *played))
    assert (lead >= 0.6).all()
    again = LevelburstEnv("dark-room", **SMALL, level=info["level"])
    assert same(again.reset()[0], shown)
    with pytest.raises(ValueError, match="DarkRoom has no admissible level among 1000 drawn"):
        LevelburstEnv("dark-room", **SMALL, margin=2.0).reset()


class Blind(DarkRoom):
    """A family whose states cannot be enumerated, without pictures."""

    draw = Env.draw
    num_states = 0


def test_a_family_without_states_and_pictures():
    env = LevelburstEnv(Blind(**SMALL, margin=2.0))
    first = int(np.random.default_rng(3).integers(2**32))
    assert env.reset(seed=3)[1] == {"level": first}  # any level
    assert env.metadata["render_modes"] == []
    with pytest.raises(ValueError, match="render_mode 'human': Blind has none"):
        LevelburstEnv(Blind(), render_mode="human")


def test_levels_of_a_set():
    core = envs.make("dark-room", **SMALL)
    levels = draw_levels(core, jax.random.key(0), 3)
    env = gymnasium.make("levelburst/DarkRoom-v0", level=levels, **SMALL)
    seen = []
    for _ in range(20):
        _, info = env.reset(seed=None if seen else 0)
        seen.append(info["level"])
        assert same(env.unwrapped.level, levels.level(info["level"]))
    assert set(seen) == {0, 1, 2}


def test_levels_by_text_by_themselves_and_for_one_reset():
    env = LevelburstEnv("dark-room", level=ROOM, size=3, render_mode="ansi")
    assert env.reset()[0] == 0
    assert env.reset()[1] == {}
    assert env.render() == ROOM.replace("S", "@")
    other = LevelburstEnv("dark-room", level=jax.tree.map(np.asarray, env.level), size=3)
    assert equal(play(env, [1, 1, 2, 2]), play(other, [1, 1, 2, 2]))
    assert env.reset(options={"level": ROOM[::-1]})[0] == 8
    assert env.reset(options={})[0] == 0
    assert env.reset(options={"level": 5})[1] == {"level": 5}


def test_nothing_compiles_anew_for_other_levels_and_numbers():
    env = LevelburstEnv("dark-room", **SMALL)
    play(env, [0, 1])
    programs = (ours._candidate, ours._begin, ours._advance)
    before = [program._cache_size() for program in programs]
    for seed in range(5):
        play(env, [0, 1], seed=seed)
    play(LevelburstEnv("dark-room", **{**SMALL, "density": 0.1}), [2])
    assert [program._cache_size() for program in programs] == before
    play(LevelburstEnv("dark-room", **{**SMALL, "size": 5}), [2])
    assert [program._cache_size() for program in programs] != before


def test_pixels_are_what_the_agent_may_see():
    env = LevelburstEnv("dark-room", level=7, observations="pixels")
    shown, _ = env.reset()
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    picture = env.core.bare.view(env.level, env.episode.state)
    assert same(shown, np.asarray(pixels(picture)))
    shown[:] = 0  # the caller's own
    assert env.reset()[0].any()


def test_render_modes(capsys):
    core = envs.make("key-door")
    worlds = {m: LevelburstEnv(core, level=3, render_mode=m) for m in (None, "rgb_array", "human")}
    for world in worlds.values():
        world.reset(seed=0)
        world.step(1)
    level = core.level(jax.random.key(3))
    state = worlds["human"].episode.state
    drawn = worlds["rgb_array"].render()
    assert same(drawn, image(np.asarray(core.draw(level, state))))
    assert drawn.dtype == np.uint8 and drawn.ndim == 3
    first, second = (core.text(level, s) for s in (core.reset(jax.random.key(0), level), state))
    assert first != second
    assert capsys.readouterr().out == f"{first}\n\n{second}\n\n"
    assert worlds["human"].render() is None
    assert capsys.readouterr().out == f"{second}\n\n"
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert worlds[None].render() is None
