"""Answers: what a policy writes from a restored world, action by action, until it says END.

A table policy says END by columns of its own behind the actions: column A + j is END after j
actions were written, so that a state where one step ends and the next begins can tell the two. In
play END cannot be chosen, and actions have the logits that writing gave them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agents.ppo import chosen
from envs.core import Env, Level, advance
from icl.signals.instances import Instances
from icl.signals.lanes import Snapshot
from icl.signals.similarity import ratio

BAD = -1.0  # paid for what is no answer


class Answers(struct.PyTreeNode):
    """G answers to each of I instances in L levels, of at most W actions and END.

    Attributes:
        state: int32[L, I, G, W + 1], numbers, before each word.
        word: int32[L, I, G, W + 1], the column that was chosen: an action, or END after j of them.
        log: float32[L, I, G, W + 1], its log-probability.
        live: bool[L, I, G, W + 1], it was written.
        visited: int32[L, I, G, W + 1], the number of the state after it.
        length: int32[L, I, G], actions before END.
        formed: bool[L, I, G], END was said in time, and nothing after the episode was over.
    """

    state: jax.Array
    word: jax.Array
    log: jax.Array
    live: jax.Array
    visited: jax.Array
    length: jax.Array
    formed: jax.Array

    @property
    def words(self) -> jax.Array:
        """int32[L, I, G], words written, END among them."""
        return self.live.sum(-1)


def legal(actions: int, columns: int, time: jax.Array) -> jax.Array:
    """bool[..., columns]: what can be written after int32[...] actions: one more, or its END."""
    column = jnp.arange(columns)
    return (column < actions) | (column == actions + time[..., None])


def write(
    scores: jax.Array, env: Env, levels: Level, snapshot: Snapshot, key: jax.Array,
    *, group: int, longest: int,
) -> Answers:  # fmt: skip
    """Writes ``group`` answers from each snapshot; each plays on in its own copy of the world.

    Args:
        scores: float32[L, S, A + E], E > W.
        env: the family.
        levels: stacked on L.
        snapshot: Snapshot[L, I].
        key: consumed.
        group: G.
        longest: W.
    """
    actions = env.num_actions

    def answer(scores: jax.Array, level: Level, lane: Snapshot, key: jax.Array) -> Answers:
        def number(state) -> jax.Array:
            return jnp.asarray(env.encode(level, state), jnp.int32)

        def word(carry, time: jax.Array):
            episode, live, formed = carry
            state, over = number(episode.state), episode.timestep.last
            row = scores[state]
            logits = jnp.append(row[:actions], row[actions + time])
            word_key, step_key = jax.random.split(jax.random.fold_in(key, time))
            chose = jax.random.categorical(word_key, logits).astype(jnp.int32)
            ends = chose == actions
            after = advance(env, step_key, level, episode, jnp.minimum(chose, actions - 1))
            after = jax.tree.map(lambda new, old: jnp.where(live & ~ends, new, old), after, episode)
            column = chose + jnp.where(ends, time, 0)
            told = state, column, chosen(logits, chose), live, number(after.state)
            formed = formed | (live & ends)
            return (after, live & ~ends & ~over, formed), told

        begin = (lane.episode, jnp.ones((), bool), jnp.zeros((), bool))
        (_, _, formed), told = jax.lax.scan(word, begin, jnp.arange(longest + 1))
        state, words, log, live, visited = told
        length = (live & (words < actions)).sum()
        return Answers(state, words, log, live, visited, length, formed)

    def level(scores: jax.Array, level: Level, lanes: Snapshot, keys: jax.Array) -> Answers:
        many = jax.vmap(answer, in_axes=(None, None, None, 0))
        return jax.vmap(many, in_axes=(None, None, 0, 0))(scores, level, lanes, keys)

    keys = jax.random.split(key, (*snapshot.before.shape, group))
    return jax.vmap(level)(scores, levels, snapshot, keys)


def paid(answers: Answers, instances: Instances) -> jax.Array:
    """float32[L, I, G]: how alike an answer and what it is held against are, the nearest where
    there are several; −1 for what is no answer. The answer comes first, the reference second."""
    told = answers.visited if instances.visits else answers.word

    def instance(told, length, formed, reference, known, much) -> jax.Array:
        def one(told: jax.Array, length: jax.Array) -> jax.Array:
            alike = jax.vmap(lambda held: ratio(told, length, held, much))(reference)
            return jnp.where(known, alike, 0.0).max()

        return jnp.where(formed, jax.vmap(one)(told[:, :-1], length), BAD)

    held = instances.reference, instances.known, instances.length
    return jax.vmap(jax.vmap(instance))(told, answers.length, answers.formed, *held)
