"""Learning from an expert: step instances (SRL), the outcome of play, and imitation, side by side.

The policy is a table with columns for END behind its actions (writing.py). Lessons are lists of
steps with credit, whoever gives them, and one learner (agents/grpo.py) takes them all, until what a
level may generate is used up. The expert's own actions cost nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct

from agents import grpo
from agents.grpo import NEVER, GRPOConfig
from agents.ppo import chosen
from envs.core import static
from icl.signals.credit import SMALL
from icl.signals.instances import LONGEST, Instances
from icl.signals.lanes import Lanes, Table
from icl.signals.methods import Chains
from icl.signals.truth import success
from icl.signals.world import World
from icl.signals.writing import legal, paid, write


class Lesson(struct.PyTreeNode):
    """Attributes:
    steps: grpo.Steps[L, N, T].
    actions: int32[L], generated for it, those of groups that were not kept among them.
    asked: int32[L], groups that were drawn.
    kept: int32[L], groups that are learned from.
    """

    steps: grpo.Steps
    actions: jax.Array
    asked: jax.Array
    kept: jax.Array


class Teacher(Protocol):
    """Who gives lessons."""

    def __call__(self, world: World, scores: jax.Array, key: jax.Array, /) -> Lesson:
        """One lesson for every level's policy float32[L, S, A + E]; the key is consumed."""
        ...


class Stepwise(struct.PyTreeNode):
    """SRL (arXiv 2510.25992): groups of answers to step instances, paid by how alike they are to
    the expert's step, each group's lead in standard deviations. A group whose rewards differ too
    little is left out and another instance is drawn in its place (equation 5), each instance once
    in a lesson: where a level has no more of them the batch stays smaller.

    Attributes:
        instances: [L, I].
        batch: groups in a lesson, at most.
        spread: ε, standard deviation of a group's rewards above which it is kept; below 0 every
            group is.
        group: G, answers to an instance; static.
        longest: W, actions of an answer; static.
    """

    instances: Instances
    batch: int | jax.Array = 4
    spread: float | jax.Array = 0.01
    group: int = static(8)
    longest: int = static(LONGEST)

    def __call__(self, world: World, scores: jax.Array, key: jax.Array) -> Lesson:
        """One lesson; the key is consumed."""
        write_key, order_key = jax.random.split(key)
        # All instances are answered, which one program does as fast; only those that would have
        # been drawn before the batch was full count, in what is learned from and in what it cost.
        answers = write(
            scores, world.env, world.levels, self.instances.snapshot, write_key,
            group=self.group, longest=self.longest,
        )  # fmt: skip
        rewards = paid(answers, self.instances)
        spread = rewards.std(-1)
        lead = (rewards - rewards.mean(-1, keepdims=True)) / (spread[..., None] + SMALL)
        asked, kept = drawn(order_key, self.instances.there, spread > self.spread, self.batch)
        there = answers.live & asked[..., None, None]
        time = jnp.broadcast_to(jnp.arange(self.longest + 1), there.shape)
        can = legal(world.env.num_actions, scores.shape[-1], time)
        steps = grpo.Steps(
            state=answers.state, action=answers.word, log=answers.log,
            credit=jnp.where((spread > SMALL)[..., None], lead, 0.0)[..., None] * there,
            counts=there & kept[..., None, None], legal=can,
        )  # fmt: skip
        flat = jax.tree.map(lambda x: x.reshape(x.shape[0], -1, *x.shape[3:]), steps)
        return Lesson(flat, there.sum((1, 2, 3)), asked.sum(-1), kept.sum(-1))


