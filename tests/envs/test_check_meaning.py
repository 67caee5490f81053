"""Every check of levels and pictures finds the twin that breaks it, and names method and remedy."""

import jax
import jax.numpy as jnp
import pytest

from envs.core import static
from tests.envs.corridor import Level, fails, fault, paying, twin


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            paying(lambda won: jnp.float32(0.0)),
            ("level makes none of 1,024 levels", "within horizon 16", "raise horizon"),
        ),
        (
            twin(length=static(2), __annotations__={"length": int}),
            ("level makes none of 1,024 levels", "margin 0.3", "lower margin"),
        ),
    ],
)
def test_levels_that_cannot_be_solved_are_found(family, parts):
    fault("solvable", family, parts)


@pytest.mark.parametrize(
    "family",
    [
        twin(level=lambda self, key: Level(jnp.int32(0), jnp.int32(9))),
        twin(fingerprint=lambda self, level: jnp.array([1, 2], jnp.uint32)),
    ],
)
def test_too_few_levels_are_found(family):
    message = fails("many", family)
    assert message.startswith("level makes 1 different levels") and "from the key" in message
    assert "fingerprint" in message


def copies(function):
    """Corridor with other symmetries: a level -> a pytree of stacked arrays."""
    return twin(symmetries=lambda self, level: function(level))


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            copies(lambda x: jax.tree.map(lambda y: jnp.stack([y, (y + 1) % 24]), x)),
            ("symmetries gives a copy (number 1)", "another fingerprint", "group"),
        ),
        (
            copies(lambda x: Level(jnp.stack([x.start, 23 - x.start]), jnp.stack([x.goal] * 2))),
            ("symmetries gives a copy (number 1)", "another problem", "in the same way"),
        ),
    ],
)
def test_copies_of_another_problem_are_found(family, parts):
    fault("symmetries", family, parts)


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            twin(draw=lambda self, level, state: jnp.zeros((2, 3))),
            ("draw returns float32[2, 3]", "expected int32[H, W]"),
        ),
        (
            twin(draw=lambda self, level, state: jnp.zeros(3, jnp.int32)),
            ("draw returns int32[3]", "expected int32[H, W]"),
        ),
        (
            twin(draw=lambda self, level, state: jnp.zeros((1, 65), jnp.int32)),
            ("draw returns int32[1, 65]", "1 to 64"),
        ),
        (
            twin(draw=lambda self, level, state: jnp.full((1, 9), 99, jnp.int32)),
            ("draw shows tile 99", "envs/tiles.py"),
        ),
        (
            twin(view=lambda self, level, state: jnp.full((1, 9), -1, jnp.int32)),
            ("view shows tile -1", "envs/tiles.py"),
        ),
    ],
)
def test_pictures_of_nothing_known_are_found(family, parts):
    fault("picture", family, parts)


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (twin(text=lambda self, level, state: 3), ("text returns 3", "lines")),
        (twin(text=lambda self, level, state: " "), ("text returns ' '", "lines")),
        (
            twin(text=lambda self, level, state: "@ and G"),
            ("from_tiles", "fails: ValueError", "is no tile"),
        ),
        (
            twin(parse=lambda self, text: Level(jnp.int32(1), jnp.int32(1))),
            ("parse reads another level than text wrote", "the level's start"),
        ),
        (twin(from_tiles=lambda self, picture: None), ("from_tiles returns nothing", "Level")),
    ],
)
def test_text_that_is_not_the_level_is_found(family, parts):
    fault("text", family, parts)
