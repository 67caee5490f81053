"""Contract 5 end to end: an episode acted through the cache is the full forward pass on what comes
of it, and no context shows its query's future."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, struct

from agents.policy import Oracle
from agents.retrieval import READERS
from agents.tokens import Steps, tokens_of
from envs.core import static
from envs.rollout import rollout
from icl.actor import ModelActor, ReaderActor
from icl.arms import Arm, named
from icl.demonstrations import demonstrate
from icl.episodes import SEGMENT, play

LEVELS, DEMOS = 8, 2
HORIZON = SEGMENT + 4  # the cache grows once
COUNTS = jnp.array([0, 1, 2, 2])  # demonstrations that the rows of a context see
GREEDY = jnp.array([False, False, False, True])


class Recorder(struct.PyTreeNode):
    """An actor that hands what it reads and says to the host.

    Attributes:
        inner: who acts.
        hear: called with (time, tokens, logits).
    """

    inner: ModelActor | ReaderActor
    hear: object = static(None)

    def read(self, contexts, lengths):
        return self.inner.read(contexts, lengths)

    def grow(self, memory, steps):
        return self.inner.grow(memory, steps)

    def logits(self, memory, tokens, time):
        logits, memory = self.inner.logits(memory, tokens, time)
        jax.debug.callback(self.hear, time, tokens, logits)
        return logits, memory


@pytest.fixture(scope="module")
def stage(world):
    """(environments, levels, Trajectories) of both families with a horizon beyond a segment; the
    levels are sticky, so that episodes wander off what they were shown."""
    envs, levels, groups = [], [], []
    for pool in world.sticky:
        inner = pool.env.env.env.env.replace(horizon=HORIZON)
        padded = pool.env.env.env.replace(env=inner, horizon=HORIZON)
        scrambled = pool.env.env.replace(env=padded, horizon=HORIZON)
        env = pool.env.replace(env=scrambled, horizon=HORIZON)
        envs.append(env)
        levels.append(pool.levels(jnp.arange(LEVELS)))
        play_out = functools.partial(rollout, env, Oracle(), rollouts=DEMOS + 1)
        groups.append(jax.jit(play_out)(jax.random.key(7), levels[-1]))
    return tuple(envs), tuple(levels), jax.tree.map(lambda *x: jnp.stack(x), *groups)


@pytest.fixture(scope="module")
def demonstrations():
    """demonstrations(arm, groups) -> (contexts [both families], lengths of each row)."""

    @jax.jit
    def make(arm, groups):
        keys = jax.random.split(jax.random.key(3), 2)
        found = jax.vmap(lambda k, g: demonstrate(k, arm, g, DEMOS))(keys, groups)
        flat, lengths = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)
        return flat, lengths[:, COUNTS]

    return make


@pytest.fixture(scope="module")
def acted(stage, start, world):
    """acted(name, contexts, lengths) -> (Played, tokens[T, C, N], logits[T, C, N, A])."""
    envs, levels, _ = stage
    program, state = start(layers=2)
    heard: dict[int, tuple] = {}

    def hear(time, tokens, logits):
        heard[int(time)] = jax.tree.map(np.array, (tokens, logits))

    inner = {"model": ModelActor(state.parameters, program.graph)}
    inner |= {name: ReaderActor(reader, world.face.actions) for name, reader in READERS.items()}

    @jax.jit
    def run(actor, contexts, lengths):
        return play(actor, jax.random.key(9), envs, levels, contexts, lengths, GREEDY)

    def act(name, contexts, lengths):
        heard.clear()
        result = jax.device_get(run(Recorder(inner[name], hear), contexts, lengths))
        jax.effects_barrier()
        assert sorted(heard) == list(range(HORIZON))
        told = jax.tree.map(lambda *x: np.stack(x), *(heard[t] for t in range(HORIZON)))
        return result, *told

    act.forward = jax.jit(lambda tokens: nnx.merge(program.graph, state.parameters)(tokens))
    return act


def whole_rows(contexts, lengths, tokens) -> tuple[Steps, np.ndarray]:
    """Steps[R, P + T] of every row, the demonstrations that it sees and then its episode, built
    from the steps that were taken; and the place float[R] where its episode begins. What is behind
    a row is zero."""
    room = contexts.valid.shape[1] + HORIZON
    said = jax.tree.map(lambda x: np.moveaxis(x, 0, 2), tokens)  # [C, N, T]
    rows, places = [], []
    for c, n in np.ndindex(*lengths.shape):
        length = int(lengths[c, n])
        before = jax.tree.map(lambda x, c=c, k=length: np.asarray(x[c, :k]), contexts.steps)
        own = jax.tree.map(lambda x, c=c, n=n: x[c, n], said)
        outcome = jax.tree.map(lambda x: np.concatenate([x[1:], x[:1]]), own)
        episode = Steps(
            observation=own.observation,
            action=outcome.action,
            reward=outcome.reward,
            terminated=outcome.terminated,
            successor=outcome.successor,
            start=np.arange(HORIZON) == 0,
            cut=np.zeros(HORIZON, bool),
        )
        joined = jax.tree.map(lambda *x: np.concatenate(x), before, episode)
        fill = room - length - HORIZON
        rows.append(
            jax.tree.map(lambda x, f=fill: np.pad(x, ((0, f), *((0, 0),) * (x.ndim - 1))), joined)
        )
        places.append(length)
    return jax.tree.map(lambda *x: np.stack(x), *rows), np.array(places)


@pytest.mark.parametrize(
    "arm", [Arm(), named("isolated-chunks", chunk=12)], ids=["whole", "chunks"]
)
def test_logits_through_the_cache_are_those_of_the_full_forward_pass(
    stage, demonstrations, acted, arm
):
    contexts, lengths = demonstrations(arm, stage[2])
    assert len(np.unique(lengths)) > 6 and (lengths[:, 0] == 0).all()
    _, tokens, logits = acted("model", contexts, lengths)
    steps, places = whole_rows(contexts, lengths, tokens)
    expected = tokens_of(jax.tree.map(jnp.asarray, steps))
    at = places[:, None] + np.arange(HORIZON)
    row = np.arange(len(at))[:, None]
    # What the model was given at each step is what the whole row shows there.
    given = jax.tree.map(lambda x: np.moveaxis(x, 0, 2).reshape(-1, HORIZON, *x.shape[3:]), tokens)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[row, at]), given, expected)
    whole = np.asarray(acted.forward(expected))
    found = np.moveaxis(logits, 0, 2).reshape(-1, HORIZON, logits.shape[-1])
    np.testing.assert_allclose(found, whole[row, at], atol=1e-4)
    # A row that is read one position off is another row.
    seen = places > 0
    assert np.abs(found - whole[row, np.maximum(at - 1, 0)])[seen].max() > 0.05


@pytest.mark.parametrize("name", ["model", *READERS])
def test_no_context_shows_its_querys_future(stage, demonstrations, acted, name):
    """Whatever the query trajectory holds, the same bits come out; a demonstration does matter."""
    _, _, groups = stage

    def forged(rollouts: slice):
        """The pool with other content in some rollouts."""

        def other(x):
            cut = x[:, :, rollouts]
            return x.at[:, :, rollouts].set((cut + 1) % 3 if cut.dtype != bool else ~cut)

        fields = ("observation", "action", "reward", "terminated", "successor")
        return groups.replace(**{field: other(getattr(groups, field)) for field in fields})

    def outcome(pool):
        return acted(name, *demonstrations(Arm(), pool))

    true = outcome(groups)
    for one, two in zip(jax.tree.leaves(outcome(forged(slice(-1, None)))), jax.tree.leaves(true)):
        np.testing.assert_array_equal(one, two)
    changed = outcome(forged(slice(0, 1)))
    assert (changed[2] != true[2])[:, :, 1:].any()
    np.testing.assert_array_equal(changed[2][:, :, 0], true[2][:, :, 0])  # k = 0 sees none
