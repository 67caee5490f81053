"""Thinking and answering: explorations of a level, and the clean run that follows from them.

What a long chain of thought is to its final response (ReasonFlux-PRM, Zou et al. 2025, arXiv
2506.18896), attempts at a gauntlet are to the run after them. Nobody is told which moments decide
nor by which token, but a loss shows at once; a thinker that notices one drops the attempt and
begins anew. What it finds out is known exactly: which meanings of every moment are still possible,
and by how much a step narrowed them down.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Episode, Level, advance, begin
from envs.families.gauntlet import Gauntlet
from envs.oracle import TIES, solve
from icl.signals.lanes import Agent, Lanes, Snapshot, go, start

NEVER = -30.0  # logits of what is not done


class Thinker(struct.PyTreeNode):
    """How runs of thinking differ; numbers, all traced.

    Attributes:
        forgetful: a run ignores what it knows in a share of its steps that is uniform up to this.
        idle: it waits in a share of them that is uniform up to this.
    """

    forgetful: float | jax.Array = 0.8
    idle: float | jax.Array = 0.4


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
        drop: float32[...], by how much the belief about its moment lost entropy, as a share of what
            that was before; 0 in answers, which are not asked to find out anything.
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


class Follower(struct.PyTreeNode):
    """The policy that answers: it plays what its template says, other tokens alike where that says
    nothing, and never waits. An Agent (icl/signals/lanes.py) whose memory is the template
    bool[M, A - 1] of the lane.

    Attributes:
        skill: how often it plays a token of the template, e^skill to 1 for any other.
    """

    skill: jax.Array

    def begin(self, env: Env, level: Level) -> jax.Array:
        """An empty template; ``following`` hands them out."""
        return jnp.zeros((env.bare.moments, env.num_actions - 1), bool)  # type: ignore[attr-defined]

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """What the template says of the place; memory stays as it is."""
        said = self.skill * memory[episode.state.place]
        return jnp.append(said, NEVER), memory


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
    share = share / share.sum()
    return -jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0.0).sum()


def think(
    env: Gauntlet,
    key: jax.Array,
    levels: Level,
    thinker: Thinker,
    budgets: jax.Array,
    steps: int,
) -> Thoughts:
    """Attempts one after the other: each ends with the walk, with the horizon, or where it loses.

    Args:
        env: a bare gauntlet of single tokens.
        key: consumed.
        levels: stacked on L.
        thinker: traced.
        budgets: int32[L, N], the steps of every run; P at most.
        steps: P.
    """
    keys = jax.random.split(key, budgets.shape)

    def level(level: Level, keys: jax.Array, budgets: jax.Array) -> Thoughts:
        found = solve(env.tabulate(level))
        fine = found.optimal & (found.execute.max(1, keepdims=True) > TIES)

        def lane(key: jax.Array, budget: jax.Array) -> Thoughts:
            return _lane(env, key, level, fine, thinker, budget, steps)

        return jax.vmap(lane)(keys, budgets)

    return jax.vmap(level)(levels, keys, budgets)


def _lane(
    env: Gauntlet,
    key: jax.Array,
    level: Level,
    fine: jax.Array,
    thinker: Thinker,
    budget: jax.Array,
    steps: int,
) -> Thoughts:
    """One run; ``fine`` bool[S, A] are the actions that are best where something can be won."""
    weights, dials = prior(env), env.dials
    habit_key, begin_key, *step_keys = jax.random.split(key, 2 + steps)
    habits = jax.random.uniform(habit_key, (2,)) * jnp.stack(
        [jnp.float32(thinker.forgetful), jnp.float32(thinker.idle)]
    )
    first = begin(env, begin_key, level)

    def step(carry: Any, given: Any) -> tuple[Any, Any]:
        before, support, template, ended = carry
        time, key = given
        choose_key, move_key = jax.random.split(key)
        episode = jax.tree.map(lambda x, y: jnp.where(ended, x, y), first, before)
        place = episode.state.place
        action = _choice(choose_key, support[place], habits)
        after = advance(env, move_key, level, episode, action)
        lost, token = after.state.lost == 1, jnp.minimum(action, dials - 1)
        known = jnp.where(action < dials, ruled(support[place], token, lost), support[place])
        was, now = entropy(weights, support[place]), entropy(weights, known)
        reached = env.milestone(level, after.state) > env.milestone(level, episode.state)
        reached |= after.timestep.reward > 0  # the last moment has no place behind it
        live = time < budget
        told = Record(
            observation=episode.timestep.observation,
            action=action,
            successor=after.timestep.observation,
            start=ended,
            answer=jnp.zeros((), bool),
            live=live,
            open=live,  # a loss ends the attempt
            optimal=live & fine[env.encode(level, episode.state), action],
            drop=jnp.where(live, (was - now) / jnp.maximum(was, TIES), 0.0),
            informs=live & (known != support[place]).any(),
        )
        later = (
            after,
            support.at[place].set(known),
            template.at[place, token].max(reached),
            lost | after.timestep.last,
        )
        kept = jax.tree.map(lambda x, y: jnp.where(live, x, y), later, carry)
        return kept, (told, after)

    carry = (
        first,
        jnp.ones((env.moments, dials + 1), bool),
        jnp.zeros((env.moments, dials), bool),
        jnp.ones((), bool),
    )
    given = (jnp.arange(steps), jnp.stack(step_keys))
    (_, _, template, _), (record, after) = jax.lax.scan(step, carry, given)
    return Thoughts(record, template, after)


def _choice(key: jax.Array, support: jax.Array, habits: jax.Array) -> jax.Array:
    """int32[]: a token that is sure to lead on, or one that is not known to lose; any where it
    forgets, and ``wait`` where it idles. ``habits`` float32[2], their chances."""
    idle_key, forget_key, token_key = jax.random.split(key, 3)
    dials = support.size - 1
    tokens = jnp.arange(dials)
    leads = jax.vmap(lambda token: ruled(support, token, jnp.zeros((), bool)))(tokens)
    safe = (leads == support).all(-1)
    wise = jnp.where(safe.any(), safe, leads.any(-1))
    wise |= jax.random.bernoulli(forget_key, habits[0])
    token = jax.random.categorical(token_key, jnp.where(wise, 0.0, NEVER))
    return jnp.where(jax.random.bernoulli(idle_key, habits[1]), dials, token).astype(jnp.int32)


def answers(
    env: Gauntlet, key: jax.Array, levels: Level, templates: jax.Array, skill: jax.Array
) -> tuple[Lanes, Snapshot]:
    """Clean runs, each after its template bool[L, N, M, A - 1]; the key is consumed."""
    agent = following(levels, skill)
    begun = start(agent, env, key, levels, templates.shape[1]).replace(memory=templates)
    return go(agent, env, levels, begun)


def following(levels: Level, skill: jax.Array) -> Follower:
    """Follower[L]."""
    return Follower(jnp.broadcast_to(skill, jax.tree.leaves(levels)[0].shape[:1]))


def truths(env: Gauntlet, levels: Level) -> jax.Array:
    """bool[L, M, A - 1]: the template that names every right token; of a moment that does not
    matter it says nothing."""
    named = levels.right[..., :1] == jnp.arange(env.dials)
    return named & levels.decisive[..., None]


def recorded(env: Gauntlet, levels: Level, lanes: Lanes) -> Record:
    """Record[L, N, T] of clean runs."""

    def level(level: Level, lanes: Lanes) -> Record:
        found = solve(env.tabulate(level))
        fine = found.optimal & (found.execute.max(1, keepdims=True) > TIES)
        seen = jax.vmap(lambda index: env.observe(level, env.decode(level, index)))(
            jnp.arange(env.num_states)
        )
        state, after = lanes.state[:, :-1], lanes.state[:, 1:]
        none = jnp.zeros(lanes.live.shape, bool)
        hope = found.execute.max(1) > TIES
        return Record(
            observation=seen[state],
            action=lanes.action,
            successor=seen[after],
            start=none.at[:, 0].set(True),
            answer=~none,
            live=lanes.live,
            open=lanes.live & hope[state],
            optimal=lanes.live & fine[state, lanes.action],
            drop=jnp.zeros(lanes.live.shape),
            informs=none,
        )

    return jax.vmap(level)(levels, lanes)


def after_thinking(thought: Record, answer: Record) -> Record:
    """Record[..., P + T]: the live steps of a run's thinking [..., P], then those of its answer
    [..., T], packed."""
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=2), thought, answer)
    order = jnp.argsort(~both.live, axis=-1, stable=True)

    def packed(x: jax.Array) -> jax.Array:
        index = order.reshape(*order.shape, *(1,) * (x.ndim - order.ndim))
        return jnp.take_along_axis(x, index, axis=2)

    return jax.tree.map(packed, both)


def forks(
    agent: Agent,
    env: Env,
    key: jax.Array,
    levels: Level,
    after: Episode,
    memory: Any,
    count: int,
) -> jax.Array:
    """float32[L, n]: what ``count`` forks of Episode[L, n] earn from there on, in the mean: the
    automatic label of a step that led there (Wang et al. 2024, arXiv 2312.08935), soft.

    Args:
        agent: of each level, stacked on L.
        env: the family.
        key: consumed.
        levels: stacked on L.
        after: the episodes; one that is over earns nothing any more.
        memory: of the agent, stacked on [L, n].
        count: K.
    """
    shape = after.time.shape

    def many(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, count, axis=1)

    keys = jax.random.split(key, (shape[0], shape[1] * count))
    before = jnp.full(keys.shape, -1, jnp.int32)
    begun = Snapshot(jax.tree.map(many, after), jax.tree.map(many, memory), before, keys)
    played, _ = go(agent, env, levels, begun, many(after.time))
    return played.returns.reshape(*shape, count).mean(-1)


def worth(env: Gauntlet, levels: Level, templates: jax.Array, skill: jax.Array) -> jax.Array:
    """float32[L, N]: the exact success of the Follower after each template bool[L, N, M, A - 1]:
    it never waits, so every decisive moment is passed or not by itself."""
    chance = jax.nn.softmax(skill * templates, axis=-1)  # [L, N, M, A - 1]
    leads = truths(env, levels) | ~levels.decisive[..., None]
    return jnp.where(leads[:, None], chance, 0.0).sum(-1).prod(-1)
