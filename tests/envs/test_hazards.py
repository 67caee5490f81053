"""The platformer: what its docstring says of levels, of moves and of what is seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.oracle import random_return
from tests.envs.chances import DRAWS, draw, even, share
from tests.envs.dynamics.hazards import platformer
from tests.envs.reference import reachable, steps_to_goal
from tests.envs.worlds import QUICK, each, raw_levels, same

ROWS = np.arange(DRAWS)
STEP = jax.jit(lambda env, *a: env.step(*a), compiler_options=QUICK)
TABLE = jax.jit(lambda env, level: env.tabulate(level), compiler_options=QUICK)
MOVES = "LRJ."  # left, right, jump, stay


def first(env, level):
    return env.reset(jax.random.key(0), level)


def play(env, level, moves: str) -> list[tuple]:
    """(cell, lift, reward, end) after each of some moves."""
    state, seen = first(env, level), []
    for move in moves:
        action = jnp.int32(MOVES.index(move))
        state, reward, over = STEP(env, jax.random.key(0), level, state, action)
        seen.append((int(state.cell), int(state.lift), float(reward), bool(over)))
    return seen


def test_levels_of_the_platformer():
    size, density, cover = 5, 0.15, 0.7
    drawn = draw("platformer", size=size, density=density, cover=cover)
    solid, spikes, start, goal = drawn.values()
    row = np.arange(size**2) // size
    places, tiers = np.flatnonzero(np.isin(row, (1, 3))), np.isin(row, (2, 4))
    even(start, set(places.tolist()))
    for cell in places.tolist():
        far = {int(c) for c in places if abs(c % size - cell % size) >= 2}
        even(goal[start == cell], far)
    assert solid[ROWS, start + size].all() and solid[ROWS, goal + size].all()
    assert not solid[:, ~tiers].any()
    may = np.broadcast_to(tiers, solid.shape).copy()
    may[ROWS, start + size] = may[ROWS, goal + size] = False
    share(solid[may], cover)
    for cell in np.flatnonzero(tiers).tolist():
        share(solid[may[:, cell], cell], cover)
    # Spikes: in every gap of the ground, and by chance on what is solid.
    assert (spikes[:, row == 4] == ~solid[:, row == 4]).all()
    assert not spikes[:, np.isin(row, (0, 2))].any()
    above = np.zeros_like(solid)
    above[:, places] = solid[:, places + size]
    above[ROWS, start] = above[ROWS, goal] = False
    upper = np.isin(row, (1, 3))
    assert not (spikes & ~above)[:, upper].any()
    share(spikes[above], density)
    for cell in places.tolist():
        share(spikes[above[:, cell], cell], density)


HILL = """
......
......
....G.
...###
@.....
##A###
"""
JUMPS = {
    # From a run over the gap onto the platform, and there to the goal.
    "climb": ("RJRRR", "25.0 19.1 14.0 15.0 16.0", "won"),
    "fall into the gap": ("RR", "25.0 32.0", "dead"),
    "over the gap": ("RJ.RRR", "25.0 19.1 13.0 20.0 26.0 27.0", ""),
    "into the gap from above": ("RJRL.R", "25.0 19.1 14.0 19.0 25.0 32.0", "dead"),
    "up and down in place": ("J....", "18.1 12.0 18.0 24.0 24.0", ""),
    "no jump in the air": ("JJJJ", "18.1 12.0 18.0 24.0", ""),
    "again from the ground": ("J...J", "18.1 12.0 18.0 24.0 18.1", ""),
    "a platform is a ceiling": ("RJ.RRRJ.R", "25.0 19.1 13.0 20.0 26.0 27.0 27.0 27.0 28.0", ""),
    "and a wall": ("RJRLRR", "25.0 19.1 14.0 19.0 26.0 27.0", ""),
    "the border": ("LJLL", "24.0 18.1 12.0 18.0", ""),
}


@pytest.mark.parametrize("name", JUMPS)
def test_golden_jumps(name):
    moves, path, end = JUMPS[name]
    env = envs.make("platformer", size=6)
    level = env.parse(HILL)
    assert (int(level.start), int(level.goal)) == (24, 16)
    seen = play(env, level, moves)
    assert " ".join(f"{cell}.{lift}" for cell, lift, *_ in seen) == path
    assert [over for *_, over in seen] == [False] * (len(seen) - 1) + [end != ""]
    assert seen[-1][2] == (end == "won")


def test_jumps_end_at_the_upper_border():
    env = envs.make("platformer", size=4, jump=3)
    level = env.parse("....\n@..G\n#..#\n####")
    assert [state[:2] for state in play(env, level, "J..")] == [(0, 2), (0, 0), (4, 0)]


@pytest.mark.parametrize("fields", [{"jump": 1}, {"jump": 3}, {"jump": 4, "size": 5}])
def test_other_jumps(fields):
    """The table of every state that can be reached, against the plain dynamics."""
    env = envs.make("platformer", **fields)
    for level in each(raw_levels(env, 5, 3)):
        world, table = platformer(level, env.jump), jax.device_get(TABLE(env, level))
        for cell, lift in reachable(world):
            for action in range(4):
                (((_, after, reward, over)),) = world.outcomes((cell, lift), action)
                at = cell * env.jump + lift, action
                assert table.target[at] == after[0] * env.jump + after[1]
                assert table.reward[at] == reward and table.terminated[at] == over


def mirrored(level, size: int):
    """The level seen in a mirror, by flipping arrays."""

    def cell(place):
        return np.int32(place // size * size + size - 1 - place % size)

    def flip(cells):
        return cells.reshape(size, size)[:, ::-1].ravel()

    return level.replace(
        solid=flip(level.solid),
        spikes=flip(level.spikes),
        start=cell(level.start),
        goal=cell(level.goal),
    )


def test_equal_prints_mean_equal_problems():
    """A small family, so that many of the levels come several times, in both positions."""
    env = envs.make("platformer", size=4, cover=0.8, density=0.05)
    levels = raw_levels(env, 0, 3000)
    prints = jax.jit(lambda levels: jax.vmap(env.fingerprint)(levels))(levels)
    found = [tuple(row) for row in np.asarray(prints).tolist()]

    def numbers(level):
        return tuple(np.concatenate([np.ravel(x) for x in vars(level).values()]).tolist())

    forms = [min(numbers(level), numbers(mirrored(level, 4))) for level in each(levels)]
    both = set(zip(found, forms, strict=True))
    assert len(both) == len(set(found)) == len(set(forms))
    assert 50 < len(both) < 2600


def test_the_mirror_image_is_the_same_problem():
    """Random play from the start cannot tell them apart, at any length."""
    env = envs.make("platformer", size=6)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def values(levels):
        def value(level):
            table = env.tabulate(level)
            return jnp.stack([random_return(table, steps) for steps in (4, 8, 32)])

        copies = jax.vmap(env.symmetries)(levels)
        return jax.vmap(value)(levels), jax.vmap(jax.vmap(value))(copies)

    own, copied = values(raw_levels(env, 1, 24))
    assert copied.shape == (24, 2, 3)
    assert np.allclose(copied, own[:, None], atol=1e-6)
    assert len({round(float(value), 6) for value in own[:, -1]}) > 8


def test_what_text_shows_is_the_level():
    env = envs.make("platformer")
    for level in each(raw_levels(env, 0, 5)):
        level = jax.tree.map(jnp.asarray, level)
        assert same(env.parse(env.text(level, first(env, level))), level)


def test_pixels_show_what_symbols_show():
    """Two states look alike if and only if their observations are the same, in whatever level."""
    env = envs.make("platformer", size=5, jump=3)

    @jax.jit
    def seen(levels):
        def one(level, index):
            state = env.decode(level, index)
            return env.observe(level, state), env.view(level, state)

        every = jnp.arange(env.num_states, dtype=jnp.int32)
        return jax.vmap(lambda level: jax.vmap(lambda i: one(level, i))(every))(levels)

    symbols, views = map(np.asarray, seen(raw_levels(env, 0, 3)))
    symbols = [tuple(row) for row in symbols.reshape(-1, 2).tolist()]
    views = [view.tobytes() for view in views.reshape(len(symbols), -1)]
    both = set(zip(symbols, views, strict=True))
    assert len(both) == len(set(symbols)) == len(set(views)) == 25 * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 2}, "platformer size 2: use 3 or more"),
        ({"jump": 0}, "platformer jump 0: at size 8 use 1 to 8"),
        ({"size": 3, "jump": 4}, "platformer jump 4: at size 3 use 1 to 3"),
    ],
)
def test_impossible_sizes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message) as refused:
        envs.make("platformer", **fields)
    assert "\n" not in str(refused.value)


def test_the_smallest_size_works():
    env = envs.make("platformer", size=3)
    levels = each(raw_levels(env, 0, 40))
    assert all(level.start // 3 == level.goal // 3 == 1 != level.start for level in levels)
    assert min(steps_to_goal(platformer(level)) for level in levels) < np.inf
