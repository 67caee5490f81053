"""Rivals: what each is told and asked, against plain Python; and that it acts on what it read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents.tokens import Tokens, tokens_of
from icl.actor import ModelActor
from icl.arms import Arm, named
from icl.conditions import METHODS
from icl.contexts import arrange
from icl.demonstrations import show
from icl.episodes import record
from icl.evaluate import EvaluateConfig, evaluate
from icl.rivals import PROGRAMS
from icl.rivals.conditioning import Conditioned, Promised, to_go
from icl.rivals.distillation import Distillation
from icl.rivals.pretraining import Asking, Pretraining
from icl.rivals.reinforcement import Reinforcement, _advantages
from icl.train import Numbers, Run

SHUFFLED = named("shuffled")


@pytest.fixture(scope="module")
def made(start):
    """made(method, **shapes) -> (Program, TrainState): the tiny model, trained in another way."""

    def make(method, **shapes):
        program, state = start(layers=1, **shapes)
        rival = method(program.graph, program.config)
        return rival, rival.start(state.parameters, state.key)

    return make


def test_every_method_has_a_program():
    assert list(PROGRAMS) == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_acts(made, world, name):
    """Two updates move every parameter that acts, and what comes of them plays a test."""
    program, state = made(PROGRAMS[name], history=9)
    numbers = Numbers(1e-2, warmup=0.0, updates=10.0, weight_decay=0.0, head_start=0.0)
    run = Run(Arm(), numbers, world.sticky[:1])
    after, metrics = jax.jit(lambda s, r: program.chunk(s, r, 1))(state, run)
    assert metrics.loss.shape == (2,) and np.isfinite(metrics.loss).all() and after.step == 2
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), after.parameters, state.parameters)
    assert all(jax.tree.leaves(moved))

    @jax.jit
    def test(parameters, families):
        shown = show(jax.random.key(0), SHUFFLED, families, count=8, demos=2)
        shapes = EvaluateConfig(levels=8, demos=2, block=8)
        return evaluate(program.actor(parameters), shapes, jax.random.key(1), families, shown)

    for result in jax.device_get(test(after.parameters, world.calm[:1])):
        assert result.returns.shape == (2, 8, 3, 2, 1) and np.isfinite(result.returns).all()
        assert (result.hits[:, :, 0] == 0).all() and (result.hits <= result.steps).all()
        assert result.hits[0, :, 1:].sum() > 0  # the first state at least was demonstrated


# Return conditioning. ------------------------------------------------------------------------
def test_what_is_still_to_come_is_counted_in_each_cell(traceable):
    lengths = np.random.default_rng(0).integers(1, 7, (8, 3))
    for arm in (Arm(), named("isolated-chunks", chunk=2), Arm(alone=True)):
        context = jax.jit(arrange)(jax.random.key(0), arm, traceable(lengths, 6))
        found = np.asarray(jax.jit(to_go)(context))
        steps, valid = context.steps, np.asarray(context.valid)
        for row in range(len(valid)):
            total = 0.0
            for place in reversed(range(valid.shape[1])):
                if not valid[row, place]:
                    assert found[row, place] == 0
                    continue
                total += float(steps.reward[row, place])
                assert found[row, place] == pytest.approx(total, 1e-5)
                if steps.start[row, place] or steps.cut[row, place]:
                    total = 0.0


def test_a_promise_is_kept_account_of():
    """The model behind hears the target at the start, less what was earned after; a context tells
    its own."""
    heard: list[np.ndarray] = []

    class Ear:
        graph = parameters = None

        def logits(self, memory, tokens, time):
            heard.append(np.asarray(tokens.reward))
            return tokens.reward, memory

    actor = Promised(model=Ear(), target=1.0)  # type: ignore[arg-type]
    promised = jnp.full((1, 2), 1.0)
    for reward, begins in ((5.0, True), (0.0, False), (0.25, False), (0.5, False), (7.0, True)):
        tokens = _tokens(reward, begins)
        _, (_, promised) = actor.logits((None, promised), tokens, 0)
    np.testing.assert_allclose(np.ravel([h[0, 0] for h in heard]), [1, 1, 0.75, 0.25, 1])


def _tokens(reward, begins):
    full = lambda x, dtype: jnp.full((1, 2), x, dtype)  # noqa: E731
    seen = jnp.zeros((1, 2, 2), jnp.int32)
    return Tokens(seen, full(0, jnp.int32), full(reward, jnp.float32), full(False, bool), seen,
                  full(begins, bool), full(False, bool))  # fmt: skip


def test_a_conditioned_model_acts_as_it_reads(made, world):
    """Its test reads contexts as its training does: with the returns in the rewards' place."""
    program, state = made(Conditioned)
    shown = jax.jit(lambda f: show(jax.random.key(0), Arm(), f, count=4, demos=2))(world.calm)
    context = jax.tree.map(lambda x: x[0, 0], shown.contexts)
    lengths = shown.lengths[0, 0]
    actor = program.actor(state.parameters)
    memory, promised = jax.jit(actor.read)(context, lengths)
    model = nnx.merge(program.graph, state.parameters)
    found, told = memory[0], model.prefill(program.tokens(context))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, told)
    other = model.prefill(context.tokens)
    assert max(jax.tree.leaves(jax.tree.map(lambda x, y: np.abs(x - y).max(), found, other))) > 0.01
    assert (np.asarray(promised) == 1).all()
    assert (np.asarray(program.tokens(context).reward) != context.tokens.reward).any()


