"""Contract 9: one fingerprint a problem, whatever way it lies and whatever it is called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs import room as room_lib
from envs.core import Env
from envs.families import random_graph
from envs.wrappers import Scramble, wrap
from tests.envs.worlds import behind, each, raw_levels

PRINT = jax.jit(lambda env, levels: jax.vmap(env.fingerprint)(levels))
ROOM, GRAPH = envs.make("dark-room"), envs.make("random-graph", nodes=12, distance=4)


def prints(env, levels) -> list[tuple[int, int]]:
    return [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]


def room(picture: str):
    """A level of dark-room from its rows."""
    return envs.make("dark-room", size=3).parse(picture.replace(" ", "\n"))


def stacked(*levels):
    return jax.tree.map(lambda *x: jnp.stack(x), *levels)


def test_a_room_turned_and_mirrored_by_hand_is_the_same_room():
    env = envs.make("dark-room", size=3)
    same = ["S#. ... .G.", "..S G.# ...", ".G. ... .#S", "... #.G S..", ".#S ... .G."]
    other = ["S#. ... ..G", "G#. ... .S.", "S.. ... .G.", "S.# ... .G."]
    found = prints(env, stacked(*map(room, same + other)))
    assert len(set(found[:5])) == 1
    assert len(set(found)) == 1 + len(other)


def canonical_grid(level, fields: str, eight: bool) -> tuple:
    """The smallest picture of a grid level over its symmetries, by turning arrays."""
    masks = [getattr(level, f) for f in ("walls", "lava") if hasattr(level, f)]
    size = int(len(masks[0]) ** 0.5)
    cells = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(c, k) for c in (cells, cells.T) for k in range(4)] if eight else []
    pictures = []
    for turned in turns or [cells, cells[::-1]]:
        # turned[r, c] is the old cell that lies at (r, c) now; where maps old cells to new ones.
        old = turned.ravel()
        where = {int(o): n for n, o in enumerate(old)}
        picture = [tuple(mask[old].tolist()) for mask in masks]
        picture.append(tuple(where[int(getattr(level, field))] for field in fields.split()))
        if hasattr(level, "link"):
            picture.append(tuple(where[int(level.link[o])] for o in old))
        pictures.append(tuple(picture))
    return min(pictures)


def canonical_graph(level) -> tuple:
    """The smallest table of a ring's edges over turns and both directions, edges sorted."""
    nodes = len(level.edges)
    copies = []
    for sign in (1, -1):
        for turn in range(nodes):
            where = [(sign * node + turn) % nodes for node in range(nodes)]
            table = [()] * nodes
            for node, edges in enumerate(level.edges.tolist()):
                table[where[node]] = tuple(sorted(where[edge] for edge in edges))
            copies.append((where[int(level.start)], where[int(level.goal)], tuple(table)))
    return min(copies)


@pytest.mark.parametrize(
    ("name", "sizes", "canonical"),
    [
        ("dark-room", {"size": 3}, lambda x: canonical_grid(x, "start goal", True)),
        ("key-door", {"size": 4}, lambda x: canonical_grid(x, "door key start goal", False)),
        ("lava-crossing", {"size": 4}, lambda x: canonical_grid(x, "start goal", True)),
        ("teleporters", {"size": 3, "pairs": 1}, lambda x: canonical_grid(x, "start goal", True)),
        ("random-graph", {"nodes": 5, "degree": 2, "reach": 1, "distance": 2}, canonical_graph),
    ],
)
def test_equal_prints_mean_equal_problems(name, sizes, canonical):
    """Small families, so that most of the 4,000 levels come several times, in all positions."""
    env = envs.make(name, **sizes)
    levels = raw_levels(env, 0, 4000)
    found, forms = prints(env, levels), [canonical(level) for level in each(levels)]
    pairs = set(zip(found, forms, strict=True))
    assert len(pairs) == len(set(found)) == len(set(forms))
    assert 50 < len(pairs) < 3500


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 11), st.booleans())
def test_a_ring_turned_and_renamed_is_the_same_graph(seed, turn, mirrored):
    rng = np.random.default_rng(seed)
    edges, sign = rng.integers(0, 12, (12, 4)), -1 if mirrored else 1
    start, goal = rng.integers(0, 12, 2)
    where = (sign * np.arange(12) + turn) % 12
    table = np.empty_like(edges)
    table[where] = rng.permuted(where[edges], axis=1)  # the order of a node's edges is no content

    def level(edges, start, goal):
        return random_graph.Level(jnp.asarray(edges, jnp.int32), jnp.int32(start), jnp.int32(goal))

    rerouted = edges.copy()
    rerouted[rng.integers(12), 0] += rng.integers(1, 12)
    first, turned, other = prints(
        GRAPH,
        stacked(
            level(edges, start, goal),
            level(table, where[start], where[goal]),
            level(rerouted % 12, start, goal),
        ),
    )
    assert first == turned
    assert first != other


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_one_wall_makes_another_room(seed):
    rng = np.random.default_rng(seed)
    # Start and goal off every axis of the square: no symmetry but the identity keeps them.
    walls = np.tile(rng.random(49) < 0.2, (50, 1))
    walls[np.arange(49), np.arange(49)] ^= True
    pairs = room_lib.Level(
        jnp.asarray(walls), jnp.full(50, 2, jnp.int32), jnp.full(50, 15, jnp.int32)
    )
    assert len(set(prints(ROOM, pairs))) == 50


def test_each_part_of_a_level_counts():
    level = each(raw_levels(ROOM, 0, 1))[0]
    cells = jnp.arange(49, dtype=jnp.int32)
    walls = jnp.broadcast_to(level.walls, (49, 49))
    fixed = jnp.full(49, 2, jnp.int32)
    assert len(set(prints(ROOM, room_lib.Level(walls, fixed, cells)))) == 49
    assert len(set(prints(ROOM, room_lib.Level(walls, cells, fixed)))) == 49


def test_scrambling_and_sticking_change_no_content():
    env = behind(envs.make("key-door"))
    levels = raw_levels(env, 0, 16)
    found = prints(env, levels)
    assert len(set(found)) == 16
    assert prints(env.env.env.env, levels.inner) == found
    renamed = levels.replace(
        actions=jnp.flip(levels.actions, 1), symbols=jnp.roll(levels.symbols, 1, 0)
    )
    assert prints(env, renamed) == found


def test_prints_have_64_bits():
    levels = raw_levels(wrap(Scramble, ROOM), 0, 4096)
    words = np.array(prints(ROOM, levels.inner), np.uint64)
    assert PRINT(ROOM, levels.inner).dtype == jnp.uint32
    for word in words.T:
        assert len(np.unique(word)) > 4090  # 4,096 draws of 32 bits meet about once in 500
    # The lower word, which the split reads, is even over its bits; the upper is a minimum of 8.
    bits = (words[:, 1:] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / 64


def test_fractions_count():
    class Slope(Env):
        pass

    slopes = [{"angle": jnp.float32(angle), "side": jnp.int32(1)} for angle in (0.3, 0.7, -0.3)]
    assert len(set(prints(Slope(), stacked(*slopes, slopes[0])))) == 3
