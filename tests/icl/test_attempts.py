"""Own attempts: trials without gaps, told as contexts are, and what they come to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, struct

from agents.retrieval import Reader
from agents.tokens import Steps, tokens_of
from icl.actor import ModelActor, ReaderActor
from icl.attempts import attempts, trial
from icl.evaluate import EvaluateConfig

LEVELS, ROWS, STEPS = 5, 3, 36


@pytest.fixture(scope="module")
def stage(world):
    """(envs, levels) of both families, without stickiness."""
    pools = [family[0] for family in world.calm]
    return [pool.env for pool in pools], [pool.levels(jnp.arange(LEVELS)) for pool in pools]


@pytest.fixture(scope="module")
def done(stage, start):
    """(program, parameters, Trial) of an untrained model, on the host."""
    program, state = start()
    envs, levels = stage
    actor = ModelActor(state.parameters, program.graph)
    greedy = jnp.array([False, False, True])
    run = jax.jit(lambda a, lv: trial(a, jax.random.key(3), envs, lv, greedy, STEPS))
    return program, state.parameters, jax.device_get(run(actor, levels))


def test_an_attempt_begins_where_the_one_before_it_ended(done, world):
    _, _, told = done
    assert told.action.shape == (STEPS, 2 * LEVELS, ROWS)
    assert told.tokens.start[0].all()
    np.testing.assert_array_equal(told.tokens.start[1:], told.last[:-1])
    np.testing.assert_array_equal(
        told.attempt, np.concatenate([told.last[:1] * 0, np.cumsum(told.last[:-1], axis=0)])
    )
    assert told.attempt[-1].min() >= STEPS // world.horizon - 1 and told.last.any()
    # Rewards end attempts, and no attempt outlasts the horizon.
    assert (told.terminated | (told.reward == 0)).all()
    clock = np.zeros(told.last.shape[1:], int)
    for last, terminated in zip(told.last, told.terminated, strict=True):
        clock += 1
        np.testing.assert_array_equal(last, terminated | (clock == world.horizon))
        clock[last] = 0
    # A token tells what came of the one before it, over the end of an attempt too.
    np.testing.assert_array_equal(told.tokens.action[1:], told.action[:-1])
    np.testing.assert_array_equal(told.tokens.reward[1:], told.reward[:-1])
    np.testing.assert_array_equal(told.tokens.terminated[1:], told.terminated[:-1])
    inside = ~told.last[:-1]
    np.testing.assert_array_equal(
        told.tokens.successor[1:][inside], told.tokens.observation[1:][inside]
    )
    # In a level without chance every attempt begins alike.
    first = np.broadcast_to(told.tokens.observation[0], told.tokens.observation.shape)
    np.testing.assert_array_equal(
        told.tokens.observation[told.tokens.start], first[told.tokens.start]
    )
    assert (told.tokens.observation != first).any()


def test_logits_are_those_of_a_context_that_holds_all_attempts(done):
    """Contract 5 over several attempts."""
    program, parameters, told = done

    def rows(x):
        return jnp.asarray(np.moveaxis(x, 0, 2).reshape(-1, STEPS, *x.shape[3:]))

    tokens = jax.tree.map(rows, told.tokens)
    forward = jax.jit(lambda p, t: nnx.merge(program.graph, p)(t))
    np.testing.assert_allclose(rows(told.logits), forward(parameters, tokens), atol=1e-4)
    later = jax.tree.map(lambda x: jnp.roll(x, 1, axis=1), tokens)
    assert np.abs(rows(told.logits) - forward(parameters, later)).max() > 0.05
    # What was read is what a context of these steps would show.
    steps = Steps(
        observation=tokens.observation,
        action=rows(told.action),
        reward=rows(told.reward),
        terminated=rows(told.terminated),
        successor=jnp.roll(tokens.successor, -1, axis=1),
        start=tokens.start,
        cut=tokens.cut,
    )
    jax.tree.map(np.testing.assert_array_equal, tokens_of(steps), tokens)


class Repeating(struct.PyTreeNode):
    """Plays at random until it has won, then what it played in the attempt that won.

    Attributes:
        horizon: T.
    """

    horizon: int = struct.field(pytree_node=False, default=0)

    def read(self, contexts, lengths):
        plan = jnp.full((*lengths.shape, self.horizon), -1)
        return plan, plan, jnp.zeros(lengths.shape, jnp.int32)

    def grow(self, memory, steps):
        return memory

    def logits(self, memory, tokens, time):
        plan, now, clock = memory
        at = jnp.arange(self.horizon)
        now = jnp.where((clock[..., None] - 1 == at) & (clock > 0)[..., None],
                        tokens.action[..., None], now)  # fmt: skip
        won = tokens.start & tokens.terminated & (tokens.reward > 0)
        plan = jnp.where((won & (plan[..., 0] < 0))[..., None], now, plan)
        clock = jnp.where(tokens.start, 0, clock)
        now = jnp.where(tokens.start[..., None], -1, now)
        index = jnp.broadcast_to(clock[..., None], (*clock.shape, 1))
        planned = jnp.take_along_axis(plan, index, axis=-1)[..., 0]
        known = (planned >= 0)[..., None]
        logits = jnp.where(known & (planned[..., None] != jnp.arange(4)), -1e9, 0.0)
        return logits, (plan, now, clock + 1)


@pytest.fixture(scope="module")
def scores(world):
    """scores(actor) -> float[2, attempts], by family."""
    shapes = EvaluateConfig(levels=16, episodes=16, block=8)
    run = jax.jit(functools.partial(attempts, count=4), static_argnums=1)

    def score(actor):
        found = jax.device_get(run(actor, shapes, jax.random.key(2), world.calm))
        made = []
        for result in found:
            assert result.returns.shape == (1, 16, 4, 2, 16) == result.success.shape
            np.testing.assert_array_equal(result.success, result.returns > 0)
            assert result.steps.min() >= 1 and result.steps.max() == world.horizon
            random, best = result.references.mean(0)
            made.append((result.returns[0, :, :, 0].mean((0, 2)) - random) / (best - random))
        return np.array(made)

    return score


def test_who_remembers_what_won_gets_better_and_who_does_not_stays_at_chance(world, scores):
    better = scores(Repeating(world.horizon))
    assert np.abs(better[:, 0]).max() < 0.15  # 256 episodes of 0 or 1: an error below 0.05
    assert (np.diff(better, axis=1) > 0.01).all() and (better[:, -1] > 0.15).all()
    never = scores(ReaderActor(Reader(), world.face.actions))
    assert np.abs(never).max() < 0.15
