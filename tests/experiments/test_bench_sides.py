"""Our sides do the work that the rivals do: the same law of steps, the same logits, the same
model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.transformer import Interface, ModelConfig, define
from envs.wrappers import wrap
from experiments.bench import decode, training
from experiments.bench.actors import Naive, Plain
from experiments.bench.sizes import SIZES, Model
from experiments.bench.views import Coordinates, Slip, Square
from icl.actor import ModelActor

FACE = Interface(fields=2, symbols=38, actions=4)


@pytest.fixture(scope="module")
def room():
    env = envs.make("four-rooms", size=7, horizon=20)
    level = env.level(jax.random.key(3))
    return env, level, env.reset(jax.random.key(0), level)


def test_a_square_shows_the_walls_around_the_agent_and_the_goal(room):
    env, level, _ = room
    square = wrap(Square, env, size=7, view_size=3)
    walls, goal = np.asarray(level.walls).reshape(7, 7), divmod(int(level.goal), 7)
    framed = np.pad(walls.astype(int), 1, constant_values=1)
    framed[goal[0] + 1, goal[1] + 1] = 2
    for cell in np.flatnonzero(~walls.ravel()):
        row, column = divmod(int(cell), 7)
        seen = square.observe(level, env.decode(level, jnp.int32(cell)))
        assert seen.shape == (square.num_fields,)
        assert (np.asarray(seen).reshape(3, 3, 2)[..., 1] == 3).all()
        around = framed[row : row + 3, column : column + 3]
        assert (np.asarray(seen).reshape(3, 3, 2)[..., 0] == around).all()


def test_coordinates_are_those_of_agent_and_goal(room):
    env, level, state = room
    seen = wrap(Coordinates, env, size=7).observe(level, state)
    assert seen.tolist() == [*divmod(int(state.cell), 7), *divmod(int(level.goal), 7)]


def test_slips_are_as_frequent_as_in_gymnax(room):
    """A third of all steps goes where another action leads: 4 / 9, times three in four."""
    _, level, _ = room
    env = envs.make("four-rooms", size=7, density=0.0)
    level = level.replace(walls=jnp.zeros(49, bool), goal=jnp.int32(0))
    middle = env.decode(level, jnp.int32(24))
    slippery = wrap(Slip, env)
    keys = jax.random.split(jax.random.key(0), 20_000)
    went = jax.vmap(lambda key: slippery.step(key, level, middle, jnp.int32(1)).state.cell)(keys)
    share = [float((went == cell).mean()) for cell in (17, 25, 31, 23)]  # up, right, down, left
    np.testing.assert_allclose(share, [1 / 9, 2 / 3, 1 / 9, 1 / 9], atol=0.012)


def test_plain_cache_and_recomputation_give_our_logits():
    """What is raced in ``decode`` is one model: the same actions, whichever way it is decoded."""
    sizes = SIZES["toy"]
    graph, parameters = define(ModelConfig(32, 2, 2), FACE, jax.random.key(0))
    shown = decode._shown(sizes, FACE)
    lengths = jnp.asarray([[0, 3], [8, 5]], jnp.int32)  # rows of one context see more and less
    told = decode._told(sizes, FACE, 35)
    first = jax.tree.map(lambda x: x[0], told)

    @jax.jit
    def steps(actor):
        """Logits of three steps."""
        memory, found = actor.grow(actor.read(shown, lengths), 3), []
        for time in range(3):
            token = jax.tree.map(lambda x, t=time: x[t], told)
            value, memory = actor.logits(memory, token, jnp.int32(time))
            found.append(value)
        return jnp.stack(found)

    ours = steps(ModelActor(parameters, graph))
    assert jnp.abs(ours).max() > 0.1 and first.action.shape == (2, 2)
    np.testing.assert_allclose(steps(Plain(parameters, graph, 35)), ours, atol=2e-5)
    np.testing.assert_allclose(steps(Naive(parameters, graph, 35)), ours, atol=2e-5)


def test_a_rollout_grows_its_cache_past_a_segment():
    graph, parameters = define(ModelConfig(16, 1, 2), FACE, jax.random.key(0))
    sizes = SIZES["toy"]
    shown, told = decode._shown(sizes, FACE), decode._told(sizes, FACE, 33)
    lengths = jnp.full((2, 2), 8, jnp.int32)
    found = [
        jax.jit(decode.rollout)(actor, jax.random.key(1), shown, lengths, told)
        for actor in (ModelActor(parameters, graph), Plain(parameters, graph, 33))
    ]
    assert found[0].shape == (33, 2, 2) and len(np.unique(found[0])) == 4
    assert (found[0] == found[1]).mean() > 0.98


@pytest.fixture(scope="module")
def made():
    return training.make(Model(16, 1, 2, 32, 4), ("dark-room",))


def test_operations_are_those_of_the_matrices(made):
    """Six for each weight and token, but for the embedding, and the attention's own."""
    sizes = [x.size for x in jax.tree.leaves(made.state.parameters) if x.ndim > 1]
    face = made.interface
    embedding = 16 * (2 * face["fields"] * face["symbols"] + face["actions"] + 4)
    assert embedding in sizes
    wanted = 6 * sum(sizes) - 2 * embedding + 6 * 16 * 32
    assert made.operations == 128 * wanted


def test_two_devices_train_as_one(made):
    """``placed`` spreads the batch, which changes nothing but the order of sums."""
    before = jax.tree.leaves(made.state.parameters)
    results = []
    for devices in (1, 2):
        go, _ = training.placed(made, devices, 2)
        results.append(jax.tree.leaves(go().parameters))
    assert max(float(abs(a - b).max()) for a, b in zip(before, results[0])) > 1e-5
    for one, two in zip(*results):
        np.testing.assert_allclose(one, two, atol=2e-5)
    assert all((a == b).all() for a, b in zip(before, jax.tree.leaves(made.state.parameters)))
