"""Twenty ways in which a level that is trained on gets among those tested as unseen: all are found.

Each is planted in the sets that a comparison draws, and evaluation refuses to begin. The twins lack
one guard each: the comparison of content, or one content for all the ways in which a level lies.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.core import Env
from envs.levels import LevelSet, draw_levels, under
from envs.wrappers import Scramble, Sticky, pad, wrap
from experiments import suite as suite_lib
from experiments.errors import ConfigError
from tests.experiments.test_families import small

Sides = tuple[LevelSet, LevelSet]
"""Levels that are trained on, and those tested as unseen."""
KEY = jax.random.key(11)
CONFIG = small(train_levels=48, levels=12)


def put(train: LevelSet, unseen: LevelSet, source: int, place: int) -> Sides:
    """A training level takes the place of one that is tested."""
    fields = ("fingerprints", "ids", "references", "solved")
    own = {x: getattr(unseen, x).at[place].set(getattr(train, x)[source]) for x in fields}
    return train, unseen.replace(**own)


def printed(train: LevelSet, unseen: LevelSet, print_: jax.Array) -> Sides:
    """What is tested at place 5 has that fingerprint."""
    return train, unseen.replace(fingerprints=unseen.fingerprints.at[5].set(print_))


def turned(turn: Callable[[np.ndarray], np.ndarray]) -> Callable[[LevelSet, LevelSet], Sides]:
    """A room that is trained on is tested as it looks from elsewhere; drawn from its picture."""

    def plant(train: LevelSet, unseen: LevelSet) -> Sides:
        room = train.env.bare
        level = jax.tree.map(lambda x: x[7], train.levels(jnp.arange(8)).inner)
        state = room.reset(KEY, level)
        rows = np.array([list(row) for row in room.text(level, state).splitlines()])
        picture = "\n".join("".join(row) for row in turn(rows))
        assert picture != room.text(level, state)
        return printed(train, unseen, room.fingerprint(room.parse(picture)))

    return plant


def drawn(split: str, count: int = CONFIG.levels) -> Callable[[LevelSet, LevelSet], Sides]:
    """What is tested is drawn with the training key, from a split that is not the test's."""

    def plant(train: LevelSet, unseen: LevelSet) -> Sides:
        return train, draw_levels(train.env, train.key, count, split=split)

    return plant


def dressed(dress: Callable[[Env], Env]) -> Callable[[LevelSet, LevelSet], Sides]:
    """A level that is trained on is tested within other wrappers."""

    def plant(train: LevelSet, unseen: LevelSet) -> Sides:
        env = dress(train.env.bare)
        level = jax.tree.map(lambda x: x[3], train.levels(jnp.arange(4)).inner)
        while hasattr(env, "env"):
            env = env.env
        moved = printed(train, unseen, env.fingerprint(level))[1]
        return train, moved.replace(env=dress(train.env.bare))

    return plant


LEAKS: dict[str, Callable[[LevelSet, LevelSet], Sides]] = {
    "first for first": lambda train, unseen: put(train, unseen, 0, 0),
    "last for last": lambda train, unseen: put(train, unseen, CONFIG.train_levels - 1, 11),
    "one in the middle": lambda train, unseen: put(train, unseen, 20, 6),
    "the training set is tested": lambda train, unseen: (train, train),
    "the test set is trained on": lambda train, unseen: (unseen, unseen),
    "no split for what is tested": drawn("all", count=40),
    "no split for what is trained on": lambda train, unseen: (
        draw_levels(train.env, KEY, 40, split="all"),
        draw_levels(train.env, KEY, 8, split="test"),
    ),
    "the training split is tested": drawn("train"),
    "the test split is trained on": lambda train, unseen: (
        draw_levels(train.env, KEY, 12, split="test"),
        draw_levels(train.env, KEY, 12, split="test"),
    ),
    "the training split is tested, under a stickier hand": lambda train, unseen: (
        train,
        under(train, wrap(Sticky, train.env.env, stickiness=0.4), 12),
    ),
    "turned by a quarter": turned(lambda rows: np.rot90(rows, 1)),
    "turned by a half": turned(lambda rows: np.rot90(rows, 2)),
    "turned by three quarters": turned(lambda rows: np.rot90(rows, 3)),
    "upside down": turned(np.flipud),
    "left for right": turned(np.fliplr),
    "along the diagonal": turned(np.transpose),
    "along the other diagonal": turned(lambda rows: np.rot90(rows, 2).T),
    "behind other words": dressed(
        lambda room: wrap(Scramble, pad(room, room.num_fields, 80, room.num_actions))
    ),
    "without any wrapper": dressed(lambda room: room),
    "with more time": dressed(lambda room: room.replace(horizon=room.horizon + 8)),
}


@pytest.fixture(scope="module")
def clean() -> tuple[suite_lib.Sets, Sides]:
    suite = suite_lib.build(CONFIG)
    sets = suite_lib.draw(CONFIG, suite, 0)
    return sets, (sets.train[0], sets.test[0][1])


@pytest.fixture
def evaluated(clean, monkeypatch):
    """evaluated(leak) draws a comparison's levels, with the leak planted where they are drawn."""
    _, sides = clean

    def evaluate(leak: Callable[[LevelSet, LevelSet], Sides]) -> suite_lib.Sets:
        train, unseen = leak(*sides)
        given = {"train": train, "test": unseen}
        with monkeypatch.context() as patch:
            patch.setattr(suite_lib, "draw_levels", lambda *_, split, **__: given[split])
            return suite_lib.draw(CONFIG, suite_lib.build(CONFIG), 0)

    return evaluate


def test_there_are_twenty():
    assert len(LEAKS) == 20


def test_what_does_not_leak_is_evaluated(evaluated):
    found = evaluated(lambda train, unseen: (train, unseen))
    assert found.names == (("dark-room", "seen-level"), ("dark-room", "unseen-level"))


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_refused(evaluated, name):
    with pytest.raises(ConfigError, match=r"dark-room: training level \d+ and unseen-level level"):
        evaluated(LEAKS[name])


@pytest.mark.parametrize("name", LEAKS)
def test_twin_that_does_not_compare_finds_none(evaluated, monkeypatch, name):
    monkeypatch.setattr(suite_lib, "overlap", lambda *_: [])
    evaluated(LEAKS[name])


@pytest.mark.parametrize("name", [x for x, leak in LEAKS.items() if "turned" in leak.__qualname__])
def test_twin_that_knows_one_way_to_look_lets_it_through(name, clean, monkeypatch):
    """Prints of one way to look only: of the same levels, drawn again."""
    _, (train, unseen) = clean
    room = type(train.env.bare)
    alone = lambda self, level: jax.tree.map(lambda x: x[None], level)  # noqa: E731
    monkeypatch.setattr(room, "symmetries", alone)
    levels = train.levels(jnp.arange(CONFIG.train_levels)).inner
    prints = jax.vmap(lambda level: Env.fingerprint(train.env.bare, level))(levels)
    sides = LEAKS[name](train.replace(fingerprints=prints), unseen)
    suite_lib.refuse_overlap((sides[0],), ((train, sides[1]),), clean[0].names)


def test_one_family_under_another_name_is_no_other_family(tmp_path, monkeypatch):
    (tmp_path / "cellar.py").write_text("from envs.families.dark_room import DarkRoom as Cellar\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = dataclasses.replace(CONFIG, test_families=("cellar:Cellar",))
    with pytest.raises(ConfigError, match="'cellar:Cellar' is the training family 'dark-room'"):
        suite_lib.build(config)
    assert envs.names()  # the registry is as it was
