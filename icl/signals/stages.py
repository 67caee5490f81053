"""Stages of training: one network, one task after another, or all of them at once.

Group-relative policy optimisation (agents/grpo.py) with the logits of a network in the place of a
table's. A stage says of each group of an update which task it plays, and ends with its budget of
actions.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from agents import grpo
from agents.grpo import GRPOConfig
from agents.perceptron import Perceptron
from envs.core import static
from icl.signals.coverage import judged
from icl.signals.tasks import Runs, Tasks, covered, play


class StageConfig(struct.PyTreeNode):
    """Sizes are static, numbers traced.

    Attributes:
        groups: L, levels of an update.
        runs: N, of each level.
        epochs: passes over an update's runs.
        parts: P, how often a stage's course is told.
        learning_rate: of Adam.
        beta2: Adam's second decay rate, as low as the first: a solved task has gradients in few
            updates, and at 0.999 each of them would move the weights as far as thirty do.
        floor: Adam's ε, for the same reason near the size of what gradients there are.
        clip: how far from 1 a probability ratio counts.
        temperature: of the judge, in shares of the cells.
    """

    groups: int = static(16)
    runs: int = static(8)
    epochs: int = static(2)
    parts: int = static(10)
    learning_rate: float | jax.Array = 1e-3
    beta2: float | jax.Array = 0.9
    floor: float | jax.Array = 1e-2
    clip: float | jax.Array = 0.2
    temperature: float | jax.Array = 0.1


class Course(struct.PyTreeNode):
    """A stage after equal parts of its budget.

    Attributes:
        entropy: float32[P + 1], in nats, of the policy over the steps of the runs it drew.
        earned: float32[P + 1], mean return of those runs; of open tasks the share covered.
        updates: int32[].
        actions: int32[], generated in all.
    """

    entropy: jax.Array
    earned: jax.Array
    updates: jax.Array
    actions: jax.Array


def stage(
    tasks: Tasks,
    network: Perceptron,
    key: jax.Array,
    which: jax.Array,
    budget: jax.Array,
    config: StageConfig,
) -> tuple[Perceptron, Course]:
    """Trains a network until its budget cannot pay for another update.

    Args:
        tasks: Tasks[K, n].
        network: at the start.
        key: consumed.
        which: int32[L], the task of each group; its levels are drawn uniformly.
        budget: int32[], actions that may be generated; steps after an episode's end are none.
        config: sizes and numbers.

    Returns:
        The network, and its Course.
    """
    optimiser = optax.scale_by_adam(b2=config.beta2, eps=config.floor)  # type: ignore[arg-type]
    numbers = GRPOConfig(low=config.clip, high=config.clip, kl=0.0)
    count = tasks.cells.shape[1]

    def update(carry: Any) -> Any:
        time, network, moments, used, course, _ = carry
        place_key, play_key, judge_key = jax.random.split(jax.random.fold_in(key, time), 3)
        own = tasks.at(which, jax.random.randint(place_key, which.shape, 0, count))
        old = network(own.sight)
        runs = play(own, old, play_key, config.runs)
        share = covered(own, runs)
        wins = judged(judge_key, share, config.temperature)
        reward = jnp.where(own.open[:, None], wins, runs.returns)
        lead = reward - reward.mean(-1, keepdims=True)
        actions = runs.live.sum().astype(jnp.int32)
        fits = used + actions <= budget
        steps = grpo.Steps(
            state=runs.state[..., :-1],
            action=runs.action,
            log=runs.log,
            credit=jnp.broadcast_to(lead[..., None], runs.log.shape),
            counts=runs.live & fits,
        )

        def descend(carry: Any, _: None) -> Any:
            network, moments = carry

            def loss(network: Perceptron) -> jax.Array:
                return -grpo.objective(network(own.sight), old, steps, numbers).mean()

            gradient = jax.grad(loss)(network)
            direction, moments = optimiser.update(gradient, moments)
            rate = config.learning_rate
            network = jax.tree.map(lambda old, step: old - rate * step, network, direction)
            return (network, moments), None

        better, after = jax.lax.scan(descend, (network, moments), length=config.epochs)[0]
        network, moments = jax.tree.map(
            lambda new, old: jnp.where(fits, new, old), (better, after), (network, moments)
        )
        # A part shows the latest policy that it had paid for in full.
        ahead = jnp.arange(config.parts + 1) >= -(-config.parts * used // jnp.maximum(budget, 1))
        earned = jnp.where(own.open[:, None], share, runs.returns).mean()
        used = used + jnp.where(fits, actions, 0)
        course = Course(
            entropy=jnp.where(ahead, spread(old, runs), course.entropy),
            earned=jnp.where(ahead, earned, course.earned),
            updates=course.updates + fits,
            actions=used,
        )
        return time + 1, network, moments, used, course, ~fits

    nothing = jnp.zeros(config.parts + 1)
    course = Course(nothing, nothing, jnp.int32(0), jnp.int32(0))
    moments = optimiser.init(network)  # type: ignore[arg-type]
    carry = (jnp.int32(0), network, moments, jnp.int32(0), course, jnp.zeros((), bool))
    _, network, _, _, course, _ = jax.lax.while_loop(lambda carry: ~carry[-1], update, carry)
    return network, course


def spread(scores: jax.Array, runs: Runs) -> jax.Array:
    """float32[]: the entropy in nats of the policy with logits float32[L, S, A], mean over the live
    steps of its runs."""
    log = jax.nn.log_softmax(scores)
    every = -(jnp.exp(log) * log).sum(-1)
    rows = jnp.arange(len(scores))[:, None, None]
    found = every[rows, runs.state[..., :-1]]
    return (found * runs.live).sum() / jnp.maximum(runs.live.sum(), 1)


def imitate(
    tasks: Tasks,
    network: Perceptron,
    key: jax.Array,
    which: jax.Array,
    updates: jax.Array,
    learning_rate: float | jax.Array,
) -> Perceptron:
    """The checkpoint that orders start from: a network that has been shown for a while what is best
    in the states that can be reached, each optimal action as likely as any other.

    Args:
        tasks: Tasks[K, n].
        network: at the start.
        key: consumed.
        which: int32[L], the task of each level of an update; closed ones, as nobody knows what is
            best in an open one.
        updates: int32[], how many.
        learning_rate: of Adam.
    """
    optimiser = optax.scale_by_adam()
    count = tasks.cells.shape[1]

    def update(time: jax.Array, carry: Any) -> Any:
        network, moments = carry
        own = tasks.at(
            which, jax.random.randint(jax.random.fold_in(key, time), which.shape, 0, count)
        )
        wanted = own.optimal / own.optimal.sum(-1, keepdims=True)

        def loss(network: Perceptron) -> jax.Array:
            short = optax.softmax_cross_entropy(network(own.sight), wanted)
            return (short * own.met).sum() / own.met.sum()

        direction, moments = optimiser.update(jax.grad(loss)(network), moments)
        return jax.tree.map(lambda x, step: x - learning_rate * step, network, direction), moments

    moments = optimiser.init(network)  # type: ignore[arg-type]
    return jax.lax.fori_loop(0, updates, update, (network, moments))[0]