def test_a_promised_episode_is_read_as_one_context_would_be(made, world):
    """Contract 5: what the cache says is what a full pass says of the context, told its returns,
    and of the episode, told the promise less what it earned."""
    program, state = made(Conditioned)
    shown = jax.jit(lambda f: show(jax.random.key(0), Arm(), f, count=4, demos=2))(world.calm)
    context = jax.tree.map(lambda x: x[0, 0], shown.contexts)
    lengths = shown.lengths[0, 0][:, -1:]  # all that is there
    levels = world.calm[0][0].levels(jnp.arange(4))
    env = world.calm[0][0].env
    play = jax.jit(
        lambda p: record(program.actor(p), jax.random.key(5), [env], [levels], context, lengths,
                         jnp.zeros(1, bool))
    )  # fmt: skip
    told = jax.device_get(play(state.parameters)[1])
    promised = np.ones(told.reward.shape, np.float32)
    promised[1:] -= np.cumsum(told.reward, axis=0)[:-1]
    own = jax.tree.map(lambda x: x[:, :, 0], told.tokens).replace(reward=promised[..., 0])
    model = jax.jit(lambda p, t: nnx.merge(program.graph, p)(t))
    for row in range(4):
        count, steps = int(lengths[row, 0]), int(told.running[:, row].sum())
        before = jax.tree.map(lambda x, i=row: x[i : i + 1], program.tokens(context))
        whole = jax.tree.map(
            lambda x, y, i=row, n=count: jnp.concatenate([x[0, :n], y[:, i], x[0, n:]])[None],
            before, own,
        )  # fmt: skip
        logits = np.asarray(model(state.parameters, whole))[0, count : count + steps]
        np.testing.assert_allclose(told.logits[:steps, row, 0], logits, atol=1e-4)
        plain = whole.replace(reward=whole.reward.at[0, count].set(0.0))
        other = np.asarray(model(state.parameters, plain))[0, count : count + steps]
        assert np.abs(other - logits).max() > 1e-3


# Decision pretraining. -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def asked(made, traceable):
    """(program, state, lengths, Context) of queries over traceable steps."""
    program, state = made(Pretraining)
    lengths = np.random.default_rng(2).integers(1, 7, (9, 3))
    context = jax.jit(program.arranged)(jax.random.key(1), Arm(), traceable(lengths, 6))
    return program, state, lengths, jax.device_get(context)


