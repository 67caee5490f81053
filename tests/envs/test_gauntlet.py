"""gauntlet: by hand, its levels against the documentation, its values against closed forms."""

import functools
import itertools
import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs.core import advance, begin
from envs.families.gauntlet import Level, State
from envs.oracle import doomed, optimal_return, random_return, solve
from tests.envs import reference
from tests.envs.chances import DRAWS, draw, even
from tests.envs.dynamics import abstract
from tests.envs.worlds import QUICK, each, raw_levels, same

BEGIN = jax.jit(begin, compiler_options=QUICK)
ADVANCE = jax.jit(advance, compiler_options=QUICK)
PRINT = jax.jit(lambda env, levels: jax.vmap(env.fingerprint)(levels))

SPELLED = """
@..G
b.c.
a.c.
"""


def spelled(**fields):
    """Three moments of two tokens, and the level above."""
    env = envs.make("gauntlet", moments=3, spelling=2, **fields)
    return env, env.parse(SPELLED)


# By hand. -------------------------------------------------------------------------------------
def test_a_level_is_its_text():
    _, level = spelled()
    assert level.decisive.tolist() == [True, False, True]
    assert level.right.tolist() == [[1, 0], [0, 0], [2, 2]]


@pytest.mark.parametrize(
    ("actions", "lost", "reward"),
    [
        ([1, 0, 2, 1, 2, 2], [0, 0, 0, 0, 0, 0], 1),
        ([1, 1, 0, 0, 2, 2], [0, 1, 1, 1, 1, 1], 0),  # its second token is wrong
        ([0, 0, 0, 0, 2, 2], [0, 1, 1, 1, 1, 1], 0),  # its first: seen when the move is whole
        ([1, 0, 2, 1, 1, 2], [0, 0, 0, 0, 0, 1], 0),
        ([0, 1, 2, 1, 2, 2], [0, 1, 1, 1, 1, 1], 0),  # the right ones, the wrong way round
    ],
)
def test_a_gauntlet_is_run_by_hand(actions, lost, reward):
    env, level = spelled()
    for waits in (0, 1, 2):  # before the third token
        play = [*actions[:2], *[3] * waits, *actions[2:], 0]
        episode, seen = BEGIN(env, jax.random.key(0), level), []
        assert episode.timestep.observation.tolist() == [0, 3, 5]
        for action in play:
            episode = ADVANCE(env, jax.random.key(1), level, episode, jnp.int32(action))
            step = episode.timestep
            seen.append((step.observation.tolist(), float(step.reward), bool(step.terminated)))
        # Of the way: after one token, two (the next place), and so on; the end stays at the last.
        way = [[0, 4], [1, 3], [1, 4], [2, 3], [2, 4], [2, 3]]
        shown = [[*at, 5 + gone] for at, gone in zip(way, lost, strict=True)]
        expected = [(shown[i], 0, False) for i in (0, *[1] * (waits + 1), 2, 3, 4)]
        assert seen == [*expected, (shown[5], reward, True), (shown[5], 0, True)]


def test_waiting_in_the_middle_of_a_move_keeps_it():
    env, level = spelled()
    for state in (State(*map(jnp.int32, at)) for at in [(0, 1, 0, 0), (2, 1, 1, 1)]):
        outcome = env.step(jax.random.key(0), level, state, jnp.int32(3))
        assert same(outcome.state, state)
        assert not outcome.terminated and outcome.reward == 0


def test_pictures_tell_people_what_agents_are_not_shown():
    env, level = spelled()

    def both(*at: int) -> list[str]:
        state = State(*map(jnp.int32, at))
        seen = envs.tiles.text(np.asarray(env.view(level, state)))
        return [env.text(level, state), seen]

    assert both(0, 0, 1, 0) == ["@..G\nb.c.\na.c.", "@..G\n....\n...."]
    assert both(0, 1, 1, 0) == ["S..G\n@.c.\na.c.", "...G\n@...\n...."]
    assert both(2, 1, 0, 0) == ["S..G\nb.@.\na.A.", "...G\n..@.\n...."]
    assert both(2, 1, 0, 1) == ["S..#\nb.@.\na.A.", "...#\n..@.\n...."]


def test_a_moment_is_spelled_whole_or_not_at_all():
    env, _ = spelled()
    with pytest.raises(ValueError, match="needs 2 of the letters abc below it"):
        env.parse("@..G\nb.c.\n..c.")


