"""workshop: by hand, its levels against the documentation, what chance does to its calls."""

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
from envs.families import workshop
from envs.families.workshop import CALL, FOLD, THOUGHT, TOOL, State
from envs.oracle import optimal_return
from tests.envs import reference
from tests.envs.chances import DRAWS, draw, even, share
from tests.envs.dynamics import abstract
from tests.envs.worlds import QUICK, each, raw_levels

BEGIN = jax.jit(begin, compiler_options=QUICK)
ADVANCE = jax.jit(advance, compiler_options=QUICK)
PRINT = jax.jit(lambda env, levels: jax.vmap(env.fingerprint)(levels))

# Item a needs nothing, b and d need a, c is wanted and needs b and d; the recipe of d is secret.
MADE_OF = """
o......
o..a...
oG..b.d
o.ka...
@......
0......
"""
THINK, THINK_ON, CRAFT, QUERY, FOLDS = range(5)
A, B, C, D = range(5, 9)


def made(**fields):
    """Four items, and the level above."""
    env = envs.make("workshop", items=4, **fields)
    return env, env.parse(MADE_OF)


def play(actions, **fields) -> list[tuple]:
    """(items, load, open, told, reward, over) after every action."""
    env, level = made(horizon=24, **fields)
    episode, seen = BEGIN(env, jax.random.key(0), level), []
    for action in actions:
        episode = ADVANCE(env, jax.random.key(1), level, episode, jnp.int32(action))
        step = episode.timestep
        *items, goal, load, opened, told = step.observation.tolist()
        assert goal == 4 + 2
        over = bool(step.terminated)
        seen.append((items, load - 8, opened - 11, told - 15, float(step.reward), over))
    return seen


# By hand. -------------------------------------------------------------------------------------
def test_a_level_is_its_text():
    _, level = made()
    none = [False] * 4
    assert level.needs.tolist() == [none, [True, *none[1:]], [False, True, False, True],
                                    [True, *none[1:]]]  # fmt: skip
    assert (level.goal, level.secret) == (2, 3)


def test_the_wanted_item_is_made_by_hand():
    steps = play([CRAFT, A, QUERY, D, CRAFT, THINK, D, FOLDS, CRAFT, B, CRAFT, C])
    assert steps == [
        ([0, 0, 0, 0], 0, 2, 0, 0, False),
        ([1, 0, 0, 0], 1, 0, 0, 0, False),
        ([1, 0, 0, 0], 1, 3, 0, 0, False),
        ([3, 0, 0, 0], 1, 0, 4, 0, False),  # d is made of a, as is shown now
        ([3, 0, 0, 0], 1, 2, 4, 0, False),
        ([3, 0, 0, 0], 1, 2, 4, 0, False),  # a thought in the middle of a call
        ([3, 0, 0, 1], 2, 0, 4, 0, False),
        ([3, 0, 0, 1], 0, 0, 4, 0, False),
        ([3, 0, 0, 1], 0, 2, 4, 0, False),
        ([3, 1, 0, 1], 1, 0, 4, 0, False),
        ([3, 1, 0, 1], 1, 2, 4, 0, False),
        ([3, 1, 1, 1], 2, 0, 4, 1, True),
    ]


@pytest.mark.parametrize(
    ("actions", "last"),
    [
        ([A], ([0, 0, 0, 0], 0, 0, 0)),  # an item that no tool was named for
        ([CRAFT, B], ([0, 0, 0, 0], 0, 0, 0)),  # it lacks a
        ([CRAFT, A, CRAFT, A], ([1, 0, 0, 0], 1, 0, 0)),  # made already
        ([CRAFT, A, CRAFT, D], ([1, 0, 0, 0], 1, 0, 0)),  # its recipe is secret
        ([QUERY, A], ([0, 0, 0, 0], 0, 0, 0)),  # harmless
        ([CRAFT, QUERY, D], ([2, 0, 0, 0], 0, 0, 4)),  # a tool in place of another
        ([QUERY, CRAFT, A], ([1, 0, 0, 0], 1, 0, 0)),
        ([CRAFT, FOLDS, A], ([0, 0, 0, 0], 0, 0, 0)),  # folding drops an open call
        ([CRAFT, A, CRAFT, B, CRAFT], ([1, 1, 0, 0], 2, 1, 0)),  # the memory is full
        ([CRAFT, A, CRAFT, B, CRAFT, D], ([1, 1, 0, 0], 2, 1, 0)),  # not open yet
        ([CRAFT, A, CRAFT, B, QUERY, D], ([3, 1, 0, 0], 2, 0, 4)),  # queries need no memory
        ([CRAFT, A, CRAFT, B, QUERY, D, CRAFT, CRAFT, D], ([3, 1, 0, 1], 2, 0, 4)),
        ([CRAFT, A, CRAFT, B, QUERY, D, FOLDS, CRAFT, D], ([3, 1, 0, 1], 1, 0, 4)),
        ([CRAFT, A, CRAFT, B, CRAFT, CRAFT, CRAFT], ([1, 1, 0, 0], 2, 2, 0)),
    ],
)
def test_what_calls_do(actions, last):
    assert play(actions)[-1] == (*last, 0, False)


