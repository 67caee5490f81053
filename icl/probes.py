"""Probes: what a model does at the steps of an expert's own episode, teacher-forced.

A k-shot test says how well a model plays; a probe says where its actions come from. The context
holds k demonstrations and then an expert's episode of the same level. At each of its steps the
model's most probable action is held against what the demonstrations show for that observation
(copying, in context) and against what the expert does (knowing). Altered demonstrations tell the
two apart: where every action shown was renamed, a model that copies follows the names, and one
that knows the level from its weights does not (counterfactual contexts; Chan et al. 2022, arXiv
2205.05055, test in-context against in-weights learning the same way).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from agents.transformer import Parameters
from envs.rollout import Trajectories
from icl.arms import Arm
from icl.contexts import Context, arrange
from icl.demonstrations import Families, perform
from icl.variants import VARIANTS

MEASURES = {
    "loss": "cross-entropy of the expert's action, nats",
    "hit": "share of the steps whose observation was demonstrated",
    "agree-hit": "share of these where the most probable action is the expert's",
    "agree-novel": "the same at the other steps",
    "copy": "share of the demonstrated steps where it is the action shown, at the latest match",
    "original": "share of them where it is the action that was shown there before the alteration",
}  # by name, and what each is a mean over


class Probe(struct.PyTreeNode):
    """Sums and counts, so that families can be pooled; S sets, M measures in order of MEASURES.

    Attributes:
        total: float32[S, M].
        count: float32[S, M], the steps summed over.
        loss: float32[S, T], the sum of the loss at the expert's t-th step.
        steps: float32[S, T], how many episodes last that long.
    """

    total: jax.Array
    count: jax.Array
    loss: jax.Array
    steps: jax.Array


def probe(
    parameters: Parameters,
    graph: nnx.GraphDef,
    key: jax.Array,
    families: Families,
    *,
    count: int,
    demos: int,
    kind: str = "whole",
) -> Probe:
    """Probes a model.

    Args:
        parameters: the model's.
        graph: its definition.
        key: consumed; equal keys give equal levels, demonstrations and episodes.
        families: the level sets.
        count: n, levels of each set.
        demos: k, demonstrations before the expert's episode.
        kind: "whole", or an alteration of icl/variants.py; the episode itself stays as it is.
    """
    play_key, alter_key, deal_key = jax.random.split(key, 3)
    _, groups = perform(play_key, families, count, demos + 1)
    num_actions = max(family[0].env.num_actions for family in families)

    def one_set(alter_key: jax.Array, groups: Trajectories) -> Probe:
        shown = groups
        if kind in VARIANTS:
            last = jnp.arange(demos + 1) == demos
            altered = VARIANTS[kind](alter_key, groups, num_actions)

            def but_last(new: jax.Array, old: jax.Array) -> jax.Array:
                if old.ndim < 3:  # of the level
                    return old
                return jnp.where(last.reshape(1, -1, *(1,) * (old.ndim - 2)), old, new)

            shown = jax.tree.map(but_last, altered, groups)
        place = jnp.full(count, demos, jnp.int32)
        context = arrange(deal_key, Arm(), shown, place)
        before = arrange(deal_key, Arm(), groups.replace(valid=shown.valid), place)
        logits = nnx.merge(graph, parameters)(context.tokens)
        return measure(context, before.steps.action, logits, groups.valid.shape[-1])

    sets = groups.valid.shape[0]
    return jax.lax.map(lambda x: one_set(*x), (jax.random.split(alter_key, sets), groups))


def measure(context: Context, original: jax.Array, logits: jax.Array, horizon: int) -> Probe:
    """The measures of one set from Context[n, P], the actions int32[n, P] before alteration, and
    logits float32[n, P, A]."""
    steps, query = context.steps, context.query
    shown = context.valid & ~query
    flat = steps.observation.reshape(*query.shape, -1)
    same = (flat[:, :, None] == flat[:, None]).all(-1) & shown[:, None, :]  # [n, P, P]
    place = jnp.arange(query.shape[1])
    latest = jnp.where(same, place, -1).max(-1)
    hit = query & (latest >= 0)
    index = jnp.maximum(latest, 0)
    copied, known = (jnp.take_along_axis(x, index, axis=1) for x in (steps.action, original))
    chosen = logits.argmax(-1)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, steps.action)
    parts = (
        (loss, query),
        (latest >= 0, query),
        (chosen == steps.action, hit),
        (chosen == steps.action, query & ~hit),
        (chosen == copied, hit),
        (chosen == known, hit),
    )
    time = jnp.where(query, jnp.cumsum(query, axis=1) - 1, horizon)
    at = time[..., None] == jnp.arange(horizon)
    return Probe(
        total=jnp.stack([(value * where).sum() for value, where in parts]).astype(jnp.float32),
        count=jnp.stack([where.sum() for _, where in parts]).astype(jnp.float32),
        loss=(loss[..., None] * at).sum((0, 1)),
        steps=at.sum((0, 1)).astype(jnp.float32),
    )
