"""The decision-pretrained transformer, DPT (Lee et al. 2023, arXiv 2306.14892).

A context is a state to act in, the query, and transitions of its level; at every position the
model says the expert's action in the query. How many trajectories are shown is drawn, from none to
all but the query's, so it learns what to make of few transitions and of many. It remembers nothing
of its own episode: at a test each step is a query.

    position   0    1      2            …    m              m + 1
    shows      q    s_1    s_2, came    …    s_m, came      q, came of step m
                           of step 1         of step m - 1

The query stands at the end again, because a token tells what came of the token before it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.tokens import Tokens, tokens_of
from agents.transformer import Parameters
from envs.core import static
from envs.rollout import Trajectories
from icl.actor import Actor
from icl.arms import Arm
from icl.contexts import Context, arrange
from icl.train import Program

ROWS = 256  # sequences that a test reads at the same time: it bounds the memory


class Pretraining(Program):
    """Training on queries; the arm says what the transitions are, and in what order."""

    def arranged(self, key: jax.Array, arm: Arm, groups: Trajectories) -> Context:
        """Context[n, (E - 1) * T + 2]: of the query trajectory one step, and the first of the
        other slots; step and number of slots are drawn uniformly.

        Raises:
            ValueError: the arm's contexts have no slots.
        """
        if arm.alone:
            raise ValueError("a query needs transitions of other trajectories: use arm bursty")
        deal_key, step_key, count_key = jax.random.split(key, 3)
        levels, slots, horizon = groups.valid.shape
        context = arrange(deal_key, arm, groups, jnp.zeros(levels, jnp.int32))
        own = context.slot[:, 1:2]
        shown = jax.random.randint(count_key, (levels, 1), 0, slots)
        whole = jnp.take_along_axis(context.slot, shown + 1, axis=1)
        step = jax.random.randint(step_key, (levels, 1), 0, own)
        place = jnp.arange((slots - 1) * horizon + 2)
        last = whole - own + 1
        query = (place == 0) | (place == last)
        index = jnp.where(query, step, jnp.minimum(own + place - 1, slots * horizon - 1))

        def at(x: jax.Array) -> jax.Array:
            return jnp.take_along_axis(x, index.reshape(*index.shape, *(1,) * (x.ndim - 2)), axis=1)

        steps, valid = jax.tree.map(at, context.steps), place <= last
        # No transition starts an episode and follows a cut at once: that marks the query.
        steps = steps.replace(start=steps.start | query, cut=steps.cut | query)
        source = jnp.where(valid, at(context.source), -1)
        ends = jnp.concatenate([context.slot[:, :1] + 1, context.slot[:, 2:] - own + 1], axis=1)
        ends = jnp.minimum(ends[:, :-1], last)
        slot = jnp.concatenate([context.slot[:, :1], ends, last + 1], axis=1)
        return Context(steps, valid, query & valid, source, slot)

    def tokens(self, context: Context) -> Tokens:
        """What came of the query is no one's business: its action is to be said."""
        return _blank(context.tokens, jnp.arange(context.valid.shape[1]) == 1)

    def labels(self, context: Context) -> jax.Array:
        """int32[B, P]: everywhere the action of the query."""
        action = context.steps.action
        return jnp.broadcast_to(action[:, :1], action.shape)

    def actor(self, parameters: Parameters) -> Actor:
        """Asks at every step."""
        return Asking(parameters, self.graph)


class Asking(struct.PyTreeNode):
    """A pretrained model that is asked at every step, about what it sees alone.

    Attributes:
        parameters: the model's.
        graph: its definition.
    """

    parameters: Parameters
    graph: nnx.GraphDef = static(None)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The transitions as they are: the query comes before them, so nothing can be prefilled."""
        return contexts.steps, lengths

    def grow(self, memory: Any, steps: int) -> Any:
        """It does not remember its own episode."""
        return memory

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """What it says at the end of each row's transitions, float32[C, N, A]."""
        steps, lengths = memory
        model = nnx.merge(self.graph, self.parameters)
        shown = tokens_of(steps)
        rows = lengths.shape[1]

        def one(inputs: tuple[Any, ...]) -> jax.Array:
            """float32[N, A] of one context."""
            shown, steps, length, query = inputs
            asked = jax.vmap(lambda n, q: _asked(shown, steps, n, q))(length, query)
            said = model(asked)
            return jnp.take_along_axis(said, (length + 1)[:, None, None], axis=1)[:, 0]

        given = (shown, steps, lengths, tokens.observation)
        return jax.lax.map(one, given, batch_size=max(1, ROWS // rows)), memory


def _asked(shown: Tokens, steps: Any, length: jax.Array, query: jax.Array) -> Tokens:
    """Tokens[P + 2]: a query int32[F] around the first ``length`` of P transitions; what is behind
    it is anything."""
    place = jnp.arange(shown.action.shape[0] + 2)
    before = jnp.clip(place - 1, 0, shown.action.shape[0] - 1)
    is_query = (place == 0) | (place == length + 1)
    row = jax.tree.map(lambda x: x[before], shown)
    last = jnp.maximum(length - 1, 0)
    came = jax.tree.map(lambda x: x[last], steps)
    at_end = place == length + 1

    def outcome(now: jax.Array, came: jax.Array) -> jax.Array:
        return jnp.where(at_end.reshape(-1, *(1,) * came.ndim), came, now)

    seen = is_query.reshape(-1, *(1,) * query.ndim)
    row = row.replace(
        observation=jnp.where(seen, query, row.observation),
        action=outcome(row.action, came.action),
        reward=outcome(row.reward, came.reward),
        terminated=outcome(row.terminated, came.terminated),
        successor=outcome(row.successor, came.successor),
        start=row.start | is_query,
        cut=row.cut | is_query,
    )
    return _blank(row, place <= 1)


def _blank(tokens: Tokens, where: jax.Array) -> Tokens:
    """Tokens[…, P] without an outcome where bool[P] says so."""
    nothing = 0 if tokens.successor.dtype == jnp.uint8 else -1
    seen = where.reshape(-1, *(1,) * (tokens.successor.ndim - tokens.action.ndim))
    return tokens.replace(
        action=jnp.where(where, -1, tokens.action),
        reward=jnp.where(where, 0.0, tokens.reward),
        terminated=tokens.terminated & ~where,
        successor=jnp.where(seen, nothing, tokens.successor),
    )
