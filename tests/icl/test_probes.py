"""Probes: a copier and a knower, made by hand, are told apart; a model is probed as it plays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from agents.transformer import Interface, ModelConfig, define
from envs.pixels import Pixels
from envs.wrappers import wrap
from icl.arms import Arm
from icl.contexts import arrange
from icl.demonstrations import perform
from icl.probes import MEASURES, matched, measure, probe, silence
from icl.variants import VARIANTS

DEMOS, COUNT = 2, 16
NAMES = list(MEASURES)


@pytest.fixture(scope="module")
def contexts(world):
    """(context, actions before) with demonstrations as they are, and renamed; the last of three
    trajectories is the expert's episode."""

    @jax.jit
    def make(families):
        _, groups = perform(jax.random.key(0), families, COUNT, DEMOS + 1)
        own = jax.tree.map(lambda x: x[0], groups)
        renamed = VARIANTS["relabelled"](jax.random.key(1), own, 4)
        shown = own.replace(
            action=jnp.where(jnp.arange(DEMOS + 1)[None, :, None] == DEMOS, own.action,
                             renamed.action)
        )  # fmt: skip
        last = jnp.full(COUNT, DEMOS, jnp.int32)
        made = [arrange(jax.random.key(2), Arm(), x, last) for x in (own, shown)]
        return made, made[0].steps.action

    made, before = jax.device_get(make(world.calm))
    return dict(zip(("whole", "relabelled"), made, strict=True)), before


def copier(context):
    """Logits of an actor that plays what was shown last for the observation, else action 3."""
    chosen = np.full(context.query.shape, 3)
    seen = context.steps.observation
    for row, place in zip(*np.nonzero(context.query), strict=True):
        for other in np.flatnonzero(context.valid[row] & ~context.query[row]):
            if (seen[row, other] == seen[row, place]).all():
                chosen[row, place] = context.steps.action[row, other]
    return 20.0 * jax.nn.one_hot(chosen, 4)


def found(context, before, logits, horizon=10):
    made = jax.device_get(jax.jit(measure, static_argnums=3)(context, before, logits, horizon))
    total, count, *rest = made
    return {n: float(total[i] / count[i]) for i, n in enumerate(NAMES)}, (total, count, *rest)


def test_a_copier_copies_whatever_is_shown(contexts):
    made, before = contexts
    plain, _ = found(made["whole"], before, copier(made["whole"]))
    assert plain["copy"] == 1.0 and plain["original"] == 1.0
    assert plain["agree-hit"] > 0.7  # the expert draws among optimal actions
    renamed, _ = found(made["relabelled"], before, copier(made["relabelled"]))
    assert renamed["copy"] == 1.0 and renamed["original"] == 0.0
    assert renamed["agree-hit"] < 0.35 < plain["agree-hit"]


def test_a_knower_does_not_care_what_is_shown(contexts):
    made, before = contexts
    for kind, context in made.items():
        logits = 20.0 * jax.nn.one_hot(context.steps.action, 4)
        values, _ = found(context, before, logits)
        assert values["agree-hit"] == values["agree-novel"] == 1.0 and values["loss"] < 1e-3
        assert (values["copy"] > 0.7) == (kind == "whole")


def test_hits_and_losses_are_counted_step_by_step(contexts):
    made, before = contexts
    context = made["whole"]
    logits = np.random.default_rng(0).normal(size=(*context.query.shape, 4)).astype(np.float32)
    values, (total, count, losses, steps) = found(context, before, logits)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, context.steps.action)
    assert values["loss"] == pytest.approx(float(np.mean(np.asarray(loss)[context.query])), 1e-5)
    lengths = context.query.sum(1)
    np.testing.assert_array_equal(steps, [(lengths > t).sum() for t in range(10)])
    first = context.query.argmax(1)
    rows = np.arange(len(first))
    assert float(losses[0]) == pytest.approx(float(np.asarray(loss)[rows, first].sum()), 1e-5)
    assert losses.sum() == pytest.approx(total[0], 1e-5)
    hits = count[NAMES.index("agree-hit")]
    assert hits + count[NAMES.index("agree-novel")] == context.query.sum()
    assert values["hit"] == pytest.approx(hits / context.query.sum())
    right = (logits.argmax(-1) == context.steps.action) & context.query
    assert values["agree"] == pytest.approx(right.sum() / context.query.sum())


