"""Contract 2: what a cell holds, it shows; and every arm reads the same transitions."""

import functools

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from icl.arms import WHOLE, Arm, named
from icl.contexts import arrange, whole_share
from icl.train import Numbers, Run

LEVELS, SLOTS, HORIZON = 12, 3, 6
ARMS = [
    Arm(),
    Arm(burstiness=0.0),
    Arm(chunk=3, shuffled=True),
    Arm(chunk=2, burstiness=0.0, shuffled=True),
    Arm(chunk=2, burstiness=0.0),
    Arm(chunk=1, shuffled=True),
    Arm(chunk=1, burstiness=0.0, shuffled=True),
    Arm(chunk=1, burstiness=0.5, sharing=2),
    Arm(alone=True),
]


@jax.jit
def read(key, arm, groups):
    context = arrange(key, arm, groups)
    return context, context.tokens, whole_share(context, arm, HORIZON)


@st.composite
def cases(draw):
    """(arm, seed, valid lengths int[n, E])."""
    seed = draw(st.integers(0, 2**20))
    lengths = np.random.default_rng(seed).integers(1, HORIZON + 1, (LEVELS, SLOTS))
    return draw(st.sampled_from(ARMS)), seed, lengths


def shown(tokens, row: int, count: int) -> list[tuple]:
    """The transitions (s, a, r, end, s') that the first ``count`` tokens of a row show, by reading
    each token's outcome into the observation of the one before it; knows nothing of cells."""
    return [
        (
            tokens.observation[row, p].tolist(),
            int(tokens.action[row, p + 1]),
            float(tokens.reward[row, p + 1]),
            bool(tokens.terminated[row, p + 1]),
            tokens.successor[row, p + 1].tolist(),
        )
        for p in range(count - 1)
    ]


def held(groups, sources) -> list[tuple]:
    """The transitions of the pool with these flat indices."""
    fields = (groups.observation, groups.action, groups.reward, groups.terminated, groups.successor)
    flat = [np.asarray(x).reshape(-1, *x.shape[3:]) for x in fields]
    return [tuple(x[s].tolist() for x in flat) for s in sources]


def lost(context, tokens, groups) -> list[int]:
    """Sources of the steps, the rows' last ones apart, whose transition the tokens do not show."""
    missing = []
    for row, count in enumerate(context.slot[:, -1]):
        sources = context.source[row, : count - 1]
        pairs = zip(sources, shown(tokens, row, count), held(groups, sources), strict=True)
        missing += [int(source) for source, seen, true in pairs if seen != true]
    return missing


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_tokens_show_every_transition_but_the_last_of_a_row(traceable, case):
    arm, seed, lengths = case
    groups = traceable(lengths, HORIZON)
    context, tokens, _ = jax.device_get(read(jax.random.key(seed), arm, groups))
    assert lost(context, tokens, groups) == []
    for row in range(len(context.slot)):
        assert tokens.action[row, 0] == -1 and tokens.reward[row, 0] == 0
        assert not tokens.terminated[row, 0] and (tokens.successor[row, 0] == -1).all()


@pytest.mark.parametrize("field", ["successor", "reward", "action", "terminated"])
def test_a_token_that_forgets_at_a_cut_is_found(traceable, field):
    groups = traceable(np.full((LEVELS, SLOTS), HORIZON - 1), HORIZON)
    arm = Arm(chunk=1, burstiness=0.0, shuffled=True)
    context, tokens, _ = jax.device_get(read(jax.random.key(0), arm, groups))
    mark = tokens.cut | tokens.start
    value = getattr(tokens, field)
    blind = np.where(mark.reshape(mark.shape + (1,) * (value.ndim - 2)), 0, value)
    forgetful = tokens.replace(**{field: blind.astype(value.dtype)})
    assert lost(context, tokens, groups) == []
    assert len(lost(context, forgetful, groups)) > 0


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_marks_stand_where_cells_and_episodes_begin(traceable, case):
    arm, seed, lengths = case
    groups = traceable(lengths, HORIZON)
    context, tokens, _ = jax.device_get(read(jax.random.key(seed), arm, groups))
    chunk = int(arm.chunk) or HORIZON
    for row, count in enumerate(context.slot[:, -1]):
        for p in range(count):
            source = context.source[row, p]
            follows = p > 0 and context.source[row, p - 1] == source - 1
            first = source % HORIZON == 0
            assert tokens.start[row, p] == first
            assert tokens.cut[row, p] == (not first and not follows)
            if source % chunk:  # inside a cell nothing is cut
                assert follows


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_whole_share_counts_cells_that_hold_a_trajectory(traceable, case):
    arm, seed, lengths = case
    share = float(read(jax.random.key(seed), arm, traceable(lengths, HORIZON))[2])
    chunk = HORIZON if arm.alone or arm.chunk == WHOLE else arm.chunk
    cells = sum(-(-length // chunk) for length in lengths.ravel().tolist())
    whole = sum(length <= chunk for length in lengths.ravel().tolist())
    assert share == pytest.approx(whole / cells)


@functools.partial(jax.jit, static_argnums=0)
def pooled(program, key, run):
    return program.contexts(key, run)


@pytest.fixture(scope="module")
def generated(world, start):
    """name -> Context[U, B, P] (NumPy) of training: one key, every arm."""
    program, _ = start()
    names = ("bursty", "nonbursty", "bursty-chunks", "isolated-chunks", "shuffled", "single")
    arms = {name: named(name, chunk=5) for name in names}
    key = jax.random.key(3)
    made = {
        name: pooled(program, key, Run(arm, Numbers(), world.sticky)) for name, arm in arms.items()
    }
    assert pooled._cache_size() == 2  # of which one for the arm that is alone
    return jax.device_get(made)


def transitions(context) -> np.ndarray:
    """The valid steps of a batch of contexts as sorted rows of numbers."""
    s = context.steps
    fields = [s.observation, s.action[..., None], s.reward[..., None], s.terminated[..., None]]
    rows = np.concatenate([x[context.valid] for x in [*fields, s.successor]], axis=-1)
    return rows[np.lexsort(rows.T)]


def test_every_arm_trains_on_the_same_transitions(generated):
    reference = transitions(generated["bursty"])
    assert len(reference) > 400
    for context in generated.values():
        np.testing.assert_array_equal(transitions(context), reference)
    orders = {name: c.source.tobytes() for name, c in generated.items()}
    assert len(set(orders.values())) == len(orders)


def test_transitions_are_compared_by_content(generated):
    context = generated["bursty"]
    steps = context.steps.replace(reward=context.steps.reward + (context.source == 0))
    assert (transitions(context.replace(steps=steps)) != transitions(context)).any()


def test_an_update_reads_every_family_and_each_context_one_family(world, generated):
    context = generated["isolated-chunks"]  # [2 updates, 2 families x 8 levels, P]
    assert context.valid.shape == (2, 16, 3 * world.horizon)
    blank = context.steps.observation[..., 1] == world.face.symbols - 1
    assert (blank | ~context.valid).all()  # both families have one field; the other is padding
    # Sources index a family's own pool of 2 * 8 levels, which spans both updates.
    levels = context.source // (3 * world.horizon)
    home = np.concatenate([np.arange(16).reshape(2, 8)] * 2, axis=1)
    assert (levels == home[..., None])[context.query].all()
    assert levels.max() < 16
    assert (levels != home[..., None])[context.valid & ~context.query].all()
