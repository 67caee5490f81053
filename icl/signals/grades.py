"""Grades: how near a credit comes to the truth.

Credit float32[L, N, T] is graded at the steps of Lanes[L, N, T], each generated step once: a step
that several lanes share is graded by what all of them are paid for it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from icl.signals.lanes import Lanes, unchanged
from icl.signals.truth import Truth

SURE = 1e-4  # advantages beyond it have a sign


class Grades(struct.PyTreeNode):
    """Attributes:
    correlation: float32[], Pearson's, of credit and exact advantage over all steps.
    sign: float32[], share of the steps whose advantage is not 0 where credit has its sign; no
        credit counts one half.
    located: float32[], share of the lanes lost by a fatal step where the least credit is that
        step's; where several steps have the least credit, the chance to draw the right one. Not
        even the exact advantage locates all where a run can also lose by waiting: more may be lost
        by the waits before than by the fatal step.
    chance: float32[], what uniform guesses would locate.
    idle: float32[], of all that runs that won are paid, in size, the part that they are paid for
        steps that changed nothing: above 0, idling pays.
    padding: float32[], what a run that won is paid in all for one more step that changed nothing,
        in units of what it is paid for a step on average, in size: 1 where such a step pays like
        any other, above 0 where pieces can be stretched.
    cosine: float32[], of the estimated and the exact policy gradient, mean over levels.
    variance: float32[], of the estimated gradients about their mean over repetitions, summed over
        the parameters and divided by the square of the exact gradient's norm.
    actions: float32[], generated, mean over levels.
    """

    correlation: jax.Array
    sign: jax.Array
    located: jax.Array
    chance: jax.Array
    idle: jax.Array
    padding: jax.Array
    cosine: jax.Array
    variance: jax.Array
    actions: jax.Array


def received(lanes: Lanes, credit: jax.Array) -> jax.Array:
    """float32[L, N, T]: what a lane's own steps are paid by all lanes that share them; 0 at steps
    that are not its own."""

    def level(owner: jax.Array, live: jax.Array, credit: jax.Array) -> jax.Array:
        count, horizon = owner.shape
        time = jnp.broadcast_to(jnp.arange(horizon), owner.shape)
        paid = jnp.where(live, credit, 0.0)
        return jnp.zeros((count, horizon)).at[owner, time].add(paid)

    return jnp.where(lanes.own, jax.vmap(level)(lanes.owner, lanes.live, credit), 0.0)


def correlation(credit: jax.Array, advantage: jax.Array, counts: jax.Array) -> jax.Array:
    """float32[]: Pearson's over the entries where bool[...] counts; 0 where either is constant."""
    weight = counts / jnp.maximum(counts.sum(), 1)

    def standard(x: jax.Array) -> jax.Array:
        x = jnp.where(counts, x, 0.0)
        centred = jnp.where(counts, x - (weight * x).sum(), 0.0)
        spread = jnp.sqrt((weight * centred**2).sum())
        # What rounding makes of a constant is no spread.
        varies = spread > 1e-6 * jnp.abs(x).max()
        return jnp.where(varies, centred / jnp.where(varies, spread, 1.0), 0.0)

    return (weight * standard(credit) * standard(advantage)).sum()


def sign(credit: jax.Array, advantage: jax.Array, counts: jax.Array) -> jax.Array:
    """float32[]: over the entries that count and whose advantage is not 0."""
    counts = counts & (jnp.abs(advantage) > SURE)
    right = jnp.where(jnp.abs(credit) <= 1e-6, 0.5, jnp.sign(credit) == jnp.sign(advantage))
    return (right * counts).sum() / jnp.maximum(counts.sum(), 1)