def test_a_model_is_probed_in_every_set(world, start):
    program, state = start()

    def run(kind):
        return jax.jit(
            lambda p, f: probe(p, program.graph, jax.random.key(3), f, count=COUNT, demos=DEMOS,
                               kind=kind)
        )(state.parameters, world.calm)  # fmt: skip

    plain, foreign = (jax.device_get(run(kind)) for kind in ("whole", "foreign"))
    assert plain.total.shape == (2, len(MEASURES)) and plain.loss.shape == (2, world.horizon)
    per_step = plain.total[:, 0] / plain.count[:, 0]
    assert (per_step > 0.5).all() and (per_step < 3).all()  # untrained: about ln 4
    # The episode stays, the demonstrations do not: fewer of its observations are in them.
    np.testing.assert_array_equal(plain.steps, foreign.steps)
    assert (foreign.total[:, 1] < plain.total[:, 1]).all()
    assert isinstance(program.graph, nnx.GraphDef)
    # Distances and novelty divide the same steps; no more of them agree than there are.
    for part in (plain, foreign):
        steps, agrees = part.count[:, 0], part.total[:, NAMES.index("agree")]
        np.testing.assert_array_equal(part.novelty.distance.sum(1), np.stack([steps, agrees], 1))
        np.testing.assert_array_equal(part.novelty.distance[:, 0, 0], part.total[:, 1])
        np.testing.assert_array_equal(
            part.novelty.episode[..., 1:3].sum(1), part.novelty.distance.sum(1)
        )
        assert (part.novelty.episode[..., 0].sum(1) == COUNT).all()
    # Every head was silenced, and did something; no head looks at more than there is.
    assert plain.ablated.shape == (2, 2, 2, len(MEASURES)) == (*plain.match.shape, len(MEASURES))
    assert (plain.ablated[..., 0] != plain.total[:, None, None, 0]).all()
    hits = plain.count[:, NAMES.index("agree-hit")]
    assert (plain.match > 0).all() and (plain.match < hits[:, None, None]).all()


def test_pictures_are_probed_as_well(world):
    face = Interface(0, 0, world.face.actions, pixels=True)
    graph, parameters = define(ModelConfig(width=16, layers=1, heads=1), face, jax.random.key(1))
    pixels = (tuple(x.replace(env=wrap(Pixels, x.env)) for x in world.calm[0]),)
    found = jax.device_get(
        jax.jit(lambda p, f: probe(p, graph, jax.random.key(3), f, count=4, demos=1))(
            parameters, pixels
        )
    )
    hits = found.total[:, NAMES.index("hit")]
    np.testing.assert_array_equal(found.novelty.distance[:, 0, 0], hits)
    assert found.novelty.distance.shape == (1, 2, 2) and 0 < hits[0] < found.count[0, 0]


def test_a_head_that_looks_at_the_answers_is_a_match_head(contexts):
    context = contexts[0]["whole"]
    n, places = context.query.shape
    seen, told = context.steps.observation, np.zeros((n, places, places), np.float32)
    for row, t in zip(*np.nonzero(context.query), strict=True):
        for j in range(places - 1):
            demonstrated = context.valid[row, j] and not context.query[row, j]
            if demonstrated and (seen[row, j] == seen[row, t]).all():
                told[row, t, j + 1] = 1
    hits = (told.sum(-1) > 0).sum()
    looking = told / np.maximum(told.sum(-1, keepdims=True), 1)
    away = np.full_like(told, 1 / places)
    attention = jnp.asarray(np.stack([looking, away], axis=1)[None])  # one layer, two heads
    ((on, off),) = np.asarray(matched(context, attention))
    assert on == pytest.approx(hits) and 0 < off < 0.3 * hits


def test_a_silenced_head_leaves_the_others_as_they_are(start):
    program, state = start()
    model = nnx.merge(program.graph, state.parameters)
    fewer = nnx.merge(program.graph, silence(state.parameters, 2, jnp.int32(1), jnp.int32(0)))
    kernels = [[np.asarray(b.project.kernel[...]) for b in m.blocks] for m in (model, fewer)]
    np.testing.assert_array_equal(kernels[0][0], kernels[1][0])
    depth = kernels[0][1].shape[0] // 2
    assert not kernels[1][1][:depth].any()
    np.testing.assert_array_equal(kernels[0][1][depth:], kernels[1][1][depth:])
