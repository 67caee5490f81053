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
from icl.novelty import Novelty, novelty
from icl.variants import VARIANTS

MEASURES = {
    "loss": "cross-entropy of the expert's action, nats",
    "hit": "share of the steps whose observation was demonstrated",
    "agree": "share of the steps where the most probable action is the expert's",
    "agree-hit": "the same at the demonstrated steps",
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
        match: float32[S, L, H], of every head the sum over demonstrated steps of its attention on
            the tokens that tell what was done at the same observation (match heads; the induction
            heads of Olsson et al. 2022, arXiv 2209.11895, with observations for tokens).
        ablated: float32[S, L, H, M], ``total`` where that head's output is zero.
        novelty: by how far steps and episodes lie from the demonstrations.
    """

    total: jax.Array
    count: jax.Array
    loss: jax.Array
    steps: jax.Array
    match: jax.Array
    ablated: jax.Array
    novelty: Novelty


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
        original = before.steps.action
        model = nnx.merge(graph, parameters)
        logits = model(context.tokens)
        total, counts, loss, steps = measure(context, original, logits, groups.valid.shape[-1])
        shape = (model.config.layers, model.config.heads)
        silenced = jnp.stack(jnp.meshgrid(*map(jnp.arange, shape), indexing="ij"), axis=-1)

        def without(place: jax.Array) -> jax.Array:
            fewer = nnx.merge(graph, silence(parameters, model.config.heads, *place))
            return measure(context, original, fewer(context.tokens), 1)[0]

        ablated = jax.lax.map(without, silenced.reshape(-1, 2)).reshape(*shape, -1)
        looks = matched(context, model.attention(context.tokens))
        return Probe(total, counts, loss, steps, looks, ablated, novelty(context, logits))

    sets = groups.valid.shape[0]
    return jax.lax.map(lambda x: one_set(*x), (jax.random.split(alter_key, sets), groups))


def silence(parameters: Parameters, heads: int, layer: jax.Array, head: jax.Array) -> Parameters:
    """The parameters with one head's output zero: what it would add to the residual stream goes
    through its rows of the projection. A recurrent model has no heads: those rows of its state.

    Args:
        parameters: the model's.
        heads: H.
        layer: int32[].
        head: int32[].
    """

    def rows(path: tuple, x: jax.Array) -> jax.Array:
        names = [getattr(key, "key", None) for key in path]
        if "project" not in names:
            return x
        own = jnp.arange(x.shape[0]) // (x.shape[0] // heads) == head
        return jnp.where((own & (layer == names[names.index("blocks") + 1]))[:, None], 0, x)

    return jax.tree_util.tree_map_with_path(rows, parameters)


def same_observation(context: Context) -> jax.Array:
    """bool[n, P, P]: position (axis -1) is of a demonstration and shows what position -2 does."""
    shown = context.valid & ~context.query
    flat = context.steps.observation.reshape(*context.query.shape, -1)
    return (flat[:, :, None] == flat[:, None]).all(-1) & shown[:, None, :]


def matched(context: Context, attention: jax.Array) -> jax.Array:
    """float32[L, H]: the sum over the demonstrated steps of the query of the attention
    float32[L, n, H, P, P] on the tokens behind equal observations, which tell what was done."""
    told = jnp.pad(same_observation(context)[..., :-1], ((0, 0), (0, 0), (1, 0)))
    return (attention * (told & context.query[..., None])[:, None]).sum((1, 3, 4))


def measure(
    context: Context, original: jax.Array, logits: jax.Array, horizon: int
) -> tuple[jax.Array, ...]:
    """``total``, ``count``, ``loss`` and ``steps`` of one set, from Context[n, P], the actions
    int32[n, P] before alteration, and logits float32[n, P, A]."""
    steps, query = context.steps, context.query
    same = same_observation(context)
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
        (chosen == steps.action, query),
        (chosen == steps.action, hit),
        (chosen == steps.action, query & ~hit),
        (chosen == copied, hit),
        (chosen == known, hit),
    )
    time = jnp.where(query, jnp.cumsum(query, axis=1) - 1, horizon)
    at = time[..., None] == jnp.arange(horizon)
    return (
        jnp.stack([(value * where).sum() for value, where in parts]).astype(jnp.float32),
        jnp.stack([where.sum() for _, where in parts]).astype(jnp.float32),
        (loss[..., None] * at).sum((0, 1)),
        at.sum((0, 1)).astype(jnp.float32),
    )
