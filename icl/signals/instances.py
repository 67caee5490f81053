"""Step instances: an expert's run cut into steps, each to be written again from where it began.

A run of N steps gives N - 1 instances, the world restored before steps 1 to N - 1 (SRL, arXiv
2510.25992, section 4.1): the last step is nobody's instance. A step is one move or several
(``Env.begins``), at most 8 actions of an expert.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from agents.grpo import NEVER
from envs.core import static
from envs.oracle import solve
from icl.signals import segments
from icl.signals.lanes import Lanes, Snapshot, Table, at_step, go, start
from icl.signals.world import World

LONGEST = 8  # actions of a step
PATHS = 32  # optimal ways to play a step that are told apart

Reference = Literal["expert", "optimal", "states"]
REFERENCES: tuple[Reference, ...] = get_args(Reference)


class Instances(struct.PyTreeNode):
    """What is to be written in L levels, I instances each, and what it is held against.

    Attributes:
        snapshot: Snapshot[L, I], the world before the step.
        there: bool[L, I]; the others are padding.
        reference: int32[L, I, R, C], actions; or numbers of the states that they lead through.
        known: bool[L, I, R], which of the references there are.
        length: int32[L, I], of all references of an instance.
        visits: the references are states; static.
    """

    snapshot: Snapshot
    there: jax.Array
    reference: jax.Array
    known: jax.Array
    length: jax.Array
    visits: bool = static(False)


@functools.partial(jax.jit, static_argnames="runs")
def demonstrated(world: World, key: jax.Array, runs: int = 1) -> tuple[Lanes, Snapshot]:
    """Lanes[L, runs, T] and Snapshot[L, runs, T] of an expert in every level, each action uniform
    over the optimal set. The key is consumed."""
    optimal = jax.vmap(lambda dynamics: solve(dynamics).optimal)(world.dynamics)
    expert = Table(jnp.where(optimal, 0.0, NEVER))
    begun = start(expert, world.env, key, world.levels, runs)
    return go(expert, world.env, world.levels, begun)


def steps(
    world: World,
    run: tuple[Lanes, Snapshot],
    key: jax.Array,
    *,
    moves: int = 1,
    reference: Reference = "expert",
    last: bool = False,
) -> Instances:
    """The instances of an expert's runs. On the host: sizes depend on how long the runs are.

    Args:
        world: the levels.
        run: as ``demonstrated`` gives it.
        key: of what happens after the world is restored, consumed.
        moves: of one step.
        reference: what an answer is held against: the ``expert``'s actions, every ``optimal`` way
            to play as many actions, or the ``states`` that the expert came through.
        last: the last step has its instance, too.

    Raises:
        ValueError: a step is longer than 8 actions; or optimal ways are asked for where hands
            stick or chance plays, or there are more than 32.
    """
    lanes, snapshots = run
    begins = np.asarray(segments.moves(world.env, world.levels, lanes))[:, 0]
    first = begins & (np.asarray(segments.index(jnp.asarray(begins))) % moves == 0)
    count = first.sum(-1)
    live = np.asarray(lanes.live)[:, 0].sum(-1)
    count = count + last
    most = max(4 * -(-int(count.max() - 1) // 4), 4)  # few sizes: few programs
    place = np.full((len(count), most + 1), live[:, None])
    for level, row in enumerate(first):
        found = np.flatnonzero(row)[: most + 1]
        place[level, : len(found)] = found
    length = np.diff(place, axis=-1)
    there = np.arange(most) < count[:, None] - 1
    if (longest := int((length * there).max(initial=0))) > LONGEST:
        raise ValueError(
            f"a step of {moves} moves takes up to {longest} actions, {LONGEST} at most can be "
            "written; use fewer moves"
        )
    made = _cut(world, lanes, snapshots, key, place[:, :-1], length, there, max(longest, 1))
    return made if reference == "expert" else _held(world, made, lanes, place[:, :-1], reference)


def whole(world: World, run: tuple[Lanes, Snapshot], key: jax.Array) -> Instances:
    """One instance a level: the expert's whole run, to be written from the start. Arguments as of
    ``steps``."""
    lanes, snapshots = run
    length = np.asarray(lanes.live)[:, 0].sum(-1)[:, None]
    none = np.zeros_like(length)
    return _cut(world, lanes, snapshots, key, none, length, none == 0, world.env.horizon)


def optimal_ways(
    world: World, state: jax.Array, length: jax.Array, longest: int, most: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """All optimal ways to play some actions, in worlds without chance.

    Args:
        world: the levels.
        state: int32[L, I], numbers of the states to begin in.
        length: int32[L, I], how many actions.
        longest: C, the largest length.
        most: R, ways that are kept.

    Returns:
        int32[L, I, R, C], 0 behind the end; bool[L, I, R], which there are; and int32[L, I], how
        many there were at the time when there were most: more than R, and some are missing.
    """

    def instance(target: jax.Array, best: jax.Array, state: jax.Array, length: jax.Array):
        actions = jnp.arange(best.shape[-1])

        def extend(carry, time):
            ways, at, known, top = carry
            # Behind the end a way goes on in one way only.
            good = known[:, None] & jnp.where(time < length, best[at], actions == 0)
            order = jnp.argsort(~good.ravel(), stable=True)[:most]
            way, action = jnp.divmod(order, len(actions))
            ways = ways[way].at[:, time].set(jnp.where(time < length, action, 0))
            return (ways, target[at[way], action], good.ravel()[order],
                    jnp.maximum(top, good.sum())), None  # fmt: skip

        known = jnp.arange(most) == 0
        ways = jnp.zeros((most, longest), jnp.int32)
        begin = (ways, jnp.full(most, state), known, jnp.int32(1))
        (ways, _, known, top), _ = jax.lax.scan(extend, begin, jnp.arange(longest))
        return jnp.where(known[:, None], ways, 0), known, top

    def level(dynamics, state: jax.Array, length: jax.Array):
        best = solve(dynamics).optimal
        return jax.vmap(lambda s, n: instance(dynamics.target[..., 0], best, s, n))(state, length)

    return jax.vmap(level)(world.dynamics, state, length)


def _cut(world, lanes, snapshots, key, place, length, there, longest: int) -> Instances:
    """The instances whose steps begin at int[L, I] and are so long, held against the expert's."""
    tokens = _stretch(lanes.action, place, longest)
    time = jnp.minimum(jnp.asarray(place), lanes.action.shape[-1] - 1)  # padding may lie behind
    return Instances(
        snapshot=at_step(snapshots, jnp.zeros_like(time), time, key),
        there=jnp.asarray(there),
        reference=tokens[:, :, None],
        known=jnp.ones((*tokens.shape[:2], 1), bool),
        length=jnp.asarray(length, jnp.int32),
    )


