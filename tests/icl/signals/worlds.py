"""What the tests of step signals are played in: small gauntlets, an agent with a memory, forests
made by hand, and dynamic programming in plain Python."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import envs
from envs.wrappers import Sticky, wrap
from icl.signals.lanes import Lanes, Snapshot, go, start
from icl.signals.world import World, world
from tests.envs.dynamics.abstract import gauntlet
from tests.envs.reference import Dynamics, dynamics
from tests.envs.worlds import QUICK, each, raw_levels

DIALS, STICKINESS = 2, 0.25
quick = functools.partial(jax.jit, compiler_options=QUICK)


def made(levels: int = 3, seed: int = 0, *, sticky: float = 0.0, **fields) -> World:
    """Levels of a gauntlet of five moments; nothing is as sure to be fatal as waiting."""
    env = envs.make("gauntlet", **{"moments": 5, "dials": DIALS} | fields)
    env = wrap(Sticky, env, stickiness=sticky) if sticky else env
    return world(env, raw_levels(env, seed, levels))


class Recurrent(struct.PyTreeNode):
    """An agent whose logits depend on all that it saw and chose. It reckons in whole numbers and in
    eighths, so that they are the same to the bit in whatever program.

    Attributes:
        weight: float32[m, A], of each level, stacked.
    """

    weight: jax.Array

    def begin(self, env, level):
        return jnp.zeros(self.weight.shape[0])

    def logits(self, env, level, episode, before, memory):
        seen = (episode.timestep.observation.sum() + 4 * before).astype(jnp.float32)
        memory = (3 * memory + seen + jnp.arange(memory.size)) % 5
        return memory @ self.weight, memory


def recurrent(world: World, seed: int = 0) -> Recurrent:
    levels, _, actions = world.dynamics.target.shape[:3]
    weight = np.random.default_rng(seed).integers(-3, 4, (levels, 6, actions)) / 8
    return Recurrent(jnp.asarray(weight, jnp.float32))


@functools.partial(quick, static_argnames="count")
def play(world: World, agent: Any, key: jax.Array, count: int) -> tuple[Lanes, Snapshot]:
    """``count`` lanes in every level, and their snapshots."""
    return go(agent, world.env, world.levels, start(agent, world.env, key, world.levels, count))


@dataclasses.dataclass(frozen=True)
class Exact:
    """One level by dynamic programming over the plain dynamics.

    Attributes:
        policy: float64[T, S', A + 1, A], Q of the policy, over reachable states.
        best: the same of the best policy.
        chance: float64[S', A], the policy.
        number: the row of the state with each number of the family's ``encode``.
    """

    policy: np.ndarray
    best: np.ndarray
    chance: np.ndarray
    number: dict[int, int]


def plain(world: World, level: Any) -> tuple[Dynamics, dict[int, int]]:
    """Dynamics of a level, and the row of each number of a state."""
    stickiness = float(getattr(world.env, "stickiness", 0.0))
    table, states = dynamics(gauntlet(DIALS, level), stickiness)
    spelling = world.env.bare.spelling
    rows = {
        ((place * spelling + letter) * 2 + sound) * 2 + lost: row
        for row, (place, letter, sound, lost) in enumerate(states)
    }
    return table, rows


def softmax(scores: np.ndarray) -> np.ndarray:
    power = np.exp(np.asarray(scores, np.float64))
    return power / power.sum(-1, keepdims=True)


def backwards(table: Dynamics, horizon: int, chance: np.ndarray | None) -> np.ndarray:
    """float64[T, S', A + 1, A]: Q of a policy float[S', A], or of the best one."""
    value = np.zeros((len(table.reward), table.reward.shape[1] + 1))
    every = []
    for _ in range(horizon):
        every.append(table.backup(value, 1.0))
        value = every[-1].max(-1) if chance is None else (chance[:, None] * every[-1]).sum(-1)
    return np.stack(every[::-1])


def exactly(world: World, scores: jax.Array) -> list[Exact]:
    """Of every level of a world, under the policy of logits float32[L, S, A]."""
    found = []
    for level, logits in zip(each(world.levels), np.asarray(scores)):
        table, rows = plain(world, level)
        chance = softmax(logits[list(rows)])
        horizon = world.env.horizon
        found.append(
            Exact(backwards(table, horizon, chance), backwards(table, horizon, None), chance, rows)
        )
    return found


def forest(
    rng: np.random.Generator, *, levels: int, trees: int, nodes: int, rounds: int, horizon: int
) -> tuple[Lanes, np.ndarray]:
    """Lanes[L, N, T] of random trees with random ends and returns, and int32[N], their trees; no
    environment is behind them."""
    tree = list(range(trees)) + [
        t for _ in range(rounds) for t in range(trees) for _ in range(nodes)
    ]
    shape = (levels, len(tree), horizon)
    owner, live = np.zeros(shape, np.int32), np.zeros(shape, bool)
    parent, fork = np.zeros(shape[:2], np.int32), np.zeros(shape[:2], np.int32)
    for level in range(levels):
        for lane, own in enumerate(tree):
            parent[level, lane] = lane
            if lane >= trees:
                before = trees + (lane - trees) // (trees * nodes) * trees * nodes
                left = rng.choice([i for i in range(before) if tree[i] == own])
                steps = np.flatnonzero(live[level, left] & (owner[level, left] == left))
                parent[level, lane], fork[level, lane] = left, rng.choice(steps)
            time, at = np.arange(horizon), fork[level, lane]
            end = rng.integers(at + 1, horizon + 1)
            past = owner[level, parent[level, lane]]
            owner[level, lane] = np.where(time < at, past, lane)
            live[level, lane] = time < end
    return by_hand(rng, owner, live, parent, fork), np.array(tree, np.int32)


def by_hand(rng: np.random.Generator, owner, live, parent=None, fork=None) -> Lanes:
    """Lanes[L, N, T] with random returns in quarters, states and logits."""
    levels, count, horizon = live.shape
    last = live & ~np.pad(live[..., 1:], ((0, 0), (0, 0), (0, 1)))
    reward = np.where(last, rng.integers(0, 4, live.shape) / 4, 0)
    lanes = np.broadcast_to(np.arange(count, dtype=np.int32), live.shape[:2])
    whole = (levels, count, horizon + 1)
    return Lanes(
        state=jnp.asarray(rng.integers(0, 4, whole), jnp.int32),
        executed=jnp.full(whole, 3, jnp.int32),
        action=jnp.asarray(rng.integers(0, 3, live.shape), jnp.int32),
        logits=jnp.asarray(rng.normal(size=(*live.shape, 3)) * 2, jnp.float32),
        reward=jnp.asarray(reward, jnp.float32),
        live=jnp.asarray(live),
        own=jnp.asarray(live & (owner == lanes[..., None])),
        owner=jnp.asarray(owner),
        terminated=jnp.asarray(last.any(-1)),
        stopped=jnp.zeros(live.shape[:2], bool),
        parent=jnp.asarray(lanes if parent is None else parent),
        fork=jnp.zeros(live.shape[:2], jnp.int32) if fork is None else jnp.asarray(fork),
    )
