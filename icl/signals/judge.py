"""The judge: a causal transformer over whole steps, with one head for steps and one for runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Interface, ModelConfig, Parameters, Transformer, linear
from icl.signals.thinking import Record

SIZES = ModelConfig(width=48, layers=2, heads=2)


class Judge(nnx.Module):
    """Tokens of judged steps in, two numbers at each out."""

    def __init__(self, config: ModelConfig, interface: Interface, rngs: nnx.Rngs):
        self.trunk = Transformer(config, interface, rngs)
        self.heads = linear(config.width, 2, 1.0, rngs, jnp.dtype(config.dtype))

    def __call__(self, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
        """float32[B, S] each, of Tokens[B, S]: the score of the step, and of a run that thought
        until here."""
        said = self.heads(self.trunk.features(tokens)).astype(jnp.float32)
        return said[..., 0], said[..., 1]


class Lesson(struct.PyTreeNode):
    """Runs that a judge learns from, B of them.

    Attributes:
        record: Record[B, S].
        step: float32[B, S], what is to be said of every live step.
        run: float32[B], what is to be said where thinking ends.
        thinks: bool[B], it does: runs without thinking have no say in the second head.
    """

    record: Record
    step: jax.Array
    run: jax.Array
    thinks: jax.Array


class Course(struct.PyTreeNode):
    """How it is taught; numbers, traced but for the counts.

    Attributes:
        learning_rate: of Adam, at the peak: a line up over a tenth of the updates, a cosine down.
        final: λ, the weight of the second head's error; that of step labels is much smaller, and
            at 1 the judge hardly learned what was met before.
        updates: how many; static.
        batch: runs of one update; static.
    """

    learning_rate: float | jax.Array = 3e-3
    final: float | jax.Array = 0.1
    updates: int = struct.field(pytree_node=False, default=800)
    batch: int = struct.field(pytree_node=False, default=64)


def define(
    interface: Interface, key: jax.Array, config: ModelConfig = SIZES
) -> tuple[nnx.GraphDef, Parameters]:
    """The judge's definition and its parameters before it is taught; the key is consumed."""
    shape = nnx.eval_shape(lambda: Judge(config, interface, nnx.Rngs(0)))
    return nnx.graphdef(shape), _parameters(config, interface, key)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _parameters(config: ModelConfig, interface: Interface, key: jax.Array) -> Parameters:
    return nnx.state(Judge(config, interface, nnx.Rngs(key)))


def tokens(record: Record) -> Tokens:
    """Tokens[..., S] of Record[..., S]: each a whole step with its outcome, which a step's judge
    has read, too. Rewards are not told: nobody has checked the run."""
    none = jnp.zeros(record.action.shape)
    return Tokens(
        observation=record.observation,
        action=record.action,
        reward=none,
        terminated=none.astype(bool),
        successor=record.successor,
        start=record.start,
        cut=record.answer,  # the mark of an answer
    )


def read(graph: nnx.GraphDef, parameters: Parameters, record: Record) -> tuple[Any, Any]:
    """float32[B, S], float32[B] of Record[B, S], packed: the score of every step, and of the run
    where its thinking ends, or where it ends if it is all answer."""
    steps, runs = nnx.merge(graph, parameters)(tokens(record))
    return steps, jnp.take_along_axis(runs, ending(record)[..., None], axis=-1)[..., 0]


def ending(record: Record) -> jax.Array:
    """int32[...]: the number of the last live step of the thinking, or of a run without any."""
    thinks = record.live & ~record.answer
    among = jnp.where(thinks.any(-1, keepdims=True), thinks, record.live)
    time = jnp.arange(among.shape[-1])
    return jnp.where(among, time, 0).max(-1)


def error(
    graph: nnx.GraphDef, parameters: Parameters, lesson: Lesson, final: float | jax.Array
) -> jax.Array:
    """float32[]: the mean squared error over live steps, and λ times that over runs."""
    steps, runs = read(graph, parameters, lesson.record)
    live = lesson.record.live
    by_step = jnp.where(live, (steps - lesson.step) ** 2, 0.0).sum() / jnp.maximum(live.sum(), 1)
    away = jnp.where(lesson.thinks, (runs - lesson.run) ** 2, 0.0)
    return by_step + final * away.sum() / jnp.maximum(lesson.thinks.sum(), 1)


def taught(
    error: Callable[[Parameters, Any], jax.Array],
    parameters: Parameters,
    key: jax.Array,
    lessons: Any,
    course: Course,
) -> tuple[Parameters, jax.Array]:
    """Adam on an error.

    Args:
        error: float32[] of parameters and a batch.
        parameters: at the start.
        key: consumed.
        lessons: stacked on B; batches are drawn among them with replacement.
        course: the numbers.

    Returns:
        The parameters after ``course.updates`` updates, and the error float32[updates] before each.
    """
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.95))
    count = jax.tree.leaves(lessons)[0].shape[0]

    def update(carry: Any, given: Any) -> tuple[Any, jax.Array]:
        parameters, moments = carry
        number, key = given
        chosen = jax.random.randint(key, (course.batch,), 0, count)
        batch = jax.tree.map(lambda x: x[chosen], lessons)
        found, slope = jax.value_and_grad(error)(parameters, batch)
        direction, moments = optimiser.update(slope, moments)
        fall = 0.5 + 0.5 * jnp.cos(jnp.pi * number / course.updates)
        rate = course.learning_rate * jnp.minimum(10 * (number + 1) / course.updates, fall)
        better = jax.tree.map(lambda old, step: old - rate * step, parameters, direction)
        return (better, moments), found

    given = jnp.arange(course.updates), jax.random.split(key, course.updates)
    (parameters, _), errors = jax.lax.scan(update, (parameters, optimiser.init(parameters)), given)
    return parameters, errors


def teach(
    graph: nnx.GraphDef, parameters: Parameters, key: jax.Array, lesson: Lesson, course: Course
) -> tuple[Parameters, jax.Array]:
    """The judge's parameters after its course, as ``taught``; the key is consumed."""
    return taught(
        lambda parameters, batch: error(graph, parameters, batch, course.final),
        parameters, key, lesson, course,
    )  # fmt: skip