def test_a_query_stands_around_the_first_of_the_other_trajectories(asked):
    _, _, lengths, context = asked
    seen = set()
    for row, own in enumerate(lengths):
        count = int(context.slot[row, -1])
        assert context.valid[row].sum() == count
        shown = [0, own[1], own[1] + own[2]].index(count - 2)
        seen.add(shown)
        source = context.source[row, :count]
        assert source[0] == source[-1]  # the query, a step of the first trajectory
        assert source[0] // 6 == row * 3 and source[0] % 6 < own[0]
        rest = [(row * 3 + e) * 6 + t for e in (1, 2)[:shown] for t in range(own[e])]
        assert source[1:-1].tolist() == rest
        edges = [0, 1, 1 + own[1] * (shown > 0), count]
        np.testing.assert_array_equal(context.slot[row], edges)
        np.testing.assert_array_equal(
            context.query[row, :count], [True, *[False] * (count - 2), True]
        )
        assert not context.query[row, count:].any()
        marked = context.steps.start[row] & context.steps.cut[row]
        np.testing.assert_array_equal(marked & context.valid[row], context.query[row])
    queries = np.unique(context.source[:, 0] % 6)
    assert len(queries) > 2 and seen == {0, 1, 2}  # drawn, both of them


def test_its_label_is_the_querys_action_and_nothing_tells_it(asked):
    program, _, lengths, context = asked
    labels = np.asarray(program.labels(context))
    assert (labels == 10_000 + context.source[:, :1]).all()
    tokens = jax.device_get(program.tokens(context))
    assert (tokens.action[:, :2] == -1).all() and (tokens.reward[:, :2] == 0).all()
    assert (tokens.successor[:, :2] == -1).all() and not tokens.terminated[:, :2].any()
    for row in range(len(lengths)):
        count = int(context.slot[row, -1])
        told = tokens.action[row, 2:count]
        np.testing.assert_array_equal(told, 10_000 + context.source[row, 1 : count - 1])
        assert labels[row, 0] not in told


def test_a_test_asks_as_training_does(made, world):
    """Given the very context of a training row, the actor says what the model says at its end."""
    program, state = made(Pretraining)
    levels = world.sticky[0]
    indices = jnp.arange(8)
    groups = program.played(levels, jax.random.split(jax.random.key(0), 8), indices)
    context = jax.jit(program.arranged)(jax.random.key(1), SHUFFLED, groups)
    said = nnx.merge(program.graph, state.parameters)(program.tokens(context))
    last = context.slot[:, -1] - 1
    expected = jnp.take_along_axis(said, last[:, None, None], axis=1)[:, 0]
    # The transitions alone, as a test shows them.
    alone = jax.tree.map(lambda x: x[:, 1:-1], (context.steps, context.valid))
    shown = context.replace(steps=alone[0], valid=alone[1])
    lengths = jnp.stack([last - 1, jnp.zeros_like(last)], axis=1)
    query = jnp.broadcast_to(context.steps.observation[:, :1], (8, 2, 2))
    tokens = jax.tree.map(lambda x: jnp.broadcast_to(x[:1, :1], (8, 2, *x.shape[2:])),
                          tokens_of(context.steps)).replace(observation=query)  # fmt: skip
    actor = program.actor(state.parameters)
    assert isinstance(actor, Asking)
    found, _ = jax.jit(lambda a: a.logits(a.read(shown, lengths), tokens, 0))(actor)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    # With no transition it says what it says of the query alone.
    pair = jax.tree.map(lambda x: x[:, :2], program.tokens(context))
    twice = pair.replace(
        observation=jnp.repeat(pair.observation[:, :1], 2, axis=1),
        start=jnp.ones_like(pair.start), cut=jnp.ones_like(pair.cut),
    )  # fmt: skip
    blank = nnx.merge(program.graph, state.parameters)(twice)[:, 1]
    np.testing.assert_allclose(found[:, 1], blank, atol=1e-4)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.05


def test_a_query_without_transitions_is_refused(made, traceable):
    program, _ = made(Pretraining)
    with pytest.raises(ValueError, match="use arm bursty"):
        program.arranged(jax.random.key(0), Arm(alone=True), traceable(np.full((4, 3), 2), 6))


