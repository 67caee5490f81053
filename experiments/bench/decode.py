"""Part ``decode``: rollouts in context, our segment-grown cache against three others.

C contexts of P shown tokens, N rows on each, T steps. One go prefills the contexts and plays: the
model alone (the next token is drawn beforehand but for the action, which is sampled from the
logits), or with an environment, as an evaluation does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from agents.tokens import Tokens
from agents.transformer import Interface, ModelConfig, define
from envs.keys import new_key
from envs.wrappers import pad
from experiments.bench import training
from experiments.bench.actors import Naive, Plain
from experiments.bench.clock import OURS, Race, Side, compiled, first_line, timed
from experiments.bench.peer import Peer, PeerError, Peers
from experiments.bench.sizes import Model, Sizes
from icl.actor import Actor, ModelActor
from icl.contexts import Context
from icl.episodes import SEGMENT, play

ALONE = "the model alone"
PLAYED = "with an environment"
BODY = ModelConfig(width=64, layers=2, heads=2)
GROWN = f"prefix shared by its rows; the own cache grows in segments of {SEGMENT}"
PLAIN = "a cache of full size for every row, its copy of the prefix in it; attends over all, masked"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """Both ways at every T."""
    face = Interface(fields=2, symbols=38, actions=4)
    graph, parameters = define(BODY, face, new_key(0))
    own = ModelActor(parameters, graph)
    for steps in sizes.lengths:
        shown = _shown(sizes, face)
        lengths = jnp.full((sizes.groups, sizes.rows), sizes.shown, jnp.int32)
        told = _told(sizes, face, steps)
        amount = lengths.size * steps
        plain, naive = Plain(parameters, graph, steps), Naive(parameters, graph, steps)
        sides = [
            _side(OURS, GROWN, amount, rollout, own, shown, lengths, told),
            _side("plain cache", PLAIN, amount, rollout, plain, shown, lengths, told),
        ]
        least = min(sizes.naive, steps)
        first = jax.tree.map(lambda x, n=least: x[:n], told)
        what = f"the whole row again at every step; timed over {least} steps, all alike"
        sides.append(
            _side(
                "recomputation", what, lengths.size * least, rollout, naive, shown, lengths, first
            )
        )
        try:
            with peers.open("torch_decode") as peer:
                rival = _torch(peer, sizes, face, steps, amount)
                yield Race(ALONE, f"T = {steps:,}", steps, "tokens", (*sides, rival))
        except PeerError as error:
            absent = Side("PyTorch", "", amount, None, reason=first_line(error))
            yield Race(ALONE, f"T = {steps:,}", steps, "tokens", (*sides, absent))
        yield Race(
            PLAYED,
            f"T = {steps:,}",
            steps,
            "tokens",
            tuple(
                _side(
                    who, what, amount, _played, actor, shown, lengths, _levels(sizes, face, steps)
                )
                for who, what, actor in ((OURS, GROWN, own), ("plain cache", PLAIN, plain))
            ),
        )


def rollout(
    actor: Actor, key: jax.Array, shown: Context, lengths: jax.Array, told: Tokens
) -> jax.Array:
    """int32[T, C, N]: the actions of rows int32[C, N] of lengths on contexts Context[C, P], that
    are told Tokens[T, C, N], in which each step's own action takes the place of the next one's."""
    memory = actor.read(shown, lengths)

    def step(carry: Any, inputs: Any) -> tuple[Any, jax.Array]:
        memory, action = carry
        time, key, token = inputs
        logits, memory = actor.logits(memory, token.replace(action=action), time)
        action = jax.random.categorical(key, logits).astype(jnp.int32)
        return (memory, action), action

    action, found, total = told.action[0], [], told.action.shape[0]
    for start in range(0, total, SEGMENT):
        count = min(SEGMENT, total - start)
        memory = actor.grow(memory, count)
        keys = jax.random.split(jax.random.fold_in(key, start), count)
        told_now = jax.tree.map(lambda x, s=start, n=count: x[s : s + n], told)
        steps = (start + jnp.arange(count), keys, told_now)
        (memory, action), actions = jax.lax.scan(step, (memory, action), steps)
        found.append(actions)
    return jnp.concatenate(found)


def _played(
    actor: Actor, key: jax.Array, shown: Context, lengths: jax.Array, families: Any
) -> jax.Array:
    env, levels = families
    greedy = jnp.zeros(lengths.shape[1], bool)
    return play(actor, key, [env], [levels], shown, lengths, greedy).returns


def _side(who: str, what: str, amount: float, function: Any, *given: Any) -> Side:
    actor, shown, lengths, rest = given
    number = [jnp.uint32(0)]

    def keyed(number: jax.Array, *arguments: Any) -> tuple[jax.Array, Any]:
        key = jax.random.fold_in(new_key(0), number)
        return number + 1, function(arguments[0], key, *arguments[1:])

    arguments = (actor, shown, lengths, rest)
    program, seconds = compiled(keyed, number[0], *arguments)

    def go() -> Any:
        number[0], found = program(number[0], *arguments)
        return found

    return Side(who, what, amount, timed(go), seconds)


def _torch(peer: Peer, sizes: Sizes, face: Interface, steps: int, amount: float) -> Side:
    body = {name: getattr(BODY, name) for name in ("width", "layers", "heads")}
    said = {name: getattr(face, name) for name in ("fields", "symbols", "actions")}
    counts = {"contexts": sizes.groups, "rows": sizes.rows}
    peer.ask("setup", **body, **said, **counts, prefix=sizes.shown, length=steps)
    what = "a preallocated cache for every row; attends over the slice written so far"
    return Side("PyTorch", what, amount, peer.run, note=peer.ask("version"))


def _shown(sizes: Sizes, face: Interface) -> Context:
    """Context[C, P] of random steps."""
    model = Model(BODY.width, BODY.layers, BODY.heads, sizes.shown, sizes.groups)
    said = {name: getattr(face, name) for name in ("fields", "symbols", "actions")}
    return training.random_context(model, said)


def _told(sizes: Sizes, face: Interface, steps: int) -> Tokens:
    """Tokens[T, C, N], random."""
    dice = np.random.default_rng(0)
    shape = (steps, sizes.groups, sizes.rows)
    seen = (*shape, face.fields)
    return Tokens(
        observation=jnp.asarray(dice.integers(0, face.symbols, seen), jnp.int32),
        action=jnp.asarray(dice.integers(0, face.actions, shape), jnp.int32),
        reward=jnp.asarray(dice.random(shape), jnp.float32),
        terminated=jnp.zeros(shape, bool),
        successor=jnp.asarray(dice.integers(0, face.symbols, seen), jnp.int32),
        start=jnp.zeros(shape, bool),
        cut=jnp.zeros(shape, bool),
    )


def _levels(sizes: Sizes, face: Interface, steps: int) -> tuple[Any, Any]:
    """(environment of T steps behind the interface, its levels, one a context)."""
    inner = envs.make("dark-room", size=5, horizon=steps)
    env = pad(inner, face.fields, face.symbols, face.actions)
    keys = jax.random.split(new_key(0), sizes.groups)
    return env, jax.jit(jax.vmap(env.level))(keys)
