"""The families with objects, heist, boulders and memory: what their docstrings say of moves and of
what is seen, and which levels are one problem."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.oracle import doomed, random_return, solve
from tests.envs.chances import even
from tests.envs.reference import plain, reachable, steps_to_goal
from tests.envs.worlds import QUICK, each, raw_levels, same

SMALL = {  # the smallest there are
    "boulders": {"size": 3, "density": 0.1},
    "heist": {"size": 5, "density": 0.0},
    "memory": {"size": 4, "density": 0.7},
}
STEP = jax.jit(lambda env, *a: env.step(*a), compiler_options=QUICK)
OUTCOMES = jax.jit(lambda env, *a: env.outcomes(*a), compiler_options=QUICK)
TABLE = jax.jit(lambda env, level: env.tabulate(level), compiler_options=QUICK)


PRINTS = jax.jit(lambda env, levels: jax.vmap(env.fingerprint)(levels), compiler_options=QUICK)


def few(env, count: int):
    """Some levels, stacked, from the program that draws many."""
    return jax.tree.map(lambda x: x[:count], raw_levels(env, 0, 4000))


def first(env, level):
    return env.reset(jax.random.key(0), level)


def play(env, level, moves: str) -> list[tuple]:
    """The states, as tuples of numbers, after moves such as "R R D", with reward and end."""
    state, seen = first(env, level), []
    for move in moves.split():
        action = jnp.int32("URDL".index(move))
        state, reward, over = STEP(env, jax.random.key(0), level, state, action)
        numbers = [np.ravel(x).tolist() for x in jax.tree.leaves(state)]
        seen.append((*itertools.chain(*numbers), float(reward), bool(over)))
    return seen


# Moves. -------------------------------------------------------------------------------------

VAULT = "@w#x.\n..W..\n####X\n..#G.\n..#.."


def test_golden_heist():
    env = envs.make("heist", size=5)
    level = env.parse(VAULT)
    assert level.keys.tolist() == [1, 3] and level.locks.tolist() == [7, 14]
    seen = play(env, level, "D R R U R D R R U R D D D L")
    assert [cell for cell, *_ in seen] == [5, 6, 6, 1, 1, 6, 7, 8, 3, 4, 9, 14, 19, 18]
    assert [held for _, held, *_ in seen] == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert [over for *_, over in seen] == [False] * 13 + [True]
    assert [reward for *_, reward, _ in seen] == [0] * 13 + [1]
    drawn = [
        env.text(level, first(env, level).replace(cell=jnp.int32(5), held=jnp.int32(held)))
        for held in (0, 1, 2)
    ]
    assert drawn == [
        "Sw#x.\n@.W..\n####X\n..#G.\n..#..",
        "S.#x.\n&....\n####X\n..#G.\n..#..",
        "S.#..\n&....\n####.\n..#G.\n..#..",
    ]


def test_keys_are_taken_in_order():
    env = envs.make("heist", size=5)
    level = env.parse("@x.w.\n.....\n##X##\n..W..\n..G..")
    seen = play(env, level, "R R D D U R U L L D R D D D")
    assert [held for _, held, *_ in seen] == [0] * 5 + [1] * 3 + [2] * 6
    assert [cell for cell, *_ in seen] == [1, 2, 7, 7, 2, 3, 3, 2, 1, 6, 7, 12, 17, 22]
    assert seen[-1][-2:] == (1.0, True)


YARD = "@....\n.O...\n..G..\n....#\n#...."


def test_golden_boulders():
    env = envs.make("boulders", size=5)
    level = env.parse(YARD)
    seen = play(env, level, "R D D D D U L L U R")
    # Down against the boulder until it meets the border, and round it.
    assert [at for at, *_ in seen] == [1, 6, 11, 16, 16, 11, 10, 10, 5, 6]
    assert [at for _, at, *_ in seen] == [6, 11, 16, 21, 21, 21, 21, 21, 21, 21]
    seen = play(env, level, "D R U R D")
    assert seen[1] == (6, 7, 0.0, False)
    assert seen[-1] == (7, 12, 1.0, True)
    walled = env.parse("@O#..\n.....\n..G..\n.....\n.....")
    assert play(env, walled, "R")[0] == (0, 1, 0.0, False)


def test_two_boulders_block_each_other_and_fit_either_target():
    env = envs.make("boulders", size=4, boulders=2)
    level = env.parse("....\n@OO.\n....\nGG..")
    assert level.boulders.tolist() == [5, 6] and level.targets.tolist() == [12, 13]
    assert play(env, level, "R")[0][:3] == (4, 5, 6)
    column = env.parse("@...\n.O..\n....\nGOG.")
    assert [state[:3] for state in play(env, column, "R D D")] == [
        (1, 5, 13),
        (5, 9, 13),
        (5, 9, 13),
    ]
    passing = env.parse("@...\n.OO.\n....\nG..G")
    assert play(env, passing, "R D")[1][:3] == (5, 6, 9)  # in ascending order
    level = env.parse("@O.G\n....\n.O.G\n....")
    seen = play(env, level, "R R D L L D R R")
    assert [over for *_, over in seen] == [False] * 7 + [True]
    assert seen[1] == (2, 3, 9, 0.0, False)  # one of two pays nothing
    assert seen[-1] == (10, 3, 11, 1.0, True)


def test_a_boulder_in_a_corner_is_lost_for_good():
    env = envs.make("boulders", size=3)
    level = env.parse("...\n@O.\n..G")
    lost = np.asarray(doomed(solve(TABLE(env, level))))
    assert not lost[3 + 9 * 4] and not lost[4 + 9 * 5]
    cornered = play(env, level, "R U R L D D R U")[-1][:2]
    assert cornered == (5, 2) and lost[5 + 9 * 2]
    assert steps_to_goal(plain("boulders", level), (5, 2)) == np.inf
    assert steps_to_goal(plain("boulders", level)) == 4


FORK = "###.#\n##..b\n?@..#\n###.a\n###.#"


@pytest.mark.parametrize("cue", [1, 2])
def test_golden_memory(cue):
    env = envs.make("memory", size=5)
    level = env.parse(FORK)
    assert level.doors.tolist() == [19, 9] and level.start == 11
    assert env.observe(level, first(env, level)).tolist() == [11, 25]
    seeds = (jax.random.key(i) for i in range(100))
    steps = (STEP(env, key, level, first(env, level), jnp.int32(1)) for key in seeds)
    state = next(step.state for step in steps if step.state.cue == cue)
    assert state.cell == 11  # the first action moves nothing
    assert env.text(level, state) == FORK.replace("?", "ab"[cue - 1])
    path, key = "R L R R D R", jax.random.key(0)
    seen, ends = [env.observe(level, state).tolist()], []
    for move in path.split():
        state, reward, over = STEP(env, key, level, state, jnp.int32("URDL".index(move)))
        seen.append(env.observe(level, state).tolist())
        ends.append((float(reward), bool(over)))
    assert [cell for cell, _ in seen] == [11, 12, 11, 12, 13, 18, 19]
    assert [sign - 25 for _, sign in seen] == [cue, 0, cue, 0, 0, 0, 0]  # at the entrance only
    assert ends == [(0.0, False)] * 5 + [(float(cue == 1), True)]


def test_cues_are_drawn_as_often_as_outcomes_say():
    env = envs.make("memory", size=5, cues=3)
    level = env.parse(FORK.replace("###.#", "###.c", 1))
    state, action = first(env, level), jnp.int32(2)
    chance, outcome = OUTCOMES(env, level, state, action)
    assert chance.tolist() == pytest.approx([1 / 3] * 3)
    assert outcome.state.cue.tolist() == [1, 2, 3]
    assert outcome.state.cell.tolist() == [11] * 3
    keys = jax.random.split(jax.random.key(2), 20_000)
    after = jax.jit(jax.vmap(lambda key: env.step(key, level, state, action)))(keys)
    even(np.asarray(after.state.cue), range(1, 4))
    # Once drawn, it is drawn.
    drawn = jax.tree.map(lambda x: x[0], after.state)
    again = jax.jit(jax.vmap(lambda key: env.step(key, level, drawn, action)))(keys[:100])
    assert (again.state.cue == drawn.cue).all()
    assert (OUTCOMES(env, level, drawn, action)[1].state.cue == drawn.cue).all()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("heist", {"size": 5, "keys": 1}),
        ("heist", {"size": 5, "keys": 3}),
        ("boulders", {"size": 4, "boulders": 2, "density": 0.4}),
        ("memory", {"size": 5, "cues": 3}),
    ],
)
def test_other_numbers_of_objects(name, fields):
    """The table of every state that can be reached, against the plain dynamics."""
    env = envs.make(name, **fields)
    base = {"heist": fields.get("keys", 0) + 1, "memory": 4}.get(name)
    for level in each(few(env, 2)):
        world, table = plain(name, level), jax.device_get(TABLE(env, level))

        def number(state):
            if base:
                return state[0] * base + state[1]
            return sum(cell * env.size ** (2 * i) for i, cell in enumerate(state))

        assert table.start == number(world.start)
        for state in reachable(world):
            for action in range(4):
                at = number(state), action
                said = set(
                    zip(*(x[at].tolist() for x in (table.target, table.reward)), strict=True)
                )
                told = world.outcomes(state, action)
                assert said == {(number(after), reward) for _, after, reward, _ in told}
                assert set(table.terminated[at].tolist()) == {over for *_, over in told}


# Identity and pictures. ------------------------------------------------------------------------


def turned(size: int):
    """For each symmetry of the square: which old cell lies at each place, and where cells go."""
    cells = np.arange(size**2).reshape(size, size)
    for copy in [np.rot90(c, k) for c in (cells, cells.T) for k in range(4)]:
        old = copy.ravel()
        yield old, {int(o): n for n, o in enumerate(old)}


def form(level, ordered: tuple[str, ...], either: tuple[str, ...]) -> tuple:
    """The smallest picture over the square's symmetries; the cells of a field in ``either`` are
    interchangeable."""
    forms = []
    for old, where in turned(round(len(level.walls) ** 0.5)):
        lists = [[where[int(c)] for c in np.ravel(getattr(level, f))] for f in ordered]
        sets = [sorted(where[int(c)] for c in getattr(level, f)) for f in either]
        forms.append((tuple(level.walls[old].tolist()), *map(tuple, lists + sets)))
    return min(forms)


@pytest.mark.parametrize(
    ("name", "fields", "ordered", "either"),
    [
        ("heist", {}, "start goal keys locks", ""),
        ("boulders", {}, "start", "boulders targets"),
        ("boulders", {"size": 4, "boulders": 2, "density": 0.0}, "start", "boulders targets"),
        ("memory", {}, "start", "doors"),
    ],
)
def test_equal_prints_mean_equal_problems(name, fields, ordered, either):
    """Small families, so that many of the levels come several times, in all positions."""
    env = envs.make(name, **SMALL[name] | fields)
    levels = few(env, 4000)
    found = [tuple(row) for row in np.asarray(PRINTS(env, levels)).tolist()]
    forms = [form(level, tuple(ordered.split()), tuple(either.split())) for level in each(levels)]
    both = set(zip(found, forms, strict=True))
    assert len(both) == len(set(found)) == len(set(forms))
    assert 50 < len(both) < 3600


@pytest.mark.parametrize("name", SMALL)
def test_symmetric_copies_are_one_problem(name):
    """Random play from the start cannot tell them apart, at any length."""
    env = envs.make(name, **SMALL[name])

    @functools.partial(jax.jit, compiler_options=QUICK)
    def values(levels):
        def value(level):
            table = env.tabulate(level)
            return jnp.stack([random_return(table, steps) for steps in (4, 8, 32)])

        copies = jax.vmap(env.symmetries)(levels)
        return jax.vmap(value)(levels), jax.vmap(jax.vmap(value))(copies)

    own, copied = values(few(env, 24))
    assert copied.shape == (24, 8, 3)
    assert np.allclose(copied, own[:, None], atol=1e-6)
    assert len({round(float(value), 6) for value in own[:, -1]}) > 6


def test_names_of_cues_are_no_content_and_doors_are():
    env = envs.make("memory", size=5)
    texts = [FORK, FORK.translate(str.maketrans("ab", "ba")), FORK.replace("b\n", "#\n", 1)]
    texts[2] = texts[2].replace("###.#", "###.b", 1)
    levels = [env.parse(text) for text in texts]
    together = jax.tree.map(lambda *x: jnp.stack(x), *levels)
    one, swapped, other = PRINTS(env, together).tolist()
    assert levels[0].doors.tolist() != levels[1].doors.tolist()
    assert one == swapped != other


@pytest.mark.parametrize("name", SMALL)
def test_what_text_shows_is_the_level(name):
    env = envs.make(name, **SMALL[name])
    for level in each(few(env, 8)):
        level = jax.tree.map(jnp.asarray, level)
        assert same(env.parse(env.text(level, first(env, level))), level)


@pytest.mark.parametrize("name", SMALL)
def test_pixels_show_what_symbols_show(name):
    """Two states look alike if and only if their observations are the same, in whatever level."""
    env = envs.make(name, **SMALL[name])

    @functools.partial(jax.jit, compiler_options=QUICK)
    def seen(levels):
        def one(level, index):
            state = env.decode(level, index)
            return env.observe(level, state), env.view(level, state)

        every = jnp.arange(env.num_states, dtype=jnp.int32)
        return jax.vmap(lambda level: jax.vmap(lambda i: one(level, i))(every))(levels)

    symbols, views = map(np.asarray, seen(few(env, 5)))
    symbols = [tuple(row) for row in symbols.reshape(-1, env.num_fields).tolist()]
    views = [view.tobytes() for view in views.reshape(len(symbols), -1)]
    both = set(zip(symbols, views, strict=True))
    assert len(both) == len(set(symbols)) == len(set(views))
    assert len(both) > 20


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("heist", {"size": 4}, "heist size 4: four chambers need 5 or more"),
        ("heist", {"keys": 4}, "heist keys 4: four chambers have room for 1, 2 or 3"),
        ("heist", {"keys": 0}, "heist keys 0"),
        ("boulders", {"size": 2}, "boulders size 2: to push takes three in a row"),
        ("boulders", {"boulders": 0}, "boulders boulders 0: use 1 or more"),
        ("boulders", {"size": 3, "boulders": 2}, "size 3 has 1 cells off the border"),
        ("boulders", {"size": 6, "boulders": 3}, "1,679,616 ways, 65,536 can be solved"),
        ("memory", {"size": 3}, "memory size 3: use 4 or more"),
        ("memory", {"cues": 1}, "memory cues 1: at size 7 use 2 to 7"),
        ("memory", {"size": 9, "cues": 9}, "memory cues 9: at size 9 use 2 to 8"),
    ],
)
def test_impossible_sizes_are_refused(name, fields, message):
    with pytest.raises(ValueError, match=message) as refused:
        envs.make(name, **fields)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("heist", VAULT.replace("x", "."), "0 cells 'x'; it needs exactly one"),
        ("boulders", YARD.replace("G", "O"), "2 cells 'O'; it needs exactly one"),
        ("memory", FORK.replace("?@", "@?"), "put it on the left of the start"),
        ("memory", FORK.replace("b", "#"), "0 cells 'b'; it needs exactly one"),
    ],
)
def test_texts_that_are_no_levels_are_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name, size=5).parse(text)


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_sizes_work(name):
    env = envs.make(name, **SMALL[name])
    lengths = [steps_to_goal(plain(name, level)) for level in each(few(env, 40))]
    assert min(lengths) < np.inf
