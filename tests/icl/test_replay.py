"""Replays: the very episodes that evaluation measures, and what the model saw and thought."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents.policy import Random
from agents.transformer import Interface, ModelConfig, define
from envs import tiles
from envs.pixels import Pixels
from envs.wrappers import Wrapper, wrap
from icl.actor import ModelActor
from icl.arms import named
from icl.demonstrations import show
from icl.evaluate import EvaluateConfig, evaluate
from icl.replay import joined, replay

SHAPES = EvaluateConfig(levels=16, episodes=2, demos=2, block=8)
COUNT = 3
ARM = named("isolated-chunks", chunk=5)
HASTY = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
KEYS = (jax.random.key(4), jax.random.key(5))


@HASTY
def replayed(actor, keys, arm, families):
    return replay(actor, SHAPES, keys, arm, families, count=COUNT)


@HASTY
def shown_of(key, arm, families):
    return show(key, arm, families, count=SHAPES.levels, demos=SHAPES.demos)


@HASTY
def measured(actor, key, families, shown):
    return evaluate(actor, SHAPES, key, families, shown)


@pytest.fixture(scope="module")
def actor(start):
    program, state = start(layers=2)
    return ModelActor(state.parameters, program.graph)


@pytest.fixture(scope="module")
def families(world):
    """The sticky sets, so that episodes wander off; the first family's stands in for two splits."""
    first, second = world.sticky
    return (first, first.replace(ids=first.ids[::-1], solved=first.solved[::-1])), (second,)


@pytest.fixture(scope="module")
def found(actor, families):
    return jax.device_get(replayed(actor, KEYS, ARM, families))


@pytest.fixture(scope="module")
def shown(families):
    return jax.device_get(shown_of(KEYS[0], ARM, families))


def test_the_episodes_are_those_that_evaluation_measures(found, shown, actor, families):
    results = jax.device_get(measured(actor, KEYS[1], families, shown))
    assert found.returns.shape == (3, 2, COUNT, SHAPES.demos + 1) and len(results) == 3
    for index, result in enumerate(results):
        np.testing.assert_array_equal(found.returns[index], result.returns[:, :COUNT, :, 0, 0])
        np.testing.assert_array_equal(found.success[index], result.success[:, :COUNT, :, 0, 0])
    np.testing.assert_array_equal(found.reward.sum(-1), found.returns)
    assert len({episode.tobytes() for episode in found.action.reshape(-1, 10)}) > 20


def test_the_demonstrations_are_those_that_evaluation_shows(found, shown):
    for field in ("steps", "valid", "source"):
        one, two = (getattr(x, field) for x in (found.context, shown.contexts))
        jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[:, :, :COUNT]), one, two)
    np.testing.assert_array_equal(found.lengths, shown.lengths[:, :, :COUNT])
    # Whole trajectories are the level's own; the arm's chunks never are.
    assert not found.foreign[:, 0].any()
    dealt = np.arange(found.foreign.shape[-1]) < found.lengths[:, 1, :, -1:]
    assert found.foreign[:, 1][dealt].all() and dealt.any()


def test_pictures_belong_to_their_steps(found, families):
    for index, pool in enumerate(pool for family in families for pool in family):
        if index == 2:
            continue  # a graph is no grid: its picture says no place
        for level in range(COUNT):
            drawn = pool.level(level)
            symbols = np.asarray(drawn.symbols)
            first = np.asarray(pool.env.draw(drawn, pool.env.reset(jax.random.key(0), drawn)))
            size = first.shape
            here = found.pictures[index, :, level, :, :, : size[0], : size[1]]
            np.testing.assert_array_equal(
                here[:, :, 0], np.broadcast_to(first, here[:, :, 0].shape)
            )
            rest = found.pictures[index, :, level, :, :, size[0] :]
            assert (rest == tiles.BLANK).all()
            # A state is its place, and its place is its symbol.
            seen = found.tokens.observation[index, :, level, :, :, 0]
            place = (here == tiles.AGENT).reshape(*here.shape[:3], -1)[:, :, :-1].argmax(-1)
            running = found.running[index, :, level]
            np.testing.assert_array_equal(symbols[place][running], seen[running])
            shown = found.before[index, 0, level, :, : size[0], : size[1]]
            place = (shown == tiles.AGENT).reshape(len(shown), -1).argmax(-1)
            valid = found.context.valid[index, 0, level]
            demo = found.context.steps.observation[index, 0, level, :, 0]
            np.testing.assert_array_equal(symbols[place][valid], demo[valid])
    follows = ~found.context.steps.start[:, 0, :, 1:] & found.context.valid[:, 0, :, 1:]
    before, after = found.before[:, 0, :, 1:], found.after[:, 0, :, :-1]
    np.testing.assert_array_equal(before[follows], after[follows])


