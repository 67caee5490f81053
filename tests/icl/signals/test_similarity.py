"""The compiled ratio is difflib's, in its order of arguments."""

import difflib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals.similarity import matched, ratio
from tests.icl.signals.worlds import quick


def pairs(seed: int, count: int, longest: tuple[int, int], symbols: int):
    """Random sequences and their lengths; behind the end stands what must not be read."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(0, symbols, (count, size)).astype(np.int32) for size in longest]
    sizes = [rng.integers(0, size + 1, count).astype(np.int32) for size in longest]
    return words[0], sizes[0], words[1], sizes[1]


def difflibs(first, many, second, more) -> list[difflib.SequenceMatcher]:
    return [
        difflib.SequenceMatcher(None, a[:m].tolist(), b[:n].tolist(), autojunk=False)
        for a, m, b, n in zip(first, many, second, more)
    ]


def same(found, drawn):
    expected = difflibs(*drawn)
    ratios = np.array([x.ratio() for x in expected])
    np.testing.assert_array_equal(found[1], ratios.astype(np.float32))
    np.testing.assert_array_equal(
        found[0], [sum(block.size for block in x.get_matching_blocks()) for x in expected]
    )
    return ratios


def both(*drawn):
    return jax.vmap(lambda *x: (matched(*x), ratio(*x)))(*map(jnp.asarray, drawn))


def test_ten_thousand_pairs_are_as_alike_as_difflib_has_them():
    drawn = pairs(0, 10_000, (8, 8), 4)
    ratios = same(quick(both)(*drawn), drawn)
    turned = [x.ratio() for x in difflibs(*drawn[2:], *drawn[:2])]
    assert (ratios != turned).mean() > 0.03  # which comes first is tested by it


@pytest.mark.parametrize("longest", [(16, 5), (5, 16)])
def test_lengths_may_differ(longest):
    drawn = pairs(1, 1000, longest, 3)
    same(quick(both)(*drawn), drawn)


def test_the_order_of_arguments_is_fixed():
    first, second = jnp.array([0, 2, 0, 1]), jnp.array([1, 0, 2])
    three, four = jnp.int32(3), jnp.int32(4)
    assert float(ratio(first, four, second, three)) == pytest.approx(4 / 7)
    one, other = jnp.array([0, 1, 1, 0]), jnp.array([1, 0, 1, 0])
    there, back = (float(ratio(x, four, y, four)) for x, y in ((one, other), (other, one)))
    assert (there, back) == (
        difflib.SequenceMatcher(None, [0, 1, 1, 0], [1, 0, 1, 0]).ratio(),
        difflib.SequenceMatcher(None, [1, 0, 1, 0], [0, 1, 1, 0]).ratio(),
    )


def test_nothing_is_like_nothing_and_like_nothing_else():
    word, none, two = jnp.array([1, 2]), jnp.int32(0), jnp.int32(2)
    assert float(ratio(word, none, word, none)) == 1.0
    assert float(ratio(word, two, word, none)) == float(ratio(word, none, word, two)) == 0.0
    assert float(ratio(word, two, word, two)) == 1.0