def _held(world, made: Instances, lanes: Lanes, place, reference: Reference) -> Instances:
    """The same, held against something else."""
    longest = made.reference.shape[-1]
    if reference == "states":
        seen = _stretch(lanes.state[..., 1:], place, longest)
        return dataclasses.replace(made, reference=seen[:, :, None], visits=True)
    if world.dynamics.target.shape[-1] > 1 or bool((world.dynamics.stickiness > 0).any()):
        raise ValueError(
            "optimal ways are told apart in worlds without chance only; use no stickiness, or hold "
            "answers against the expert's run"
        )
    state = _stretch(lanes.state, place, 1)[..., 0]
    ways, known, top = jax.jit(optimal_ways, static_argnums=(3, 4))(
        world, state, jnp.where(made.there, made.length, 0), longest, PATHS
    )
    if (found := int(top.max())) > PATHS:
        raise ValueError(
            f"a step can be played in {found} optimal ways, {PATHS} at most can be told apart; use "
            "fewer moves"
        )
    return dataclasses.replace(made, reference=ways, known=known)


def _stretch(values: jax.Array, place: np.ndarray, longest: int) -> jax.Array:
    """int32[L, I, C]: of values int32[L, 1, T], those from int[L, I] on."""
    time = jnp.asarray(place)[..., None] + jnp.arange(longest)
    time = jnp.minimum(time, values.shape[-1] - 1)
    return jax.vmap(lambda row, at: row[at])(values[:, 0], time)
