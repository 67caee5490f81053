"""Contract 1 and 3: an arm is a permutation of one pool, and contexts are packed."""

import itertools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from icl.arms import Arm, check
from icl.contexts import arrange

SHAPES = [(8, 3, 6), (7, 4, 4), (24, 4, 6), (1, 3, 4)]  # n, E, T; each is compiled once
ARRANGE = jax.jit(arrange)


def legal(shape: tuple[int, int, int]) -> list[Arm]:
    """Every arm on a grid of settings that ``check`` lets through for a pool of that shape."""
    levels, slots, horizon = shape
    chunks = [0, *(c for c in range(1, horizon + 1) if horizon % c == 0)]
    either = [False, True]
    grid = itertools.product(
        chunks, [0.0, 0.25, 0.5, 0.8, 1.0], range(2, slots + 1), either, either
    )
    arms = []
    for numbers in grid:
        arm = Arm(*numbers)
        try:
            check(arm, levels, slots, horizon)
        except ValueError:
            continue
        arms.append(arm)
    return arms


LEGAL = {shape: legal(shape) for shape in SHAPES}


@st.composite
def cases(draw):
    """(shape, arm, seed of the key, valid lengths int[n, E])."""
    shape = draw(st.sampled_from(SHAPES))
    arm = draw(st.sampled_from(LEGAL[shape]))
    seeds = draw(st.tuples(st.integers(0, 2**20), st.integers(0, 2**20)))
    lengths = np.random.default_rng(seeds[1]).integers(1, shape[2] + 1, shape[:2])
    return shape, arm, seeds[0], lengths


def laid_out(traceable, shape, arm, seed, lengths):
    """The context (NumPy), and the sources int[n, E, T] of all places before packing: those of
    the same key where every step is valid, which the deal must not depend on."""
    key = jax.random.key(seed)
    context = ARRANGE(key, arm, traceable(lengths, shape[2]))
    full = ARRANGE(key, arm, traceable(np.full(shape[:2], shape[2]), shape[2]))
    return jax.device_get(context), np.asarray(full.source).reshape(shape)


def cells_of(places: np.ndarray, chunk: int) -> np.ndarray:
    """int[n, E, T / c]: the first source of the cell at each place; every cell must be intact."""
    cells = places.reshape(*places.shape[:2], -1, chunk)
    assert (cells == cells[..., :1] + np.arange(chunk)).all(), "a cell is torn"
    assert (cells[..., 0] % chunk == 0).all(), "a cell is off the grid"
    return cells[..., 0]


def faults(source: np.ndarray, valid: np.ndarray, pool: np.ndarray) -> list[int]:
    """Steps of the pool that valid positions do not hold exactly once, and steps not in it."""
    held = np.bincount(source[valid], minlength=pool.size)
    return np.flatnonzero(held != pool.ravel()).tolist()


@given(case=cases())
@settings(max_examples=150, deadline=None)
def test_an_arm_is_a_bijection_on_valid_steps(traceable, case):
    shape, _, _, lengths = case
    context, _ = laid_out(traceable, *case)
    pool = np.arange(shape[2]) < lengths[..., None]
    assert faults(context.source, context.valid, pool) == []
    # What stands at a position is what its source says.
    where = context.source[context.valid]
    assert (context.steps.observation[context.valid] == np.stack([where, -where], -1)).all()
    assert (context.steps.action[context.valid] == where + 10_000).all()
    assert (context.steps.successor[context.valid][:, 1] == where + 30_000).all()


def test_the_bijection_checker_finds_a_duplicate_and_a_loss(traceable):
    shape, lengths = (8, 3, 6), np.full((8, 3), 4)
    context, _ = laid_out(traceable, shape, Arm(3, 0.0, 2, True), 0, lengths)
    pool = np.arange(6) < lengths[..., None]
    assert faults(context.source, context.valid, pool) == []
    planted = context.source.copy()
    lost, planted[2, 1] = planted[2, 1], planted[2, 0]
    assert faults(planted, context.valid, pool) == sorted([int(planted[2, 0]), int(lost)])


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_contexts_are_packed(traceable, case):
    (_, slots, horizon), _, _, lengths = case
    context, places = laid_out(traceable, *case)
    taken = (np.arange(horizon) < lengths[..., None]).ravel()[places]
    counts = taken.reshape(*places.shape[:2], horizon).sum(-1)
    edges = np.concatenate([np.zeros((len(counts), 1), int), counts.cumsum(1)], axis=1)
    np.testing.assert_array_equal(context.slot, edges)
    assert (context.valid == (np.arange(slots * horizon) < edges[:, -1:])).all()
    for row, (place, kept) in enumerate(zip(places.reshape(len(places), -1), taken, strict=True)):
        packed = place[kept.ravel()]
        np.testing.assert_array_equal(context.source[row, : packed.size], packed)
        assert (context.source[row, packed.size :] == -1).all()
    assert not context.query[~context.valid].any()


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_the_query_stays_whole_in_a_slot_that_all_arms_share(traceable, case):
    shape, _, seed, lengths = case
    context, places = laid_out(traceable, *case)
    bursty, _ = laid_out(traceable, shape, Arm(), seed, lengths)
    for row in range(shape[0]):
        found = np.flatnonzero(context.query[row])
        draw = context.source[row, found[0]] // shape[2] % shape[1]
        assert found[0] == context.slot[row, draw]
        own = (row * shape[1] + draw) * shape[2] + np.arange(lengths[row, draw])
        np.testing.assert_array_equal(context.source[row, found], own)
        np.testing.assert_array_equal(found, found[0] + np.arange(own.size))
        np.testing.assert_array_equal(bursty.source[row][bursty.query[row]], own)
        assert places[row, draw, 0] == own[0]


