"""A model in lanes says what it says in the harness of evaluation, and what it says for itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.policy import Oracle
from envs.core import advance, begin
from envs.levels import draw_levels
from envs.rollout import rollout
from envs.wrappers import Scramble, pad, wrap
from icl.actor import ModelActor
from icl.arms import Arm
from icl.demonstrations import demonstrate
from icl.episodes import record
from icl.signals.confidence import token_confidence
from icl.signals.lanes import go, start
from icl.signals.reader import reading
from icl.signals.stopping import Guard, stops

LEVELS, DEMOS, LANES = 4, 2, 5
COUNTS = jnp.array([0, 1, 2, 2])  # demonstrations that the levels are read with


@pytest.fixture(scope="module")
def scene(start):
    """(environment, levels, contexts, lengths int32[L], ModelActor) of a family without sticky
    hands, so that actions tell the states."""
    inner = envs.make("dark-room", size=4, horizon=10, density=0.1)
    pool = draw_levels(wrap(Scramble, pad(inner, 2, 21, 4)), jax.random.key(0), LEVELS)
    levels = pool.levels(jnp.arange(LEVELS))
    play = functools.partial(rollout, pool.env, Oracle(), rollouts=DEMOS + 1)
    groups = jax.jit(play)(jax.random.key(7), levels)
    contexts, lengths = demonstrate(jax.random.key(3), Arm(), groups, DEMOS)
    program, state = start(layers=2)
    lengths = jnp.take_along_axis(lengths, COUNTS[:, None], axis=1)[:, 0]
    return pool.env, levels, contexts, lengths, ModelActor(state.parameters, program.graph)


def test_the_logits_are_those_of_evaluation(scene):
    env, levels, contexts, lengths, actor = scene

    @jax.jit
    def evaluated(actor, levels, contexts, lengths):
        greedy = jnp.zeros(1, bool)
        rows = lengths[:, None]
        return record(actor, jax.random.key(9), [env], [levels], contexts, rows, greedy)[1]

    moments = jax.tree.map(lambda x: x[:, :, 0], evaluated(actor, levels, contexts, lengths))

    @jax.jit
    def replayed(actor, levels, contexts, lengths, actions):
        """Logits float32[T, L, A] along actions int32[T, L]."""

        def level(agent, level, actions):
            key = jax.random.key(0)

            def step(carry, action):
                episode, before, memory = carry
                logits, memory = agent.logits(env, level, episode, before, memory)
                return (advance(env, key, level, episode, action), action, memory), logits

            first = begin(env, key, level), jnp.int32(-1), agent.begin(env, level)
            return jax.lax.scan(step, first, actions)[1]

        agent = reading(actor, contexts, lengths)
        return jax.vmap(level, in_axes=(0, 0, 1), out_axes=1)(agent, levels, actions)

    found = replayed(actor, levels, contexts, lengths, moments.action)
    running = np.asarray(moments.running)
    assert running.sum() > 10
    np.testing.assert_allclose(found[running], moments.logits[running], atol=1e-5)
    # Demonstrations and places matter: other lengths give other logits.
    other = replayed(actor, levels, contexts, jnp.zeros_like(lengths), moments.action)
    assert np.abs(other - found)[:, 1:].max() > 0.05
    np.testing.assert_array_equal(other[:, 0], found[:, 0])  # k = 0 reads nothing anyway


def test_a_model_acts_in_lanes_and_can_be_stopped(scene):
    env, levels, contexts, lengths, actor = scene

    @jax.jit
    def play(actor, levels, contexts, lengths, bar):
        agent = reading(actor, contexts, lengths)
        begun = start(agent, env, jax.random.key(4), levels, LANES)
        whole, _ = go(agent, env, levels, begun)
        return whole, go(agent, env, levels, begun, guard=Guard(jnp.full(len(lengths), bar), 4))[0]

    def confidence(lanes):
        return token_confidence(lanes.logits)

    whole, _ = play(actor, levels, contexts, lengths, jnp.float32(0))
    bar = jnp.float32(np.median(np.asarray(confidence(whole))[np.asarray(whole.live)]))
    whole, guarded = play(actor, levels, contexts, lengths, bar)
    stop = np.asarray(stops(confidence(whole), whole.live, 4, bar))
    assert (stop >= 0).any() and (stop < 0).any()
    live = np.asarray(whole.live) & ((stop < 0)[..., None] | (np.arange(10) <= stop[..., None]))
    np.testing.assert_array_equal(guarded.live, live)
    np.testing.assert_allclose(guarded.logits[live], whole.logits[live], atol=1e-5)
