"""Learning from a signal: the same number of generated actions, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents import grpo
from agents.grpo import GRPOConfig
from icl.signals.lanes import Lanes, Table, unchanged
from icl.signals.methods import Method, Signal
from icl.signals.truth import success
from icl.signals.world import World


class Curve(struct.PyTreeNode):
    """What learning came to after equal parts of the budget.

    Attributes:
        success: float32[L, P + 1], the exact expected return of each level's policy: at the start
            and after every part.
        entropy: float32[L, P + 1], in nats, of the policy that drew the latest runs, over their
            steps.
        updates: int32[L], how many the budget paid for.
    """

    success: jax.Array
    entropy: jax.Array
    idle: jax.Array
    updates: jax.Array


def learn(
    world: World,
    method: Method | Callable[[World, Table, jax.Array], Signal],
    key: jax.Array,
    policy: Table,
    config: GRPOConfig,
    budget: jax.Array,
    parts: int = 10,
) -> tuple[Table, Curve]:
    """Trains the policy of every level until it has generated its budget of actions.

    A level whose budget cannot pay for another group is left as it is, so no method generates
    more than the budget.

    Args:
        world: the levels.
        method: who says what steps are paid.
        key: consumed.
        policy: at the start, of each level, stacked on L.
        config: the learner's numbers.
        budget: int32[], actions of each level, forks included.
        parts: P, how often success is told.

    Returns:
        The policy, and its Curve.
    """
    levels = policy.scores.shape[0]

    def going(carry: Any) -> jax.Array:
        return ~carry[-1].all()

    def update(carry: Any) -> Any:
        time, learner, used, curve, done = carry
        signal = method(world, Table(learner.scores), jax.random.fold_in(key, time))
        # Who is done stays so, even if a cheaper group would fit: no level waits for another.
        fits = ~done & (used + signal.actions <= budget)
        lanes = signal.lanes
        steps = grpo.Steps(
            state=lanes.state[..., :-1],
            action=lanes.action,
            log=lanes.log,
            credit=signal.credit,
            counts=lanes.live & fits[:, None, None],
        )
        better = grpo.improve(learner, steps, config)
        learner = _where(fits, better, learner)
        used = used + jnp.where(fits, signal.actions, 0)
        # A part shows the last state that it had paid for in full.
        reached = -(-parts * used // jnp.maximum(budget, 1))
        ahead = fits[:, None] & (jnp.arange(parts + 1) >= reached[:, None])
        now = success(world.env, world.dynamics, learner.scores)
        drawn = ahead | (time == 0)
        entropy, idle = _per_step(lanes, _entropy(lanes)), _per_step(lanes, unchanged(lanes))
        curve = Curve(
            jnp.where(ahead, now[:, None], curve.success),
            jnp.where(drawn, entropy[:, None], curve.entropy),
            jnp.where(drawn, idle[:, None], curve.idle),
            curve.updates + fits,
        )
        return time + 1, learner, used, curve, done | ~fits | (used >= budget)

    none = jnp.zeros(levels, jnp.int32)
    first = success(world.env, world.dynamics, policy.scores)
    flat = jnp.broadcast_to(first[:, None], (levels, parts + 1))
    curve = Curve(flat, jnp.zeros_like(flat), jnp.zeros_like(flat), none)
    learner = grpo.start(policy.scores, config)
    carry = (jnp.int32(0), learner, none, curve, jnp.zeros(levels, bool))
    _, learner, _, curve, _ = jax.lax.while_loop(going, update, carry)
    return Table(learner.scores), curve


def _entropy(lanes: Lanes) -> jax.Array:
    """float32[L, N, T]: of what the agent said, in nats."""
    log = jax.nn.log_softmax(lanes.logits)
    return -(jnp.exp(log) * log).sum(-1)


def _per_step(lanes: Lanes, values: jax.Array) -> jax.Array:
    """float32[L]: the mean of values [L, N, T] over the live steps."""
    return (values * lanes.live).sum((1, 2)) / jnp.maximum(lanes.live.sum((1, 2)), 1)


def _where(fits: jax.Array, new: Any, old: Any) -> Any:
    """``new`` in the levels where bool[L] holds; leaves without levels (counters) as they are in
    ``new``."""

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape[:1] != fits.shape:
            return x
        return jnp.where(fits.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(pick, new, old)