def located(lanes: Lanes, credit: jax.Array, fatal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """float32[], float32[]: see ``Grades.located`` and ``chance``, over all lanes [..., T]; NaN
    where none was lost."""
    lost = fatal.any(-1)
    least = jnp.where(lanes.live, credit, jnp.inf).min(-1, keepdims=True)
    lowest = lanes.live & (credit <= least + 1e-6)
    hit = (lowest & fatal).any(-1) / jnp.maximum(lowest.sum(-1), 1)
    guess = 1 / jnp.maximum(lanes.live.sum(-1), 1)
    many = lost.sum()
    return (hit * lost).sum() / many, (guess * lost).sum() / many


def idle(lanes: Lanes, credit: jax.Array) -> jax.Array:
    """float32[]: see ``Grades.idle``, over all lanes [..., T]; 0 where no lane won."""
    won = lanes.live & (lanes.returns > 0)[..., None]
    still = won & unchanged(lanes)
    total = (jnp.abs(credit) * won).sum()
    return jnp.where(total > 0, (credit * still).sum() / jnp.maximum(total, 1e-12), 0.0)


def padding(lanes: Lanes, credit: jax.Array) -> jax.Array:
    """float32[]: see ``Grades.padding``, over all lanes [R, L, N, T]: the slope of a run's whole
    pay over its idle steps, among the runs of a level that won; 0 where they idle alike."""
    won = lanes.returns > 0
    many = jnp.maximum(won.sum((0, 2), keepdims=True), 1)
    paid = jnp.where(lanes.live, credit, 0.0)

    def centred(x: jax.Array) -> jax.Array:
        mean = jnp.where(won, x, 0).sum((0, 2), keepdims=True) / many
        return jnp.where(won, x - mean, 0.0)

    still, total = centred(unchanged(lanes).sum(-1)), centred(paid.sum(-1))
    spread = jnp.square(still).sum()
    slope = (still * total).sum() / jnp.maximum(spread, 1e-12)
    steps = (lanes.live & won[..., None]).sum()
    size = (jnp.abs(paid) * won[..., None]).sum() / jnp.maximum(steps, 1)
    return jnp.where((spread > 0) & (size > 0), slope / jnp.maximum(size, 1e-12), 0.0)


def estimated(lanes: Lanes, credit: jax.Array, states: int) -> jax.Array:
    """float32[L, S, A]: the policy gradient that the credit makes with respect to the logits of a
    Markov policy's table: of each step its credit times the gradient of its log-probability, summed
    over lanes, divided by their number (Williams 1992, REINFORCE)."""

    def level(state: jax.Array, action: jax.Array, logits: jax.Array, paid: jax.Array):
        actions = logits.shape[-1]
        lead = jax.nn.one_hot(action, actions) - jax.nn.softmax(logits)
        zero = jnp.zeros((states, actions))
        return zero.at[state].add(paid[..., None] * lead) / len(state)

    paid = jnp.where(lanes.live, credit, 0.0)
    return jax.vmap(level)(lanes.state[..., :-1], lanes.action, lanes.logits, paid)


def cosine(one: jax.Array, two: jax.Array) -> jax.Array:
    """float32[L]: of float32[L, S, A]; 0 where one of them vanishes."""
    axes = tuple(range(1, one.ndim))
    product = (one * two).sum(axes)
    norms = jnp.sqrt(jnp.square(one).sum(axes) * jnp.square(two).sum(axes))
    return jnp.where(norms > 1e-12, product / jnp.maximum(norms, 1e-12), 0.0)


def grade(
    lanes: Lanes,
    credit: jax.Array,
    truth: Truth,
    gradients: jax.Array,
    exact: jax.Array,
    actions: jax.Array,
) -> Grades:
    """All grades of repetitions of one method.

    Args:
        lanes: Lanes[R, L, N, T], R repetitions.
        credit: float32[R, L, N, T].
        truth: Truth[R, L, N, T].
        gradients: float32[R, L, S, A], estimated from each repetition.
        exact: float32[L, S, A].
        actions: int32[R, L], all that were generated: ``lanes`` does not know of forks that only
            valued its steps.
    """
    node = jax.vmap(received)(lanes, credit)
    found, chance = located(lanes, credit, truth.fatal)
    spread = jnp.square(gradients - gradients.mean(0)).sum((-2, -1)).mean(0)
    norm = jnp.square(exact).sum((-2, -1))
    return Grades(
        correlation=correlation(node, truth.advantage, lanes.own),
        sign=sign(node, truth.advantage, lanes.own),
        located=found,
        chance=chance,
        idle=idle(lanes, credit),
        padding=padding(lanes, credit),
        cosine=jax.vmap(cosine, in_axes=(0, None))(gradients, exact).mean(),
        variance=(spread / jnp.maximum(norm, 1e-12)).mean(),
        actions=actions.mean(),
    )
