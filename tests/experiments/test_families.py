"""Suites and names, held together with what is registered; and no level on two sides."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import envs
from envs.pixels import Pixels
from envs.unforgiving import Unforgiving
from experiments import creation
from experiments import suite as suite_lib
from experiments.config import check, with_suites
from experiments.errors import ConfigError
from experiments.families import SUITES, built_in, check_families, expand
from experiments.presets import preset


def test_suites_cover_all_families_and_train_on_none_that_any_holds_out():
    everything = SUITES["suite.all"]
    assert sorted(everything.train + everything.test) == sorted(envs.names()) == list(built_in())
    held_out = {name for split in SUITES.values() for name in split.test}
    for split in SUITES.values():
        assert split.train and split.test
        assert not held_out & set(split.train)
        assert len(set(split.train)) == len(split.train)


def test_a_suite_stands_for_one_side():
    side = expand(("suite.objects", "torus"), "train")
    assert side == ("heist", "key-door", "memory", "torus")
    assert expand(("suite.objects",), "test") == ("boulders",)
    with pytest.raises(ConfigError, match=r"unknown suite 'suite.object'; did you mean"):
        expand(("suite.object",), "train")


def test_a_config_of_suites_is_checked_like_any_other():
    named = dataclasses.replace(
        preset("quick"),
        families=("suite.hazard",),
        test_families=("suite.hazard",),
    )
    config = with_suites(named)
    assert config.families == ("lava-crossing", "memory")
    assert config.test_families == ("boulders", "platformer")
    check(config)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mace", "unknown family 'mace'; did you mean 'maze'?"),
        ("nowhere:Corridor", "no module 'nowhere' on the Python path"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        check_families((name,))


def small(**fields):
    few = {"families": ("dark-room",), "test_families": (), "train_levels": 64, "levels": 16}
    return dataclasses.replace(preset("smoke"), **(few | fields))


def test_a_planted_duplicate_is_refused_with_both_levels_named():
    config = small()
    sets = suite_lib.draw(config, suite_lib.build(config), 0)
    (train,), ((seen, unseen),) = sets.train, sets.test
    suite_lib.refuse_overlap((train,), ((seen, unseen),), sets.names)
    planted = unseen.replace(
        fingerprints=unseen.fingerprints.at[5].set(train.fingerprints[37]),
        ids=unseen.ids.at[5].set(train.ids[37]),
    )
    message = r"dark-room: training level 37 and unseen-level level 5 are the same"
    with pytest.raises(ConfigError, match=message):
        suite_lib.refuse_overlap((train,), ((seen, planted),), sets.names)
    other = planted.replace(env=envs.make("teleporters"))  # another family's print means nothing
    suite_lib.refuse_overlap((train,), ((seen, other),), sets.names)


def test_observations_and_mistakes_are_those_of_the_config():
    config = small(observations="pixels", lethality=0.5, recoverability=0.25)
    built = suite_lib.build(config)
    env = built.train["dark-room"]
    assert isinstance(env, Pixels) and built.interface.pixels
    inside = env
    while not isinstance(inside, Unforgiving):
        inside = inside.env
    assert (inside.lethality, inside.recoverability) == (0.5, 0.25)
    level = env.level(jax.random.key(0))
    shown = env.observe(level, env.reset(jax.random.key(0), level))
    assert shown.dtype == jnp.uint8 and shown.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lethality", 1.2, "lethality 1.2: use a share from 0 to 1"),
        ("recoverability", -1.0, "recoverability -1.0: use a share from 0 to 1"),
        ("observations", "pixel", "observations 'pixel': use symbols or pixels"),
    ],
)
def test_settings_out_of_range_are_refused(field, value, message):
    with pytest.raises(ConfigError, match=message):
        check(small(**{field: value}))


BROKEN = """
from envs.core import Env
from envs.families.dark_room import DarkRoom


class Blind(DarkRoom):
    observe = Env.observe


class Python(DarkRoom):
    def observe(self, level, state):
        return state.cell[None] if state.cell > 0 else level.start[None]
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Blind", r"family 'broken_world:Blind': observe missing: define `def observe"),
        ("Python", r"family 'broken_world:Python': observe \(broken_world.py, line 12.*jnp\.where"),
        ("Nobody", r"family 'broken_world:Nobody' cannot be loaded"),
    ],
)
def test_a_broken_family_of_ones_own_is_named_before_anything_runs(
    name, message, tmp_path, monkeypatch
):
    (tmp_path / "broken_world.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        creation._blame(("dark-room", f"broken_world:{name}"), last="types")
