"""Every family under its Gymnasium id, through Gymnasium's own checker with no warning."""

import warnings

import gymnasium
import jax
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import registry
from envs.families.dark_room import DarkRoom
from envs.gymnasium import LevelburstEnv, env_id


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Programs that run a few times: they had better compile fast."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize("name", envs.names())
def test_the_checker_is_content(name, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make(env_id(name))
        check_env(made.unwrapped)
    assert capsys.readouterr().out  # the human mode has printed
    assert isinstance(made.unwrapped.core, registry.lookup(name))
    assert made.spec.max_episode_steps is None  # the core truncates


def test_the_checker_is_content_with_pixels(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make("levelburst/DarkRoom-v0", observations="pixels", stickiness=0.1)
        check_env(made.unwrapped)


def test_the_checker_finds_a_planted_fault(monkeypatch):
    step = LevelburstEnv.step
    monkeypatch.setattr(LevelburstEnv, "step", lambda self, a: (*step(self, a)[:4], None))
    with pytest.raises(AssertionError, match="info"):
        check_env(LevelburstEnv("dark-room"), skip_render_check=True)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("dark-room", "levelburst/DarkRoom-v0"),
        ("random-mdp", "levelburst/RandomMdp-v0"),
        ("maze", "levelburst/Maze-v0"),
        ("room_2d x", "levelburst/Room2dX-v0"),
    ],
)
def test_ids_are_names_in_camel_case(name, identifier):
    assert env_id(name) == identifier


def test_a_family_registered_later_has_its_id(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(gymnasium.envs.registration, "registry", {})
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    for _ in range(2):
        registry.register("late-room", DarkRoom)
    assert list(gymnasium.registry) == ["levelburst/LateRoom-v0"]
    made = gymnasium.make("levelburst/LateRoom-v0", level=1, horizon=4)
    assert made.unwrapped.core == DarkRoom(horizon=4)
