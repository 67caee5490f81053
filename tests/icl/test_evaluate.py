"""k-shot evaluation: its numbers against exact ones, and what it shows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from agents.retrieval import READERS
from envs.levels import overlap
from envs.oracle import solve
from icl.actor import ReaderActor
from icl.arms import Arm, named
from icl.conditions import ACTINGS
from icl.demonstrations import demonstrate, show
from icl.evaluate import EvaluateConfig, evaluate

DEMOS, EPISODES = 2, 8
KINDS = ("whole", "as-trained")
SHAPES = EvaluateConfig(levels=16, episodes=EPISODES, demos=DEMOS, block=8)
ISOLATED = named("isolated-chunks", chunk=5)


class Knowing(struct.PyTreeNode):
    """An actor that is told what to play in the level of each context, and reads nothing.

    Attributes:
        optimal: bool[C, V, A], the actions to choose from, by the observation's first symbol.
    """

    optimal: jax.Array

    def read(self, contexts, lengths):
        return None

    def grow(self, memory, steps):
        return memory

    def logits(self, memory, tokens, time):
        rows = jnp.arange(len(self.optimal))[:, None]
        return jnp.where(self.optimal[rows, tokens.observation[..., 0]], 0.0, -1e9), memory


@functools.partial(jax.jit, static_argnames=("count", "demos"))
def shown_of(key, arm, families, count=SHAPES.levels, demos=DEMOS):
    return show(key, arm, families, count=count, demos=demos)


@functools.partial(jax.jit, static_argnames="shapes")
def evaluated(actor, key, families, shown, shapes=SHAPES):
    return evaluate(actor, shapes, key, families, shown)


@pytest.fixture(scope="module")
def shown(world):
    return shown_of(jax.random.key(0), ISOLATED, world.calm)


@pytest.fixture(scope="module")
def table(world) -> jax.Array:
    """bool[C, V, A]: the optimal actions by symbol in the C contexts of one block that holds every
    level, in the order [set, kind, level] that evaluation plays them in."""

    def one(env, level):
        optimal = solve(env.tabulate(level)).optimal
        symbols = level.symbols[: len(optimal)]  # a state is its symbol in both families
        blank = jnp.zeros((world.face.symbols, world.face.actions), bool)
        return blank.at[symbols].set(optimal)

    @jax.jit
    def rows(families):
        pools = [pool for (pool,) in families for _ in KINDS]
        return [jax.vmap(lambda i, p=p: one(p.env, p.level(i)))(jnp.arange(16)) for p in pools]

    return jnp.concatenate(rows(world.calm))


ONE_BLOCK = EvaluateConfig(levels=16, episodes=64, demos=DEMOS, block=16)


def test_an_actor_that_knows_earns_the_optimum_at_every_k(world, shown, table):
    """Without stickiness optimal play wins for certain, whatever is shown: score 1."""
    results = evaluated(Knowing(table), jax.random.key(1), world.calm, shown, ONE_BLOCK)
    assert len(results) == 2
    for result in results:
        assert result.returns.shape == (len(KINDS), 16, DEMOS + 1, len(ACTINGS), 64)
        assert result.success.shape == result.returns.shape and result.success.dtype == bool
        optimum = np.asarray(result.references)[None, :, None, None, None, 1]
        np.testing.assert_allclose(result.returns, np.broadcast_to(optimum, result.returns.shape))
        assert result.success.all()
    # Told of other levels, it fails: the check sees whether rows and levels belong together.
    told = Knowing(jnp.roll(table, 1, axis=0))
    wrong = evaluated(told, jax.random.key(1), world.calm, shown, ONE_BLOCK)
    assert all(result.returns.mean() < 0.7 for result in wrong)


def test_an_actor_that_guesses_earns_what_random_play_is_worth(world, shown, table):
    """Score 0 at every k: each level's mean over its 384 sampled episodes against the exact value,
    in standard errors."""
    guess = Knowing(jnp.ones_like(table))
    results = evaluated(guess, jax.random.key(2), world.calm, shown, ONE_BLOCK)
    for result, (pool,) in zip(results, world.calm, strict=True):
        np.testing.assert_array_equal(result.references, pool.references)
        returns = np.asarray(result.returns)[:, :, :, ACTINGS.index("sampled")]
        random, optimum = np.asarray(result.references).T
        mean = returns.mean(axis=(0, 2, 3))
        error = np.sqrt(random * (1 - random) / (returns.size / 16))
        assert (np.abs(mean - random) < 4.5 * error).all()
        score = (mean - random).sum() / (optimum - random).sum()
        spread = np.sqrt((error**2).sum()) / (optimum - random).sum()
        assert abs(score) < 4 * spread < 0.05
        for k in range(DEMOS + 1):
            gap = (returns[:, :, k].mean(axis=(0, 2)) - random).sum() / (optimum - random).sum()
            assert abs(gap) < 4 * spread * np.sqrt(DEMOS + 1)
        np.testing.assert_array_equal(np.asarray(result.success), np.asarray(result.returns) > 0)


@pytest.fixture(scope="module")
def read(world, shown):
    """What the readers come to: name -> one Result (NumPy) a family."""

    def result(name):
        actor = ReaderActor(READERS[name], world.face.actions)
        return jax.device_get(evaluated(actor, jax.random.key(3), world.calm, shown))

    return {name: result(name) for name in READERS}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_repeats_one_whole_demonstration(read, name):
    """Without stickiness a demonstration shows every state that repeating it leads through."""
    for result in read[name]:
        random, optimum = result.references.mean(0)

        def score(returns, random=random, optimum=optimum):
            sampled = returns[..., ACTINGS.index("sampled"), :]
            return (sampled.mean() - random) / (optimum - random)

        whole, trained = result.returns
        if READERS[name].neighbours == 1:
            assert (whole[:, 1:] == 1).all()
        else:  # others may outvote what was seen here
            assert score(whole[:, 1:]) > 0.3
        assert abs(score(whole[:, 0])) < 0.2
        # Chunks of other levels, as its training shows them, help nobody.
        assert score(trained) < 0.3


def test_every_k_and_every_arm_is_the_same_program(world, shown, read):
    """k is a length and an arm is data: nothing compiles anew. Whole demonstrations, levels and
    dice are the same for every arm."""
    before = evaluated._cache_size(), shown_of._cache_size()
    actor = ReaderActor(READERS["hash-map"], world.face.actions)
    other = Arm(burstiness=0.5, chunk=2, shuffled=True, sharing=2)
    reshown = shown_of(jax.random.key(0), other, world.calm)
    again = evaluated(actor, jax.random.key(3), world.calm, reshown)
    blind = evaluated(
        actor, jax.random.key(3), world.calm, shown.replace(lengths=shown.lengths * 0)
    )
    assert (evaluated._cache_size(), shown_of._cache_size()) == before
    for one, two, none in zip(read["hash-map"], again, blind, strict=True):
        np.testing.assert_array_equal(one.returns[0], two.returns[0])
        assert (one.returns[1] != two.returns[1]).any()
        np.testing.assert_array_equal(one.returns[0, :, 0], none.returns[0, :, 0])
        assert none.returns[..., 0, :].mean() < 0.6


def test_demonstrations_of_isolated_arms_are_of_other_levels(world, shown):
    """By level index, which is sound because the sets' fingerprints are pairwise different."""
    size = (DEMOS + 1) * world.horizon  # of a level in the pool that ``show`` arranges
    home = np.arange(16)[:, None]
    place = np.arange(DEMOS * world.horizon)
    for index, (pool,) in enumerate(world.calm):
        assert len(overlap(pool, pool)) == 16
        whole, trained = np.asarray(shown.contexts.source[index]) // size
        seen_whole, seen_trained = place < np.asarray(shown.lengths[index, :, :, -1:])
        assert (whole == home)[seen_whole].all() and seen_whole.any()
        assert (trained != home)[seen_trained].all() and seen_trained.any()