# Its levels. ----------------------------------------------------------------------------------
def evenly(moments: int, count: int) -> set[int]:
    return {math.floor((j + 0.5) * moments / count) for j in range(count)}


def chance(places: tuple[int, ...], moments: int, regularity: float) -> float:
    """The probability that just these places are decisive."""
    count, total = len(places), 0.0
    spaced = sorted(evenly(moments, count) & {*places})
    for kept in range(len(spaced) + 1):
        ways = math.comb(len(spaced), kept) / math.comb(moments - kept, count - kept)
        total += ways * regularity**kept * (1 - regularity) ** (count - kept)
    return total


@pytest.mark.parametrize("regularity", [0.0, 0.5, 1.0])
def test_how_regular_decisive_moments_are(regularity):
    """3 of 7: all places at random, about half of them, and the even ones alone."""
    decisive = draw("gauntlet", moments=7, density=0.4, regularity=regularity)["decisive"]
    seen = Counter(tuple(np.flatnonzero(row).tolist()) for row in decisive)
    expected = {
        places: DRAWS * odds
        for places in itertools.combinations(range(7), 3)
        if (odds := chance(places, 7, regularity)) > 0
    }
    assert sum(expected.values()) == pytest.approx(DRAWS) and min(expected.values()) > 5
    assert set(seen) == set(expected)
    if regularity == 1:
        assert set(seen) == {(1, 3, 5)}
    else:
        assert stats.chisquare([seen[x] for x in expected], [*expected.values()]).pvalue > 1e-4


@pytest.mark.parametrize("moments", [1, 5, 8])
def test_how_dense_decisive_moments_are(moments):
    shares = np.array([0.0, 0.1, 0.3, 0.45, 0.6, 0.8, 1.0], np.float32)
    make = functools.partial(envs.make, "gauntlet", moments=moments)
    drawn = jax.jit(jax.vmap(lambda env: env.level(jax.random.key(3))))  # no size depends on it
    for regularity in (0.0, 1.0):
        numbers = make(regularity=regularity)
        many = jax.tree.map(lambda x: jnp.full(len(shares), x, jnp.float32), numbers)
        decisive = np.asarray(drawn(many.replace(density=jnp.asarray(shares))).decisive)
        for row, density in zip(decisive, shares.tolist(), strict=True):
            count = min(max(round(density * moments), 1), moments)
            assert row.sum() == count
            assert regularity == 0 or set(np.flatnonzero(row)) == evenly(moments, count)


def test_right_tokens_are_uniform():
    drawn = draw("gauntlet", moments=4, spelling=2, density=0.5, regularity=1.0)
    decisive, right = drawn["decisive"], drawn["right"]
    assert (decisive == [False, True, False, True]).all() and (right[~decisive] == 0).all()
    even(right[:, [1, 3]].reshape(DRAWS, 4) @ 3 ** np.arange(4), range(81))


# One problem, one print. ----------------------------------------------------------------------
def canonical(level) -> tuple:
    """The smallest list of the decisive moves over all namings of three tokens."""
    return min(
        tuple(
            tuple(names[token] for token in move) if matters else ()
            for matters, move in zip(level.decisive.tolist(), level.right.tolist(), strict=True)
        )
        for names in itertools.permutations(range(3))
    )


def test_equal_prints_mean_equal_problems():
    env = envs.make("gauntlet", moments=5, spelling=2, density=0.4, regularity=0.0)
    levels = raw_levels(env, 0, 4000)
    found = [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]
    both = set(zip(found, map(canonical, each(levels)), strict=True))
    assert len(both) == len({x for x, _ in both}) == len({y for _, y in both})
    assert len(both) == 10 * 14  # places, and the ways to name four tokens with three names


def test_what_no_move_asks_for_is_no_content():
    env, level = spelled()
    other = level.replace(right=level.right.at[1].set(jnp.array([2, 1], jnp.int32)))
    named = level.replace(right=jnp.array([[2, 1], [1, 1], [0, 0]], jnp.int32))
    moved = Level(decisive=jnp.roll(level.decisive, 1), right=jnp.roll(level.right, 1, 0))
    changed = level.replace(right=level.right.at[0, 1].set(1))
    levels = jax.tree.map(lambda *x: jnp.stack(x), level, other, named, moved, changed)
    prints = [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]
    assert len(set(prints[:3])) == 1 and len(set(prints)) == 3


