"""Thinking: attempts at a level whose meaning is not told, one after the other.

What a long chain of thought is to its final response (ReasonFlux-PRM, Zou et al. 2025, arXiv
2506.18896), attempts at a gauntlet are to the run after them (icl/signals/answering.py). Nobody is
told which moments decide nor by which token, but a loss shows at once; a thinker that notices one
drops the attempt and begins anew. What it finds out is known exactly: which meanings of every
moment are still possible, and by how much a step narrowed them down.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Episode, Level, advance, begin
from envs.families.gauntlet import Gauntlet
from envs.oracle import TIES, solve

NEVER = -30.0  # logits of what is not done


class Mind(Protocol):
    """Who thinks in one lane. Both methods are pure."""

    def begin(self, key: jax.Array) -> Any:
        """The memory before the first step; the key is consumed."""
        ...

    def act(self, key: jax.Array, sight: Sight, memory: Any) -> tuple[jax.Array, Any]:
        """An action int32[], and the memory after it. The key is consumed."""
        ...


class Sight(struct.PyTreeNode):
    """What there is to act on.

    Attributes:
        observation: int32[F].
        before: int32[], the action chosen last; -1 at first.
        successor: int32[F], the observation that it led to; -1 at first.
        start: bool[], an attempt begins here.
        time: int32[], steps thought.
        support: bool[A], what is still possible of the moment; whoever is no exact thinker does not
            look at it.
    """

    observation: jax.Array
    before: jax.Array
    successor: jax.Array
    start: jax.Array
    time: jax.Array
    support: jax.Array


class Thinker(struct.PyTreeNode):
    """A Mind that goes by what it knows, as often as it thinks of it: it plays a token that is sure
    to lead on, or one that is not known to lose. Its runs differ. Numbers, all traced.

    Attributes:
        forgetful: a run plays any token in a share of its steps that is uniform up to this.
        idle: it waits in a share of them that is uniform up to this.
    """

    forgetful: float | jax.Array = 0.8
    idle: float | jax.Array = 0.4

    def begin(self, key: jax.Array) -> jax.Array:
        """float32[2]: how often it forgets, and idles."""
        most = jnp.stack([jnp.float32(self.forgetful), jnp.float32(self.idle)])
        return most * jax.random.uniform(key, (2,))

    def act(self, key: jax.Array, sight: Sight, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        """As above."""
        idle_key, forget_key, token_key = jax.random.split(key, 3)
        support, dials = sight.support, sight.support.size - 1
        leads = jax.vmap(lambda token: ruled(support, token, jnp.zeros((), bool)))(
            jnp.arange(dials)
        )
        safe = (leads == support).all(-1)
        wise = jnp.where(safe.any(), safe, leads.any(-1))
        wise |= jax.random.bernoulli(forget_key, memory[0])
        token = jax.random.categorical(token_key, jnp.where(wise, 0.0, NEVER))
        idles = jax.random.bernoulli(idle_key, memory[1])
        return jnp.where(idles, dials, token).astype(jnp.int32), memory


class Record(struct.PyTreeNode):
    """Steps as a judge reads them, and what is known of them; ``...`` is usually [L, N, S].

    Attributes:
        observation: int32[..., F], before acting.
        action: int32[...].
        successor: int32[..., F], the observation that it led to.
        start: bool[...], an attempt, or the answer, begins here.
        answer: bool[...], a step of the answer; else of the thinking.
        live: bool[...], the step took place.
        open: bool[...], and before it the run could still win.
        optimal: bool[...], the action is in the oracle's optimal set, and something can be won.
        promise: float32[...], by how much the step could be expected to lower the entropy of the
            belief about its moment, as a share of the most that any step there could promise; 0 in
            answers, which are not asked to find out anything.
        drop: float32[...], by how much it did, as a share of what the entropy was; 0 in answers.
        informs: bool[...], it ruled something out.
    """

    observation: jax.Array
    action: jax.Array
    successor: jax.Array
    start: jax.Array
    answer: jax.Array
    live: jax.Array
    open: jax.Array
    optimal: jax.Array
    promise: jax.Array
    drop: jax.Array
    informs: jax.Array

    @property
    def good(self) -> jax.Array:
        """bool[...]: the truth that step scores are held against."""
        return self.optimal | self.informs

    @property
    def detour(self) -> jax.Array:
        """bool[...]: not the best that could be done, but something was learned by it."""
        return self.informs & ~self.optimal


class Thoughts(struct.PyTreeNode):
    """N runs of thinking in each of L levels.

    Attributes:
        record: Record[L, N, P].
        template: bool[L, N, M, A - 1], the sub-goal events: tokens that led past a decisive moment.
        after: Episode[L, N, P], after every step.
    """

    record: Record
    template: jax.Array
    after: Episode


def check(env: Env) -> Gauntlet:
    """The family, if thinking is known about there.

    Raises:
        ValueError: it is no bare gauntlet whose moves are single tokens.
    """
    if not isinstance(env, Gauntlet) or env.spelling != 1:
        raise ValueError(
            f"{type(env).__name__}: thinking is defined in gauntlet, unwrapped, with spelling=1"
        )
    return env


def prior(env: Gauntlet) -> jax.Array:
    """float32[A]: of one moment: each token is the right one, and last: it does not matter. Moments
    are taken one by one, as though each were decisive with probability ``density``."""
    dials = env.dials
    right = jnp.full(dials, jnp.float32(env.density) / dials)
    return jnp.append(right, 1 - jnp.float32(env.density))


def ruled(support: jax.Array, token: jax.Array, lost: jax.Array) -> jax.Array:
    """bool[A]: what remains possible of a moment of which bool[A] was, after a token int32[] was
    played there and lost bool[] or led on. Right or harmless it leads on, wrong it loses."""
    meaning = jnp.arange(support.size)
    leads = (meaning == token) | (meaning == support.size - 1)
    return support & (leads ^ lost)


def entropy(weights: jax.Array, support: jax.Array) -> jax.Array:
    """float32[]: in nats, of float32[A] on what bool[A] leaves possible."""
    share = jnp.where(support, weights, 0.0)
    share = share / jnp.maximum(share.sum(), TIES)
    return -jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0.0).sum()


def promises(weights: jax.Array, support: jax.Array) -> jax.Array:
    """float32[A - 1] in [0, 1]: the expected drop of the belief's entropy by every token, as a
    share of the largest; 0 for all where nothing is left to be found out."""
    whole = jnp.where(support, weights, 0.0)

    def token(token: jax.Array) -> jax.Array:
        ends = jnp.stack([ruled(support, token, jnp.asarray(lost)) for lost in (False, True)])
        chance = jnp.where(ends, weights, 0.0).sum(-1) / whole.sum()
        after = jax.vmap(lambda end: entropy(weights, end))(ends)
        return entropy(weights, support) - (chance * jnp.where(chance > 0, after, 0.0)).sum()

    gain = jax.vmap(token)(jnp.arange(support.size - 1))
    return jnp.where(gain.max() > TIES, jnp.maximum(gain, 0.0) / jnp.maximum(gain.max(), TIES), 0.0)


def think(
    env: Gauntlet, key: jax.Array, levels: Level, mind: Mind, budgets: jax.Array, steps: int
) -> Thoughts:
    """Attempts one after the other: each ends with the walk, with the horizon, or where it loses.

    Args:
        env: a bare gauntlet of single tokens.
        key: consumed.
        levels: stacked on L.
        mind: who thinks in all lanes.
        budgets: int32[L, N], the steps of every run; P at most.
        steps: P.
    """
    keys = jax.random.split(key, budgets.shape)

    def level(level: Level, keys: jax.Array, budgets: jax.Array) -> Thoughts:
        fine, _ = chances(env, level)

        def lane(key: jax.Array, budget: jax.Array) -> Thoughts:
            return _lane(env, key, level, fine, mind, budget, steps)

        return jax.vmap(lane)(keys, budgets)

    return jax.vmap(level)(levels, keys, budgets)


def chances(env: Gauntlet, level: Level) -> tuple[jax.Array, jax.Array]:
    """bool[S, A]: what is best where something can be won; bool[S]: where that is."""
    found = solve(env.tabulate(level))
    hope = found.execute.max(1) > TIES
    return found.optimal & hope[:, None], hope


def _lane(
    env: Gauntlet,
    key: jax.Array,
    level: Level,
    fine: jax.Array,
    mind: Mind,
    budget: jax.Array,
    steps: int,
) -> Thoughts:
    """One run; ``fine`` is bool[S, A] of ``chances``."""
    weights, dials = prior(env), env.dials
    mind_key, begin_key, scan_key = jax.random.split(key, 3)
    first = begin(env, begin_key, level)

    def step(carry: Any, given: Any) -> tuple[Any, Any]:
        before, last, support, template, ended, memory = carry
        time, key = given
        act_key, move_key = jax.random.split(key)
        episode = jax.tree.map(lambda x, y: jnp.where(ended, x, y), first, before)
        place = episode.state.place
        seen, led = episode.timestep.observation, before.timestep.observation
        led = jnp.where(time == 0, -1, led)
        sight = Sight(seen, last, led, ended, time, support[place])
        action, memory = mind.act(act_key, sight, memory)
        after = advance(env, move_key, level, episode, action)
        lost, token = after.state.lost == 1, jnp.minimum(action, dials - 1)
        known = jnp.where(action < dials, ruled(support[place], token, lost), support[place])
        was, now = entropy(weights, support[place]), entropy(weights, known)
        promised = jnp.append(promises(weights, support[place]), 0.0)[action]
        reached = env.milestone(level, after.state) > env.milestone(level, episode.state)
        reached |= after.timestep.reward > 0  # the last moment has no place behind it
        live = time < budget
        told = Record(
            observation=seen,
            action=action,
            successor=after.timestep.observation,
            start=ended,
            answer=jnp.zeros((), bool),
            live=live,
            open=live,  # a loss ends the attempt
            optimal=live & fine[env.encode(level, episode.state), action],
            promise=jnp.where(live, promised, 0.0),
            drop=jnp.where(live, (was - now) / jnp.maximum(was, TIES), 0.0),
            informs=live & (known != support[place]).any(),
        )
        later = (
            after,
            action,
            support.at[place].set(known),
            template.at[place, token].max(reached),
            lost | after.timestep.last,
            memory,
        )
        kept = jax.tree.map(lambda x, y: jnp.where(live, x, y), later, carry)
        return kept, (told, after)

    carry = (
        first,
        jnp.int32(-1),
        jnp.ones((env.moments, dials + 1), bool),
        jnp.zeros((env.moments, dials), bool),
        jnp.ones((), bool),
        mind.begin(mind_key),
    )
    given = (jnp.arange(steps), jax.random.split(scan_key, steps))
    (_, _, _, template, _, _), (record, after) = jax.lax.scan(step, carry, given)
    return Thoughts(record, template, after)