def test_what_tokens_are():
    env, level = made()
    kinds = [int(env.token(jnp.int32(action))) for action in range(env.num_actions)]
    assert kinds == [THOUGHT, THOUGHT, TOOL, TOOL, FOLD, *[CALL] * 4]
    begins = [bool(env.begins(level, State(0, 0, 0, opened))) for opened in range(4)]
    assert begins == [True, False, False, False]
    assert env.milestone(level, State(jnp.int32(0b1011), 1, 0, 0)) == 3


@pytest.mark.parametrize(
    ("state", "action", "fit"),
    [
        ((0, 0, 0, 2), A, True), ((0, 0, 0, 2), B, False), ((1, 0, 0, 2), A, False),
        ((1, 0, 0, 2), D, False), ((1, 1, 0, 2), D, True), ((0, 0, 0, 3), D, True),
        ((0, 0, 0, 3), B, True), ((0, 0, 0, 0), A, False), ((1, 0, 2, 1), B, False),
        ((0, 0, 0, 2), FOLDS, False), ((0, 0, 0, 3), THINK, False),
    ],
)  # fmt: skip
def test_which_calls_fit(state, action, fit):
    env, level = made()
    assert env.fits(level, State(*map(jnp.int32, state)), jnp.int32(action)) == fit


def test_people_see_what_agents_are_not_shown():
    env, level = made()

    def both(*at: int) -> list[list[str]]:
        state = State(*map(jnp.int32, at))
        seen = envs.tiles.text(np.asarray(env.view(level, state)))
        return [env.text(level, state).splitlines(), seen.splitlines()]

    assert both(0b0001, 0, 1, 2) == [
        ["*......", "o..a...", "oG..b.d", "o.ka...", "..@....", "1......"],
        ["*......", "o......", "oG.....", "o......", "..@....", "1......"],
    ]
    assert both(0b1001, 1, 0, 0)[1] == ["*......", "o......", "oG.....", "*.ka...", "@......",
                                        "0......"]  # fmt: skip


# Its levels. ----------------------------------------------------------------------------------
def test_what_items_are_made_of():
    """By the way that items are called: everything is as likely as everything else."""
    drawn = draw("workshop", items=4, pairs=0.3, secrecy=0.4)
    needs, goal, secret = drawn["needs"], drawn["goal"], drawn["secret"]
    even(goal, range(4))
    count = needs.sum(2)
    assert (np.sort(count, axis=1)[:, 0] == 0).all() and count.max() == 2
    # The two that come third and fourth have a pair each with probability 0.3.
    pairs = Counter((count == 2).sum(1).tolist())
    odds = stats.binom(2, 0.3).pmf(range(3)) * DRAWS
    assert stats.chisquare([pairs[i] for i in range(3)], odds).pvalue > 1e-4
    # No item is, by however many others, made of itself.
    reach = needs.astype(np.int64)
    for _ in range(2):
        reach = np.minimum(reach + reach @ needs, 1)
    assert not reach[:, range(4), range(4)].any()
    row = np.arange(DRAWS)
    needed = reach[row, goal].astype(bool)
    needed[row, goal] = True
    # The first one leads to all others, so two or more are needed.
    assert needed.sum(1).min() >= 2
    hidden = secret < 4
    share(hidden, 0.4)
    assert needed[row[hidden], secret[hidden]].all()
    for size in (2, 3, 4):
        chosen = hidden & (needed.sum(1) == size)
        rank = (np.cumsum(needed, axis=1) - 1)[row[chosen], secret[chosen]]
        even(rank, range(size))


def test_ingredients_are_uniform_over_those_before():
    """With names put back in order: of three items the third needs the first, the second or both;
    of which two are told apart by what needs what."""
    needs = draw("workshop", items=3, pairs=0.25)["needs"]
    forms = Counter()
    for level in needs.tolist():
        counts = sorted((sum(row), sum(column)) for row, column in zip(level, zip(*level)))
        forms[str(counts)] += 1
    chain, fork, both = ([(0, 1), (1, 0), (1, 1)], [(0, 2), (1, 0), (1, 0)],
                         [(0, 2), (1, 1), (2, 0)])  # fmt: skip
    odds = {str(chain): 0.375, str(fork): 0.375, str(both): 0.25}
    assert set(forms) == set(odds)
    expected = [DRAWS * odds[form] for form in forms]
    assert stats.chisquare([*forms.values()], expected).pvalue > 1e-4