def test_query_slots_are_uniform(traceable):
    groups = traceable(np.full((8, 3), 6), 6)
    keys = jax.random.split(jax.random.key(5), 150)

    def slots(query_slot=None):
        """int[1200]: the slots that the queries stand in."""
        rows = [ARRANGE(key, Arm(), groups, query_slot).query for key in keys]
        return np.concatenate([np.argmax(row, axis=1) // 6 for row in rows])

    counts = np.bincount(slots())
    assert counts.size == 3
    assert stats.chisquare(counts).pvalue > 1e-3
    # A query that always stands last, as evaluation asks for, is no uniform draw.
    assert stats.chisquare(np.bincount(slots(jnp.full(8, 2)))).pvalue < 1e-3


@given(case=cases())
@settings(max_examples=150, deadline=None)
def test_cells_are_kept_whole_and_foreign_ones_come_from_different_levels(traceable, case):
    (levels, slots, horizon), arm, _, _ = case
    context, places = laid_out(traceable, *case)
    chunk = int(arm.chunk) or horizon
    deal = check(arm, levels, slots, horizon)
    cells = cells_of(places, chunk)
    apart = bool(arm.apart)
    sharing = min(int(arm.sharing), slots - apart)
    alike = (sharing - 1 + apart) * horizon // chunk  # cells of one level, the query's or not
    bursty, multiplicity = 0, 1
    for row in range(levels):
        others = np.delete(cells[row], query_slot(context, row, horizon), axis=0)
        counts = np.bincount(others.ravel() // (slots * horizon), minlength=levels)
        own, foreign = counts[row], np.delete(counts, row)
        if apart:
            # Cells of a whole slot of one level show the ring, where cells are not spread anyhow.
            assert own == 0
            shared = foreign.max(initial=0) >= alike > 1
            bursty += shared
            if shared and chunk > 1:
                foreign[foreign.argmax()] -= alike
                assert foreign.max(initial=0) <= 1
            continue
        assert own in (0, alike)
        bursty += own > 0
        ring = deal.bursty if own else levels - deal.bursty
        if foreign.any():
            # Spread evenly over the ring: as many levels as there can be, each as often.
            assert foreign.max() == -(-foreign.sum() // (ring - 1))
            assert (foreign > 0).sum() == min(foreign.sum(), ring - 1)
        multiplicity = max(multiplicity, foreign.max(initial=0))
    assert deal.bursty == pytest.approx(deal.realised * levels)
    if apart:
        assert chunk == 1 or bursty == deal.bursty
        return
    assert bursty == deal.bursty
    assert multiplicity == deal.multiplicity
    assert chunk == 1 or multiplicity == 1
    if not arm.burstiness:  # isolated means isolated, whatever the trajectories' lengths
        level = context.source // (slots * horizon)
        foreign = context.valid & ~context.query
        assert (level != np.arange(levels)[:, None])[foreign].all()


def query_slot(context, row: int, horizon: int) -> int:
    """The slot of a row that holds its query."""
    return int(np.searchsorted(context.slot[row], np.argmax(context.query[row]), "right")) - 1


def test_a_level_twice_or_the_own_level_is_found(traceable):
    """The count of levels that the test above reads is that of the sources: whole trajectories
    of the own level (bursty) are no isolated ones."""
    shape, lengths = (8, 3, 6), np.full((8, 3), 6)
    _, bursty = laid_out(traceable, shape, Arm(chunk=3, shuffled=True), 0, lengths)
    _, foreign = laid_out(traceable, shape, Arm(3, 0.0, 2, True), 0, lengths)
    home = np.arange(8)[:, None]
    assert (bursty.reshape(8, -1) // 18 == home).all()
    assert (foreign.reshape(8, -1) // 18 == home).sum() == 8 * 6  # the queries
    with pytest.raises(AssertionError, match="torn"):
        cells_of(np.roll(bursty, 1, axis=2), 3)
    with pytest.raises(AssertionError, match="grid"):
        cells_of(bursty + 1, 3)


def test_order_is_drawn_only_where_the_arm_is_shuffled(traceable):
    shape, lengths = (24, 4, 6), np.full((24, 4), 6)
    _, plain = laid_out(traceable, shape, Arm(chunk=2), 3, lengths)
    _, mixed = laid_out(traceable, shape, Arm(chunk=2, shuffled=True), 3, lengths)
    np.testing.assert_array_equal(plain, np.arange(24 * 24).reshape(plain.shape))
    moved = plain != mixed
    assert not moved.reshape(24, 4, 6).all(-1).all(-1).any()  # the queries stay
    assert moved.any(axis=(1, 2)).all()


def test_alone_each_trajectory_is_a_context(traceable):
    lengths = np.random.default_rng(0).integers(1, 7, (8, 3))
    context = jax.device_get(ARRANGE(jax.random.key(0), Arm(alone=True), traceable(lengths, 6)))
    assert context.valid.shape == (24, 6)
    assert faults(context.source, context.valid, np.arange(6) < lengths[..., None]) == []
    np.testing.assert_array_equal(context.slot, np.stack([0 * lengths, lengths], -1).reshape(-1, 2))
    np.testing.assert_array_equal(context.query, context.valid)


def test_one_program_serves_all_arms(traceable):
    compiled = jax.jit(lambda key, arm, groups: arrange(key, arm, groups))
    groups = traceable(np.full((8, 3), 6), 6)
    deals = [compiled(jax.random.key(0), arm, groups).source for arm in LEGAL[8, 3, 6]]
    assert compiled._cache_size() == 1
    assert len({np.asarray(source).tobytes() for source in deals}) > 20  # and they differ