# Distillation. -------------------------------------------------------------------------------
def test_contexts_hold_the_learners_attempts_in_order(made, world):
    program, _ = made(Distillation, history=40)
    levels = world.sticky[0]
    keys = jax.random.split(jax.random.key(0), 64)
    groups = jax.jit(program.played)(levels, keys, jnp.arange(64))
    won = np.asarray(groups.returns)
    assert won.shape == (64, 3) and won[:, -1].mean() > won[:, 0].mean() + 0.2
    context = jax.jit(program.arranged)(jax.random.key(1), Arm(), groups)
    order = np.where(context.valid, context.source // world.horizon % 3, 99)
    assert (np.diff(order, axis=1) >= 0).all()
    other = dataclasses.replace(program, config=dataclasses.replace(program.config, history=2))
    with pytest.raises(ValueError, match="attempts"):
        other.played(levels, keys, jnp.arange(64))


# Reinforcement. ------------------------------------------------------------------------------
def test_advantages_reach_over_attempts_and_end_with_the_trial():
    rng = np.random.default_rng(0)
    value, reward = rng.normal(size=(2, 7, 2)).astype(np.float32)
    found = np.asarray(_advantages(jnp.asarray(value), jnp.asarray(reward)))
    later = np.zeros(2)
    for t in reversed(range(7)):
        after = value[t + 1] if t < 6 else 0.0
        later = reward[t] + 0.99 * after - value[t] + 0.99 * 0.95 * later
        np.testing.assert_allclose(found[t], later, rtol=1e-4, atol=1e-5)


def test_what_it_judges_is_what_it_acted_by(made, world):
    """At the first pass every ratio is one: the full forward pass gives the cache's logits."""
    program, state = made(Reinforcement)
    done = jax.jit(lambda s: program.explored(s.parameters, jax.random.key(0), world.sticky))(state)
    steps, contexts, trials = done.action.shape
    assert (steps, contexts, trials) == (3 * world.horizon, 16, 4)
    flat = jax.tree.map(lambda x: x.reshape(len(x), -1, *x.shape[3:]).swapaxes(0, 1), done)
    logits, value = jax.jit(program.judge)(state.parameters, flat.tokens)
    np.testing.assert_allclose(logits, flat.logits, atol=1e-4)
    assert value.shape == (64, steps) and not value.any()
    model = nnx.merge(program.graph, state.parameters["model"])
    told = jnp.arange(model.config.width) / 10.0
    _, value = program.judge(state.parameters | {"critic": told}, flat.tokens)
    np.testing.assert_allclose(value, model.features(flat.tokens) @ told, rtol=1e-4, atol=1e-4)
    assert isinstance(program.actor(state.parameters), ModelActor)


def test_its_head_start_is_imitation(made, start, world):
    """All updates of one, and the first half of another: the same bits as the method it is named
    after gives, and a critic that waits."""
    program, state = made(Reinforcement)
    plain, alone = start(layers=1)
    numbers = Numbers(warmup=0.0, updates=4.0, head_start=0.5)
    run = Run(Arm(), numbers, world.sticky[:1])
    found, told = jax.jit(lambda s, r: program.chunk(s, r, 1))(state, run)
    wanted, metrics = jax.jit(lambda s, r: plain.chunk(s, r, 1))(alone, run)
    near = functools.partial(np.testing.assert_allclose, atol=1e-6)
    jax.tree.map(near, found.parameters["model"], wanted.parameters)
    jax.tree.map(near, told, metrics)
    assert found.step == 2 and not found.parameters["critic"].any()
    after, told = jax.jit(lambda s, r: program.chunk(s, r, 1))(found, run)
    assert after.step == 4 and after.parameters["critic"].any()
    assert (told.rows == 32).all() and (metrics.rows == 8).all()


def test_it_comes_to_earn_more(made, world):
    """In sixteen levels, from nothing: an advantage of the wrong sign, of
    other steps or without the reward would earn what chance earns, or less."""
    program, state = made(Reinforcement)
    whole = world.sticky[0]
    few = {
        name: getattr(whole, name)[:16] for name in ("ids", "fingerprints", "references", "solved")
    }
    pool = whole.replace(**few)
    run = Run(Arm(), Numbers(1e-2, warmup=0.0, head_start=0.0), (pool,))
    earned = jax.jit(
        lambda s, key: program.explored(s.parameters, key, (pool,)).reward.sum(0).mean()
    )
    keys = jax.random.split(jax.random.key(9), 4)
    before = np.mean([earned(state, key) for key in keys])
    after, _ = jax.jit(lambda s, r: program.chunk(s, r, 10))(state, run)
    now = np.mean([earned(after, key) for key in keys])
    print(before, now)
    assert now > 1.5 * before