# One problem, one print. ----------------------------------------------------------------------
def canonical(level) -> tuple:
    """The smallest level over all ways to call the items."""
    items = len(level.needs)
    found = []
    for names in itertools.permutations(range(items)):  # names[new] = old
        where = [*(names.index(old) for old in range(items)), items]
        recipe = level.needs[np.ix_(names, names)]
        found.append((where[int(level.goal)], where[int(level.secret)], recipe.tobytes()))
    return min(found)


@pytest.mark.parametrize("items", [4, 5])
def test_equal_prints_mean_equal_problems(items):
    env = envs.make("workshop", items=items)
    levels = raw_levels(env, 0, 1500)
    found = [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]
    both = set(zip(found, map(canonical, each(levels)), strict=True))
    assert len(both) == len({x for x, _ in both}) == len({y for _, y in both})
    assert 50 < len(both) < 1000


# Its steps, and chance. -----------------------------------------------------------------------
SIZES = [
    {},
    {"items": 3, "memory": 1, "thoughts": 1},
    {"items": 4, "memory": 3, "thoughts": 3, "pairs": 1.0, "secrecy": 1.0},
    {"items": 5, "flakiness": 0.25},
    {"items": 4, "memory": 1, "flakiness": 0.5, "secrecy": 1.0},
]
TABULATE = jax.jit(lambda env, levels: jax.vmap(env.tabulate)(levels), compiler_options=QUICK)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_steps_are_those_of_the_documentation(sizes):
    env = envs.make("workshop", **sizes)
    levels = raw_levels(env, 2, 3)
    tables = jax.device_get(TABULATE(env, levels))
    decode = jax.jit(jax.vmap(env.decode, (None, 0)), compiler_options=QUICK)
    numbers = jnp.arange(env.num_states, dtype=jnp.int32)
    for level, table in zip(each(levels), each(tables), strict=True):
        states = decode(level, numbers)
        again = jax.vmap(env.encode, (None, 0))(level, states)
        assert (again == numbers).all()
        rows = list(zip(*(np.asarray(x).tolist() for x in jax.tree.leaves(states)), strict=True))
        code = {row: number for number, row in enumerate(rows)}
        assert len(code) == env.num_states
        world = abstract.workshop(env.thoughts, env.memory, level, float(env.flakiness))
        assert table.start == code[world.start]
        for state in reference.reachable(world):
            for action in range(env.num_actions):
                expected = Counter()
                for chance, after, reward, over in world.outcomes(state, action):
                    expected[None if over else code[after], reward, bool(over)] += chance
                found = Counter()
                cell = code[state], action
                for target, chance, reward, over in zip(
                    table.target[cell], table.probability[cell], table.reward[cell],
                    table.terminated[cell], strict=True,
                ):  # fmt: skip
                    found[None if over else int(target), float(reward), bool(over)] += float(chance)
                found = Counter({key: chance for key, chance in found.items() if chance > 0})
                assert found == pytest.approx(dict(expected))


def test_calls_fail_as_often_as_asked():
    env, level = made(flakiness=0.3)
    keys = jax.random.split(jax.random.key(5), 20_000)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def tried(state, action):
        return jax.vmap(lambda key: env.step(key, level, state, action))(keys)

    for state, action, fails in (
        ((0, 0, 0, 2), A, True), ((0b1011, 1, 1, 2), C, True), ((0, 0, 0, 3), D, True),
        ((0, 0, 0, 3), B, False), ((0, 0, 2, 0), FOLDS, False), ((0, 0, 0, 0), CRAFT, False),
    ):  # fmt: skip
        found = tried(State(*map(jnp.int32, state)), jnp.int32(action))
        kinds = {*zip(*(np.asarray(x).tolist() for x in jax.tree.leaves(found)), strict=True)}
        assert len(kinds) == 1 + fails
        if fails:
            stays = (np.asarray(found.state.made) == state[0]) & (
                np.asarray(found.state.known) == state[1]
            )
            share(stays, 0.3)
            assert (np.asarray(found.state.open) == 0).all()
            assert (np.asarray(found.reward) == (~stays & (action == C))).all()


def test_the_best_takes_as_many_tokens_as_its_calls_and_folds():
    """Without chance, two tokens for every needed item and for a look-up, and one more for every
    two items after the first two, whether folded or looked for."""
    env = envs.make("workshop", horizon=32)
    levels = raw_levels(env, 3, 24)
    world = [abstract.workshop(2, 2, level) for level in each(levels)]
    needed = np.asarray(jax.vmap(env.needed)(levels.needs, levels.goal)).sum(1)
    calls = needed + (np.asarray(levels.secret) < 7)
    expected = 2 * calls + (needed - 1) // 2
    assert [reference.steps_to_goal(plain) for plain in world] == expected.tolist()
    within = jax.jit(jax.vmap(lambda table: optimal_return(table, 12)), compiler_options=QUICK)
    assert (np.asarray(within(TABULATE(env, levels))) == (expected <= 12)).all()
    assert len(set(expected)) >= 5 and workshop.OPENS == 4 and math.isclose(env.flakiness, 0)