# Its values. ----------------------------------------------------------------------------------
SIZES = [
    {},
    {"moments": 8, "regularity": 1.0},
    {"moments": 4, "spelling": 3, "density": 0.5},
    {"moments": 2, "spelling": 4, "dials": 2, "density": 1.0, "horizon": 8},
    {"moments": 5, "spelling": 2, "dials": 5, "density": 0.2, "horizon": 12},
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_returns_are_those_of_the_closed_form(sizes):
    """The best always wins. Random play wins if enough of its actions are tokens, and the ones
    that matter are right: two things that have nothing to do with each other."""
    env = envs.make("gauntlet", **sizes)

    def both(level):
        table = env.tabulate(level)
        return random_return(table, env.horizon), optimal_return(table, env.horizon)

    random, best = jax.jit(jax.vmap(both))(raw_levels(env, 1, 16))
    tokens = env.moments * env.spelling
    count = round(env.density * env.moments)
    enough = stats.binom(env.horizon, env.dials / env.num_actions).sf(tokens - 1)
    assert np.allclose(best, 1)
    assert np.allclose(random, enough * env.dials ** (-env.spelling * count), rtol=1e-5)


@functools.partial(jax.jit, compiler_options=QUICK)
def look(env, levels):
    """Tables of levels, and which states are doomed."""
    tables = jax.vmap(env.tabulate)(levels)
    return tables, jax.vmap(lambda table: doomed(solve(table)))(tables)


def code(env, state: tuple[int, ...]) -> int:
    """The number of a state, by the mixed radix of its fields."""
    sizes = (env.moments, env.spelling, 2, 2)
    return int(np.ravel_multi_index(state, sizes))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_all_is_lost_from_the_first_wrong_token_of_a_decisive_move(sizes):
    env = envs.make("gauntlet", **sizes)
    levels = raw_levels(env, 2, 8)
    for level, out in zip(each(levels), np.asarray(look(env, levels)[1]), strict=True):
        world = abstract.gauntlet(env.dials, level)
        # Every way to spell the walk, with what it has got wrong so far.
        wrong = {world.start: {False}}
        for state in reference.reachable(world):
            place, letter = state[:2]
            for token in range(env.dials):
                ((_, after, _, over),) = world.outcomes(state, token)
                slip = bool(level.decisive[place]) and token != level.right[place, letter]
                if not over:
                    wrong.setdefault(after, set()).update(slip or gone for gone in wrong[state])
        for state, gone in wrong.items():
            assert gone == {bool(out[code(env, state)])}
        assert {gone for (gone,) in wrong.values()} == {False, True}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_steps_are_those_of_the_documentation(sizes):
    env = envs.make("gauntlet", **sizes)
    levels = raw_levels(env, 2, 8)
    tables = jax.device_get(look(env, levels)[0])
    for level, table in zip(each(levels), each(tables), strict=True):
        world = abstract.gauntlet(env.dials, level)
        assert table.start == code(env, world.start)
        for state in reference.reachable(world):
            for action in range(env.num_actions):
                ((_, *expected),) = world.outcomes(state, action)
                cell = (code(env, state), action, 0)
                assert table.target[cell] == code(env, expected[0])
                assert [table.reward[cell], table.terminated[cell]] == expected[1:]


def test_states_where_play_never_leads_do_no_harm():
    env, level = spelled()
    indices = jnp.arange(env.num_states, dtype=jnp.int32)
    states = jax.vmap(functools.partial(env.decode, level))(indices)
    assert (jax.vmap(functools.partial(env.encode, level))(states) == indices).all()
    fields = [np.asarray(field) for field in jax.tree.leaves(states)]
    assert all(field.dtype == np.int32 for field in fields)
    assert list(zip(*fields, strict=True)) == list(np.ndindex(3, 2, 2, 2))
    table, _ = look(env, jax.tree.map(lambda x: x[None], level))
    assert table.target.min() >= 0 and table.target.max() < env.num_states
    # A move that is wrong from the start stays wrong, and what is lost stays lost.
    place, letter, sound, lost = fields
    assert (np.asarray(table.reward)[0, (lost == 1) | (sound == 0)] == 0).all()
    assert (np.asarray(table.reward)[0, place < 2] == 0).all()
    assert (
        np.asarray(table.terminated)[0, :, :3, 0] == ((place == 2) & (letter == 1))[:, None]
    ).all()