class Playing(struct.PyTreeNode):
    """GRPO on the outcome of whole runs, in which END cannot be chosen.

    Attributes:
        runs: G, of a lesson; static.
    """

    runs: int = static(8)

    def __call__(self, world: World, scores: jax.Array, key: jax.Array) -> Lesson:
        """One lesson; the key is consumed."""
        actions = world.env.num_actions
        signal = Chains(self.runs)(world, Table(scores[..., :actions]), key)
        lanes: Lanes = signal.lanes
        can = jnp.arange(scores.shape[-1]) < actions
        steps = grpo.Steps(
            state=lanes.state[..., :-1], action=lanes.action, log=lanes.log, credit=signal.credit,
            counts=lanes.live, legal=jnp.broadcast_to(can, (*lanes.live.shape, can.size)),
        )  # fmt: skip
        one = jnp.ones_like(signal.actions)
        return Lesson(steps, signal.actions, one, one * (lanes.returns.std(-1) > SMALL))


def drawn(
    key: jax.Array, there: jax.Array, good: jax.Array, batch: int | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws instances without replacement until ``batch`` good ones are found, or none is left.

    Args:
        key: consumed.
        there: bool[L, I], what can be drawn.
        good: bool[L, I], what is kept if it is drawn.
        batch: how many are wanted.

    Returns:
        bool[L, I], which are drawn; bool[L, I], which are kept.
    """
    order = jnp.where(there, jax.random.uniform(key, there.shape), 2.0)
    found = there & good
    before = (found[:, None] & (order[:, None] < order[..., None])).sum(-1)
    asked = there & (before < batch)
    return asked, asked & found


class Course(struct.PyTreeNode):
    """What learning came to at the start and after equal parts of the budget.

    Attributes:
        success: float32[L, P + 1], the exact expected return of each level's policy in play.
        updates: int32[L, P + 1], lessons learned by then.
        asked: int32[L], groups drawn in all.
        kept: int32[L], groups learned from in all.
    """

    success: jax.Array
    updates: jax.Array
    asked: jax.Array
    kept: jax.Array


def begin(policy: Table, longest: int = LONGEST) -> jax.Array:
    """float32[L, S, A + longest + 1]: a policy that says END as readily as an action with logit 0,
    after however many actions."""
    shape = (*policy.scores.shape[:2], longest + 1)
    return jnp.concatenate([policy.scores, jnp.zeros(shape)], axis=-1)


def learn(
    world: World,
    teachers: tuple[Teacher, ...],
    shares: tuple[float, ...],
    key: jax.Array,
    scores: jax.Array,
    config: GRPOConfig,
    budget: jax.Array,
    parts: int = 10,
) -> tuple[jax.Array, Course]:
    """Teachers one after the other, each until its share of the budget is used up.

    A level whose budget does not pay for another lesson is left as it is, as is one in which
    nothing can be asked. Each teacher begins with moments of its own.

    Args:
        world: the levels.
        teachers: who gives lessons.
        shares: up to which part of the budget, rising to 1.
        key: consumed.
        scores: float32[L, S, A + E], at the start.
        config: the learner's numbers.
        budget: int32[], actions that a level may generate.
        parts: P, how often success is told.

    Returns:
        float32[L, S, A + E] and the Course.
    """

    def worth(scores: jax.Array) -> jax.Array:
        return success(world.env, world.dynamics, scores[..., : world.env.num_actions])

    def taught(teacher: Teacher, limit: jax.Array, key: jax.Array, carry: Any) -> Any:
        def going(carry: Any) -> jax.Array:
            return ~carry[-1].all()

        def update(carry: Any) -> Any:
            time, learner, used, course, done = carry
            lesson = teacher(world, learner.scores, jax.random.fold_in(key, time))
            fits = ~done & (used + lesson.actions <= limit) & (lesson.actions > 0)
            counts = lesson.steps.counts & fits[:, None, None]
            better = grpo.improve(learner, lesson.steps.replace(counts=counts), config)
            learner = _where(fits, better, learner)
            used = used + jnp.where(fits, lesson.actions, 0)
            # A part shows the last state that it had paid for in full.
            reached = -(-parts * used // jnp.maximum(budget, 1))
            ahead = fits[:, None] & (jnp.arange(parts + 1) >= reached[:, None])
            course = Course(
                jnp.where(ahead, worth(learner.scores)[:, None], course.success),
                course.updates + ahead,
                course.asked + jnp.where(fits, lesson.asked, 0),
                course.kept + jnp.where(fits, lesson.kept, 0),
            )
            return time + 1, learner, used, course, done | ~fits | (used >= limit)

        scores, used, course = carry
        none = jnp.zeros(used.shape, bool)
        begun = (jnp.int32(0), grpo.start(scores, config), used, course, none)
        _, learner, used, course, _ = jax.lax.while_loop(going, update, begun)
        return learner.scores, used, course

    none = jnp.zeros(len(scores), jnp.int32)
    flat = jnp.broadcast_to(worth(scores)[:, None], (len(scores), parts + 1))
    carry = scores, none, Course(flat, jnp.zeros_like(flat, jnp.int32), none, none)
    for number, (teacher, share) in enumerate(zip(teachers, shares, strict=True)):
        limit = jnp.floor(share * budget).astype(jnp.int32)
        carry = taught(teacher, limit, jax.random.fold_in(key, number), carry)
    return carry[0], carry[2]


def imitate(
    world: World, run: Lanes, scores: jax.Array, config: GRPOConfig, updates: jax.Array
) -> tuple[jax.Array, Course]:
    """Behaviour cloning: the likelihood of all steps of the expert's runs, by the same optimiser,
    ``config.epochs`` passes an update. It generates nothing.

    Args:
        world: the levels.
        run: Lanes[L, 1, T] of the expert.
        scores: float32[L, S, A + E], at the start.
        config: the learner's numbers; clipping and divergence are not looked at.
        updates: int32[L, P + 1], how many each part may make in all, as another's Course has it.

    Returns:
        float32[L, S, A + E] and the Course.
    """
    actions = world.env.num_actions
    can = jnp.arange(scores.shape[-1]) < actions

    def likely(scores: jax.Array, run: Lanes) -> jax.Array:
        logits = jnp.where(can, scores[run.state[..., :-1]], NEVER)
        log = chosen(logits, run.action)
        return jnp.where(run.live, log, 0.0).sum()

    def update(carry: Any) -> Any:
        time, scores, moments, course = carry

        def epoch(carry: tuple[jax.Array, optax.OptState], _) -> tuple:
            scores, moments = carry
            slope = jax.grad(lambda x: -jax.vmap(likely)(x, run).sum())(scores)
            step, moments = config.optimiser().update(slope, moments)
            rate = config.learning_rate
            return (jax.tree.map(lambda old, new: old - rate * new, scores, step), moments), None

        fits = time < updates[:, -1]
        (better, moments), _ = jax.lax.scan(epoch, (scores, moments), length=config.epochs)
        scores = _where(fits, better, scores)
        now = success(world.env, world.dynamics, scores[..., :actions])
        ahead = time < updates
        seen = jnp.where(ahead, now[:, None], course.success)
        course = course.replace(success=seen, updates=course.updates + ahead)
        return time + 1, scores, moments, course

    none = jnp.zeros(len(scores), jnp.int32)
    first = success(world.env, world.dynamics, scores[..., :actions])
    flat = jnp.broadcast_to(first[:, None], updates.shape)
    course = Course(flat, jnp.zeros_like(updates), none, none)
    carry = (jnp.int32(0), scores, config.optimiser().init(scores), course)
    _, scores, _, course = jax.lax.while_loop(lambda c: c[0] < updates.max(), update, carry)
    return scores, course


def _where(fits: jax.Array, new: Any, old: Any) -> Any:
    """``new`` in the levels where bool[L] holds; leaves without levels (counters) as in ``new``."""

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape[:1] != fits.shape:
            return x
        return jnp.where(fits.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(pick, new, old)
