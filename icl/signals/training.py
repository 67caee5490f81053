"""Learning from a signal: the same number of generated actions, whatever the method."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents import grpo
from agents.grpo import GRPOConfig
from icl.signals.lanes import Table
from icl.signals.methods import Method, Signal
from icl.signals.truth import success
from icl.signals.world import World


class Curve(struct.PyTreeNode):
    """What learning came to after equal parts of the budget.

    Attributes:
        success: float32[L, P + 1], the exact expected return of each level's policy: at the start
            and after every part.
        entropy: float32[L, P + 1], of the policy where its runs have been lately, in nats.
        updates: int32[L], how many the budget paid for.
    """

    success: jax.Array
    entropy: jax.Array
    updates: jax.Array


def learn(
    world: World,
    method: Method,
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

    def tell(learner: grpo.Learner, signal: Signal) -> tuple[jax.Array, jax.Array]:
        log = jax.nn.log_softmax(signal.lanes.logits)
        entropy = -(jnp.exp(log) * log).sum(-1)
        live = signal.lanes.live
        entropy = (entropy * live).sum((1, 2)) / jnp.maximum(live.sum((1, 2)), 1)
        return success(world.env, world.dynamics, learner.scores), entropy

    def draw(learner: grpo.Learner, time: jax.Array) -> Signal:
        return method(world, Table(learner.scores), jax.random.fold_in(key, time))

    def going(carry: Any) -> jax.Array:
        return ~carry[-1].all()

    def update(carry: Any) -> Any:
        time, learner, used, updates, curve, _ = carry
        signal = draw(learner, time)
        fits = used + signal.actions <= budget
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
        told = jnp.stack(tell(learner, signal), axis=-1)  # [L, 2]
        done = ~fits | (used >= budget)
        # A part shows the last state that it had paid for in full.
        reached = jnp.where(done, parts, -(-parts * used // jnp.maximum(budget, 1)))
        ahead = jnp.arange(parts + 1) >= reached[:, None]
        curve = jnp.where(ahead[..., None], told[:, None], curve)
        return time + 1, learner, used, updates + fits, curve, done

    learner = grpo.start(policy.scores, config)
    first = jnp.stack(tell(learner, draw(learner, jnp.int32(2**30))), axis=-1)
    none = jnp.zeros(levels, jnp.int32)
    curve = jnp.broadcast_to(first[:, None], (levels, parts + 1, 2))
    carry = (jnp.int32(0), learner, none, none, curve, jnp.zeros(levels, bool))
    _, learner, _, updates, curve, _ = jax.lax.while_loop(going, update, carry)
    return Table(learner.scores), Curve(curve[..., 0], curve[..., 1], updates)


def _where(fits: jax.Array, new: Any, old: Any) -> Any:
    """``new`` in the levels where bool[L] holds; leaves without levels (counters) as they are in
    ``new``."""

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape[:1] != fits.shape:
            return x
        return jnp.where(fits.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(pick, new, old)