def test_probabilities_and_attention_are_those_of_the_full_forward_pass(found, actor):
    @HASTY
    def whole(tokens, lengths, own):
        model = nnx.merge(actor.graph, actor.parameters)
        rows = joined(tokens, lengths, own)
        return jax.nn.softmax(model(rows)), model.attention(rows)

    horizon = found.action.shape[-1]
    tokens = jax.tree.map(np.asarray, found.context.tokens)
    for at in np.ndindex(*found.lengths.shape[:2], COUNT):
        own = jax.tree.map(lambda x, at=at: x[at], (tokens, found.lengths, found.tokens))
        chances, looks = whole(*own)
        for k, length in enumerate(found.lengths[at]):
            steps = slice(length, length + horizon)
            np.testing.assert_allclose(found.probability[at][k], chances[k, steps], atol=1e-4)
            seen = found.attention[at][k]
            np.testing.assert_allclose(seen, looks[:, k, :, steps].mean(1), atol=1e-4)
            last = length + np.arange(horizon)
            ahead = np.arange(seen.shape[-1]) > last[:, None]
            assert not seen[:, ahead].any()
    np.testing.assert_allclose(found.attention.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.probability.sum(-1), 1, atol=1e-5)
    assert found.lengths[..., -1].min() > 0


def test_the_oracle_is_that_of_the_level(found, families):
    pools = [pool for family in families for pool in family]
    for index, level in np.ndindex(3, COUNT):
        pool = pools[index]
        table = np.asarray(pool.optimal(jnp.array([level])))[0]
        place = np.argsort(np.asarray(pool.level(level).symbols))  # of a symbol
        seen = place[found.tokens.observation[index, :, level, :, :, 0]]
        running = found.running[index, :, level]
        optimal = found.judgement.optimal[index, :, level]
        np.testing.assert_array_equal(optimal[running], table[seen[running]])
    right = np.take_along_axis(found.judgement.optimal, found.action[..., None], -1)[..., 0]
    missed = found.running & ~right
    wrong = np.where(missed.any(-1), missed.argmax(-1), -1)
    np.testing.assert_array_equal(found.judgement.wrong, wrong)
    assert (wrong > 0).any() and (wrong == 0).any()
    # Nothing is lost where every mistake can be mended, and what is won is over.
    assert (found.judgement.lost == -1).all()
    np.testing.assert_array_equal(found.judgement.doomed[..., 1:], found.terminated)


class Blind(Wrapper):
    """A family whose states nobody can number."""

    @property
    def num_states(self) -> int:
        return 0


def test_without_an_oracle_nothing_is_judged(actor, families):
    def hidden(pool):
        return pool.replace(env=wrap(Blind, pool.env), expert=Random(), solved=None)

    mixed = (tuple(map(hidden, families[0])), families[1])
    found = jax.device_get(replayed(actor, KEYS, ARM, mixed))
    assert not found.judgement.optimal[:2].any() and found.judgement.optimal[2].any()
    assert not found.judgement.doomed[:2].any()
    assert (found.judgement.wrong[:2] == -1).all() and (found.judgement.lost == -1).all()
    assert (found.pictures[:2] == tiles.AGENT).any() and found.running.any()


def test_pixels_are_shown_as_evaluation_shows_them(families, world):
    def behind(pool):
        return pool.replace(env=wrap(Pixels, pool.env))

    pixels = tuple(tuple(map(behind, family)) for family in families)
    face = Interface(0, 0, world.face.actions, pixels=True)
    graph, parameters = define(ModelConfig(width=16, layers=1, heads=2), face, jax.random.key(1))
    found = jax.device_get(replayed(ModelActor(parameters, graph), KEYS, ARM, pixels))
    shown = jax.device_get(shown_of(KEYS[0], ARM, pixels))
    seen, own = found.context.steps.observation, found.tokens.observation
    assert seen.dtype == own.dtype == np.uint8 and seen.shape[-3:] == (64, 64, 3)
    np.testing.assert_array_equal(seen, shown.contexts.steps.observation[:, :, :COUNT])
    assert (found.before == tiles.AGENT).any() and found.judgement.optimal.any()