def test_demonstrate_shows_the_first_slots_and_never_the_query(traceable):
    lengths = np.random.default_rng(1).integers(1, 7, (12, 4))
    groups = traceable(lengths, 6)
    for arm in (Arm(), named("isolated-chunks", chunk=3), Arm(chunk=1, shuffled=True)):
        context, counts = jax.jit(demonstrate, static_argnums=3)(jax.random.key(0), arm, groups, 3)
        assert context.valid.shape == (12, 18) and counts.shape == (12, 4)
        where = np.arange(18) < np.asarray(counts)[:, -1:]
        rollout = np.asarray(context.source) // 6 % 4
        assert (rollout < 3)[where].all()
        assert not np.asarray(context.query)[where].any()
        # All the steps of all the demonstrations, each once.
        steps = np.sort(np.asarray(context.source)[where])
        valid = np.asarray(groups.valid) & (np.arange(4) < 3)[:, None]
        np.testing.assert_array_equal(steps, np.flatnonzero(valid))
        if arm == Arm():
            np.testing.assert_array_equal(np.diff(counts, axis=1), lengths[:, :3])


def test_without_demonstrations_only_k_0_is_played(world):
    families = world.calm[:1]
    shown = shown_of(jax.random.key(0), Arm(), families, demos=0)
    assert shown.lengths.shape[-1] == 1 and not shown.lengths.any()
    actor = ReaderActor(READERS["hash-map"], world.face.actions)
    shapes = EvaluateConfig(levels=16, episodes=8, demos=0, block=16)
    (result,) = evaluated(actor, jax.random.key(1), families, shown, shapes)
    assert result.returns.shape == (2, 16, 1, 2, 8)
    assert result.returns.mean() < 0.6
