"""Group-relative policy optimisation on credits: the learner of the step signals.

Shao et al. 2024 (GRPO, arXiv 2402.03300), equation 3, with two changes: every step has a credit of
its own, and steps are summed, not averaged over the length of a run, so that a prefix that several
runs share weighs as much as they do together (Liu et al. 2025, arXiv 2503.20783, section 3).
The policy is a table of logits for each level, so its gradient and value are known exactly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import struct

from agents.ppo import chosen
from envs.core import static

NEVER = -1e9  # logit of what cannot be chosen; finite, so that 0 times it is 0


class GRPOConfig(struct.PyTreeNode):
    """Numbers are traced.

    Attributes:
        epochs: passes over a group; static.
        learning_rate: of Adam, in logits.
        low: ε below 1 that a probability ratio counts down to.
        high: ε above it.
        kl: weight of the divergence from the policy at the start, per step.
    """

    epochs: int = static(2)
    learning_rate: float | jax.Array = 0.1
    low: float | jax.Array = 0.2
    high: float | jax.Array = 0.2
    kl: float | jax.Array = 1e-3

    def optimiser(self) -> optax.GradientTransformation:
        """Adam; ``improve`` applies the learning rate."""
        return optax.scale_by_adam()


class Steps(struct.PyTreeNode):
    """What L groups of N runs did in T steps.

    Attributes:
        state: int32[L, N, T], numbers.
        action: int32[L, N, T].
        log: float32[L, N, T], its log-probability when it was chosen.
        credit: float32[L, N, T].
        counts: bool[L, N, T], the steps that are learned from.
        legal: bool[L, N, T, A], what could be chosen; None: every action.
    """

    state: jax.Array
    action: jax.Array
    log: jax.Array
    credit: jax.Array
    counts: jax.Array
    legal: jax.Array | None = None


class Learner(struct.PyTreeNode):
    """Attributes:
    scores: float32[L, S, A], the logits of each level's policy.
    reference: float32[L, S, A], those at the start.
    moments: the optimiser's state.
    """

    scores: jax.Array
    reference: jax.Array
    moments: optax.OptState


def start(scores: jax.Array, config: GRPOConfig) -> Learner:
    """A Learner before its first update, with logits float32[L, S, A]."""
    return Learner(scores, scores, config.optimiser().init(scores))


def objective(
    scores: jax.Array, reference: jax.Array, steps: Steps, config: GRPOConfig
) -> jax.Array:
    """float32[L], to be raised: the clipped gain of every level, less the divergence."""

    def level(scores: jax.Array, reference: jax.Array, steps: Steps) -> jax.Array:
        log = _log(scores, steps)
        # What does not count is not read: its gradient would be 0 times whatever stands there.
        ratio = jnp.exp(jnp.where(steps.counts, log - steps.log, 0.0))
        credit = jnp.where(steps.counts, steps.credit, 0.0)
        near = jnp.clip(ratio, 1 - config.low, 1 + config.high)
        gain = jnp.minimum(ratio * credit, near * credit)
        # The third of the estimators of Schulman 2020 ("Approximating KL Divergence"), as in GRPO.
        away = _log(reference, steps) - log
        divergence = jnp.exp(away) - away - 1
        total = jnp.where(steps.counts, gain - config.kl * divergence, 0.0)
        return total.sum() / len(steps.state)

    return jax.vmap(level)(scores, reference, steps)


def improve(learner: Learner, steps: Steps, config: GRPOConfig) -> Learner:
    """``config.epochs`` passes over the steps of all levels, each a pure update."""

    def epoch(carry: tuple[jax.Array, optax.OptState], _) -> tuple:
        scores, moments = carry

        def total(scores: jax.Array) -> jax.Array:
            return -objective(scores, learner.reference, steps, config).sum()

        direction, moments = config.optimiser().update(jax.grad(total)(scores), moments)
        rate = config.learning_rate
        return (jax.tree.map(lambda old, step: old - rate * step, scores, direction), moments), None

    carry = (learner.scores, learner.moments)
    (scores, moments), _ = jax.lax.scan(epoch, carry, length=config.epochs)
    return learner.replace(scores=scores, moments=moments)


def _log(scores: jax.Array, steps: Steps) -> jax.Array:
    """float32[N, T]: the log-probability of what one level's steps chose, under float32[S, A]."""
    logits = scores[steps.state]
    if steps.legal is not None:
        logits = jnp.where(steps.legal, logits, NEVER)
    return chosen(logits, steps.action)
