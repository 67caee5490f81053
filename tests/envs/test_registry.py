"""Families by name: fields, mistakes, and families from elsewhere."""

import importlib
import sys

import pytest

import envs
from envs import registry
from envs.core import Env
from envs.families.dark_room import DarkRoom
from experiments.families import built_in

CORRIDOR = """
from envs.families.dark_room import DarkRoom

class Cellar(DarkRoom):
    lamps: int = 3

word = "no class"
class Other: pass
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module of another repository on the path."""
    (tmp_path / "cellars_elsewhere.py").write_text(CORRIDOR, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "cellars_elsewhere"
    sys.modules.pop("cellars_elsewhere", None)


def test_names_are_those_of_the_files():
    assert built_in() == envs.names()
    assert set(envs.names()) >= {
        "dark-room",
        "key-door",
        "lava-crossing",
        "random-graph",
        "teleporters",
    }


def test_names_are_in_order(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {"b": DarkRoom, "a": DarkRoom})
    assert envs.names() == ("a", "b")


@pytest.mark.parametrize("name", envs.names())
def test_a_name_makes_its_family(name):
    env = envs.make(name)
    assert type(env) is registry.lookup(name)
    assert (env.horizon, env.margin) == (16, 0.3)
    other = envs.make(name, horizon=20, margin=0.1)
    assert (other.horizon, other.margin) == (20, 0.1)


def test_fields_take_the_place_of_defaults():
    env = envs.make("dark-room", size=5, density=0.1)
    assert isinstance(env, DarkRoom)
    assert (env.size, env.density, env.num_symbols) == (5, 0.1, 25)
    with pytest.raises(AttributeError):
        env.size = 6  # frozen


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dark-rom", r"unknown family 'dark-rom'; did you mean 'dark-room'\?"),
        ("keydoor", r"unknown family 'keydoor'; did you mean 'key-door'\?"),
        ("zzz", r"unknown family 'zzz'; known: bandit, boulders, .*wind"),
        ("", r"unknown family ''; known: "),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one(name, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name)


def test_an_unknown_field_is_answered_with_the_fields():
    message = r"family 'dark-room' has no field 'sise'; it has horizon, margin, size, density"
    with pytest.raises(ValueError, match=message):
        envs.make("dark-room", sise=5)


def test_a_family_from_elsewhere(elsewhere):
    env = envs.make(f"{elsewhere}:Cellar", size=4, lamps=7)
    assert isinstance(env, DarkRoom)
    assert (type(env).__name__, env.size, env.lamps) == ("Cellar", 4, 7)
    assert f"{elsewhere}:Cellar" not in envs.names()
    with pytest.raises(ValueError, match=r"has no field 'lamp'; it has .*lamps"):
        envs.make(f"{elsewhere}:Cellar", lamp=1)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (":Celar", r"cannot be loaded: .*Celar.*; expected module:Class"),
        (".deeper:Cellar", r"cannot be loaded: .*; expected module:Class"),
        (":word", "is not a subclass of envs.core.Env"),
        (":Other", "is not a subclass of envs.core.Env"),
        (":", "expected module:Class"),
    ],
)
def test_a_family_that_cannot_be_loaded(elsewhere, tail, message):
    with pytest.raises(ValueError, match=message):
        envs.make(elsewhere + tail)


@pytest.mark.parametrize("name", ["no_such_module_anywhere:Env", ":Env", ".relative:Env"])
def test_a_module_that_is_not_there(name):
    with pytest.raises(ValueError, match="cannot be loaded"):
        envs.make(name)


def test_a_taken_name_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))

    class Other(Env):
        pass

    with pytest.raises(ValueError, match="'dark-room' is taken by DarkRoom; choose another"):
        envs.register("dark-room", Other)
    assert registry.lookup("dark-room") is DarkRoom
    envs.register("dark-room", DarkRoom)  # the same once more is no harm
    envs.register("other", Other)
    assert isinstance(envs.make("other"), Other)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dark-room", {"size": 1}),
        ("teleporters", {"size": 3, "pairs": 4}),
        ("lava-crossing", {"size": 2}),
        ("key-door", {"size": 3}),
        ("random-graph", {"nodes": 20, "distance": 18}),
    ],
)
def test_impossible_sizes_are_refused(name, fields):
    kind = registry.lookup(name).__name__
    with pytest.raises(ValueError, match=f"({name}|{kind}).*(use|raise)"):
        registry.make(name, **fields)
    assert registry.make(name)
