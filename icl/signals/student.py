"""A student that learns to think from the runs that were selected for it: behaviour cloning."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Parameters
from envs.core import static
from icl.signals.judge import Course, taught
from icl.signals.thinking import Record, Sight


def read_ahead(record: Record) -> Tokens:
    """Tokens[..., S] of Record[..., S]: each step with what came of the one before it, so that its
    action can be said."""

    def before(x: jax.Array, axis: int) -> jax.Array:
        rest = jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
        first = jnp.full_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis), -1)
        return jnp.concatenate([first, rest], axis=axis)

    none = jnp.zeros(record.action.shape)
    return Tokens(
        observation=record.observation,
        action=before(record.action, record.action.ndim - 1),
        reward=none,
        terminated=none.astype(bool),
        successor=before(record.successor, record.successor.ndim - 2),
        start=record.start,
        cut=none.astype(bool),
    )


def clone(
    graph: nnx.GraphDef, parameters: Parameters, key: jax.Array, record: Record, course: Course
) -> tuple[Parameters, jax.Array]:
    """Cross-entropy on the actions of the thinking in Record[B, S].

    Args:
        graph: of a Transformer that says actions.
        parameters: at the start.
        key: consumed.
        record: of the runs that are imitated.
        course: the numbers.

    Returns:
        The parameters, and the error float32[updates], in nats an action.
    """

    def error(parameters: Parameters, record: Record) -> jax.Array:
        said = nnx.merge(graph, parameters)(read_ahead(record))
        away = optax.softmax_cross_entropy_with_integer_labels(said, record.action)
        among = record.live & ~record.answer
        return jnp.where(among, away, 0.0).sum() / jnp.maximum(among.sum(), 1)

    return taught(error, parameters, key, record, course)


class Student(struct.PyTreeNode):
    """A Mind (icl/signals/thinking.py) that says what it learned, at temperature 1. It remembers
    its tokens [P] and reads them anew at every step.

    Attributes:
        parameters: of the transformer.
        blank: Tokens[P], what it remembers at first.
        graph: its definition.
    """

    parameters: Parameters
    blank: Tokens
    graph: Any = static(None)

    def begin(self, key: jax.Array) -> Tokens:
        """Nothing yet."""
        return self.blank

    def act(self, key: jax.Array, sight: Sight, memory: Tokens) -> tuple[jax.Array, Tokens]:
        """Notes what it sees, and says what it would do."""
        at = sight.time
        memory = memory.replace(
            observation=memory.observation.at[at].set(sight.observation),
            action=memory.action.at[at].set(sight.before),
            successor=memory.successor.at[at].set(sight.successor),
            start=memory.start.at[at].set(sight.start),
        )
        alone = jax.tree.map(lambda x: x[None], memory)
        said = nnx.merge(self.graph, self.parameters)(alone)[0, at]
        return jax.random.categorical(key, said).astype(jnp.int32), memory


def student(graph: nnx.GraphDef, parameters: Parameters, fields: int, steps: int) -> Student:
    """A Student that thinks for P = ``steps`` steps, of observations int32[F]."""
    none = jnp.zeros(steps)
    seen = jnp.zeros((steps, fields), jnp.int32)
    blank = Tokens(
        observation=seen,
        action=jnp.full(steps, -1, jnp.int32),
        reward=none,
        terminated=none.astype(bool),
        successor=seen - 1,
        start=none.astype(bool),
        cut=none.astype(bool),
    )
    return Student(parameters, blank, graph)
