"""Contracts 8 and 9: admitted levels are solvable, distinct, deterministic and never shared."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from agents.policy import Oracle, Random
from envs.core import Env
from envs.levels import LevelSet, blank_levels, bucket, draw_levels, overlap, under
from envs.oracle import solve
from envs.rollout import rollout
from envs.wrappers import Sticky, wrap
from tests.envs.reference import FAMILIES, dynamics, finite_return, plain, steps_to_goal
from tests.envs.worlds import LEVELS, MEMBERS, STICKINESS, each, same

NAMES = tuple(FAMILIES)
COUNT = 160  # levels of a family; ten thousand are checked by what is slow
TINY = {"size": 3, "density": 0.0}  # a room of 72 levels, 12 up to symmetry


def check_admission(name: str, chosen: LevelSet, indices: np.ndarray) -> list[int]:
    """Checks levels of a set against the references; returns their least numbers of steps."""
    env, lengths = chosen.env, []
    told = np.asarray(chosen.references)[indices]
    for level, (random, best) in zip(
        each(MEMBERS(chosen, jnp.asarray(indices))), told, strict=True
    ):
        lengths.append(steps_to_goal(plain(name, level.inner)))
        world, states = dynamics(plain(name, level.inner), STICKINESS, idle=1)
        uniform = np.full((len(states), env.num_actions), 1 / env.num_actions)
        assert best == pytest.approx(finite_return(world, env.horizon), abs=2e-5)
        assert random == pytest.approx(finite_return(world, env.horizon, uniform), abs=2e-5)
        assert best - random >= env.margin
    assert max(lengths) <= env.horizon
    return lengths


@pytest.mark.parametrize("name", NAMES)
def test_admitted_levels_are_solvable_and_clear_the_margin(name, draws):
    lengths = check_admission(name, draws(name, COUNT), np.arange(0, COUNT, 2))
    # Any pull of a bandit may pay; a gauntlet is a walk of one length.
    assert len(set(lengths)) >= 5 or name in ("bandit", "gauntlet")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_levels_are_solvable_and_clear_the_margin(name, draws):
    for first in range(0, 10_000, 1000):
        check_admission(name, draws(name, 10_000), np.arange(first, first + 1000))


def test_random_graph_is_hard_for_random_play_and_long_for_the_expert():
    chosen = draw_levels(envs.make("random-graph", horizon=16), jax.random.key(1), 300)
    random = np.asarray(chosen.references)[:, 0]
    assert random.mean() <= 0.1
    assert (random <= 0.1).mean() >= 0.9
    levels = each(MEMBERS(chosen, jnp.arange(300)))
    assert np.median([steps_to_goal(plain("random-graph", level)) for level in levels]) >= 8


def test_the_margin_decides():
    key, env = jax.random.key(2), envs.make("dark-room")
    for margin in (0.0, 0.9):
        chosen = draw_levels(env.replace(margin=margin), key, 256)
        lead = np.diff(np.asarray(chosen.references), axis=1)
        assert (lead >= margin).all()
        assert (lead < 0.9).any() == (margin < 0.9)
        # Without a margin, too, every level can be solved.
        levels = each(MEMBERS(chosen, jnp.arange(256)))
        assert max(steps_to_goal(plain("dark-room", level)) for level in levels) <= env.horizon


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_distinct_and_of_their_key(name, draws):
    chosen = draws(name, COUNT)
    prints = np.asarray(chosen.fingerprints)
    assert prints.dtype == np.uint32
    assert len(np.unique(prints, axis=0)) == COUNT
    ids = np.asarray(chosen.ids)
    assert (np.diff(ids.astype(np.int64)) > 0).all()
    # Two meanings of one level are one level: the print is that of the family inside.
    inner = MEMBERS(chosen, jnp.arange(COUNT)).inner
    bare = chosen.env.env.env.env
    assert (np.asarray(jax.jit(jax.vmap(bare.fingerprint))(inner)) == prints).all()
    again = draw_levels(chosen.env, jax.random.key(7), 20)
    assert (np.asarray(again.ids) == ids[:20]).all()
    assert (np.asarray(again.fingerprints) == prints[:20]).all()
    assert (np.asarray(again.references) == np.asarray(chosen.references)[:20]).all()
    other = draw_levels(chosen.env, jax.random.key(8), 20)
    assert (np.asarray(other.fingerprints) != prints[:20]).any()


def test_a_level_is_drawn_from_its_id(draws):
    chosen = draws("key-door", COUNT)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(7), i))(chosen.ids)
    levels = MEMBERS(chosen, jnp.arange(COUNT))
    assert same(levels, LEVELS(chosen.env, keys))
    assert same(MEMBERS(chosen, jnp.array([4])), jax.tree.map(lambda x: x[4:5], levels))


@pytest.mark.parametrize("name", NAMES)
def test_train_and_test_are_disjoint_for_any_keys(name, draws):
    env = draws(name, COUNT).env
    keys = [jax.random.key(7), jax.random.key(8)]
    train = [draw_levels(env, key, 60, split="train") for key in keys]
    test = [draw_levels(env, key, 10, split="test") for key in keys]
    for one in train:
        assert (np.asarray(bucket(one.fingerprints)) > 0).all()
        for other in test:
            assert overlap(one, other) == []
    for one in test:
        assert (np.asarray(bucket(one.fingerprints)) == 0).all()
    shares = np.bincount(np.asarray(bucket(draws(name, COUNT).fingerprints)), minlength=8)
    assert stats.chisquare(shares).pvalue > 1e-4


def test_disjointness_is_of_content_and_not_of_keys():
    env = envs.make("dark-room", size=4, density=0.1)
    train = [draw_levels(env, jax.random.key(seed), 400, split="train") for seed in (0, 1)]
    test = draw_levels(env, jax.random.key(1), 50, split="test")
    assert len(overlap(*train)) > 20  # other keys find the same levels again
    assert overlap(train[0], test) == [] and overlap(train[1], test) == []


def test_overlap_finds_what_is_planted():
    chosen = draw_levels(envs.make("dark-room"), jax.random.key(0), 200)

    def part(*indices: int) -> LevelSet:
        return chosen.replace(fingerprints=chosen.fingerprints[jnp.asarray(indices)])

    assert overlap(part(0, 1, 2), part(3, 4)) == []
    assert overlap(part(0, 1, 2), part(5, 2, 0)) == [(2, 1), (0, 2)]
    half = part(0, 1)
    changed = half.replace(fingerprints=half.fingerprints.at[:, 0].add(jnp.uint32(1)))
    assert overlap(half, changed) == []  # both words count


@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_too_few_levels_is_an_error_that_says_what_to_do(split):
    env = envs.make("dark-room", margin=0.01, **TINY)
    with pytest.raises(ValueError, match=rf"DarkRoom has too few {split} levels: 100 asked for"):
        draw_levels(env, jax.random.key(0), 100, split=split)


def test_every_level_of_a_tiny_family_is_found():
    env = envs.make("dark-room", margin=0.01, **TINY)
    # Pairs of different cells of the 3 x 3 board up to its symmetries: (72 + 4 * 6) / 8 = 12.
    chosen = draw_levels(env, jax.random.key(0), 12)
    assert len({tuple(row) for row in np.asarray(chosen.fingerprints).tolist()}) == 12
    with pytest.raises(ValueError, match="13 asked for, 12 found"):
        draw_levels(env, jax.random.key(0), 13)


def test_levels_that_cannot_be_enumerated_cannot_be_admitted():
    with pytest.raises(ValueError, match="Env cannot be enumerated"):
        draw_levels(Env(), jax.random.key(0), 1)


@pytest.fixture(scope="module")
def drawn():
    """drawn(zipf) -> int32[20,000, 10]: all of ten levels, in the order in which they come."""
    ten = draw_levels(envs.make("dark-room"), jax.random.key(0), 10)
    keys = jax.random.split(jax.random.key(3), 20_000)
    sample = jax.jit(lambda chosen: jax.vmap(lambda key: chosen.sample(key, 10))(keys))
    return lambda zipf: np.asarray(sample(ten.replace(zipf=jnp.float32(zipf))))


@pytest.mark.parametrize("zipf", [0.0, 1.0, 2.5])
def test_samples_follow_zipf(drawn, zipf):
    weight = np.arange(1, 11) ** -zipf
    weight /= weight.sum()
    first, second = drawn(zipf)[:, 0], drawn(zipf)[:, 1]
    assert stats.chisquare(np.bincount(first, minlength=10), 20_000 * weight).pvalue > 1e-4
    # The second draw follows the weights of what the first one left.
    odds = weight / (1 - weight)
    expected = 20_000 * weight * (odds.sum() - odds)
    assert stats.chisquare(np.bincount(second, minlength=10), expected).pvalue > 1e-4


def test_samples_are_without_replacement(drawn):
    assert drawn(1.0).dtype == np.int32
    assert (np.sort(drawn(1.0), axis=1) == np.arange(10)).all()
    # Sets keep the exponent they are drawn with, and a shorter sample is the beginning of a longer.
    chosen = draw_levels(envs.make("dark-room"), jax.random.key(0), 10, zipf=1.0)
    key = jax.random.split(jax.random.key(3), 20_000)[0]
    assert chosen.sample(key, 3).tolist() == drawn(1.0)[0, :3].tolist()


@pytest.mark.parametrize("name", ("key-door", "bandit"))
def test_a_set_remembers_what_the_oracle_plays(name, draws):
    """Bit for bit what solving the levels again gives, and rollouts are the same with it."""
    chosen, indices = draws(name, COUNT), jnp.asarray([3, 0, COUNT - 1, 3])
    levels = chosen.levels(indices)
    solved = jax.vmap(lambda level: solve(chosen.env.tabulate(level)).optimal)(levels)
    np.testing.assert_array_equal(chosen.optimal(indices), solved)
    play = functools.partial(rollout, chosen.env, Oracle(), jax.random.key(5), levels, rollouts=2)
    same(play(memory=chosen.optimal(indices)), play())


def test_a_set_with_another_expert_remembers_nothing():
    chosen = draw_levels(envs.make("dark-room"), jax.random.key(0), 8, expert=Random())
    assert chosen.solved is None and chosen.optimal(jnp.arange(3)) is None


@pytest.mark.parametrize("expert", (None, Random()), ids=("oracle", "expert"))
def test_a_blank_set_has_the_form_of_one_that_is_drawn(expert):
    """To the compiler they are the same."""
    env, key = envs.make("dark-room"), jax.random.key(0)
    drawn, blank = (
        draw(env, key, 8, zipf=0.5, expert=expert) for draw in (draw_levels, blank_levels)
    )
    assert jax.tree.structure(drawn) == jax.tree.structure(blank)
    assert jax.tree.map(jax.typeof, drawn) == jax.tree.map(jax.typeof, blank)


def test_levels_under_another_stickiness_are_the_same_levels_with_its_references():
    calm, sticky = (
        wrap(Sticky, envs.make("dark-room", horizon=12), stickiness=value) for value in (0.0, 0.4)
    )
    drawn = draw_levels(calm, jax.random.key(0), 24)
    moved = under(drawn, sticky, 16)
    np.testing.assert_array_equal(moved.fingerprints, drawn.fingerprints[:16])
    np.testing.assert_array_equal(moved.ids, drawn.ids[:16])
    assert float(moved.env.stickiness) == pytest.approx(0.4)
    # A hand that sticks costs the optimum something at most levels, and never gains it anything.
    lost = np.asarray(drawn.references)[:16, 1] - np.asarray(moved.references)[:, 1]
    assert lost.min() > -1e-6 and lost.mean() > 1e-3
    same = under(drawn, calm, 24)
    np.testing.assert_array_equal(same.references, drawn.references)
    np.testing.assert_array_equal(same.solved, drawn.solved)
