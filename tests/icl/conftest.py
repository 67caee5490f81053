"""What the tests of this layer share: two small families behind one interface, drawn once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.transformer import Interface, ModelConfig
from envs.core import Env
from envs.levels import LevelSet, draw_levels
from envs.rollout import Trajectories
from envs.wrappers import Scramble, Sticky, pad, wrap
from icl.demonstrations import Families
from icl.train import TrainConfig, TrainState, initial

FACE = Interface(fields=2, symbols=21, actions=4)
HORIZON = 10


@dataclasses.dataclass(frozen=True)
class World:
    """Two families (a grid and a graph), scrambled, at two stickinesses.

    Attributes:
        face: the common interface.
        horizon: T.
        calm: level sets without stickiness, of each family one of the test split.
        sticky: the training sets, one a family, stickiness 0.2.
    """

    face: Interface
    horizon: int
    calm: Families
    sticky: tuple[LevelSet, ...]


def behind(env: Env, stickiness: float) -> Env:
    common = wrap(Scramble, pad(env, FACE.fields, FACE.symbols, FACE.actions))
    return wrap(Sticky, common, stickiness=stickiness)


@pytest.fixture(scope="session")
def world() -> World:
    inner = [
        envs.make("dark-room", size=4, horizon=HORIZON, density=0.1),
        envs.make("random-graph", nodes=20, reach=2, distance=7, horizon=HORIZON),
    ]
    calm, sticky = [], []
    for index, env in enumerate(inner):
        key = jax.random.key(index)
        calm.append((draw_levels(behind(env, 0.0), key, 16, split="test"),))
        sticky.append(draw_levels(behind(env, 0.2), key, 64, split="train"))
    return World(FACE, HORIZON, tuple(calm), tuple(sticky))


@pytest.fixture(scope="session")
def start():
    """start(seed, layers, **TrainConfig fields) -> (Program, TrainState) of a tiny model."""

    def make(seed: int = 0, layers: int = 2, **fields) -> tuple:
        shapes = TrainConfig(**{"slots": 3, "levels": 8, "pool": 2} | fields)
        model = ModelConfig(width=16, layers=layers, heads=2)
        program, state = initial(model, FACE, jax.random.key(seed), shapes)
        assert isinstance(state, TrainState)
        return program, state

    return make


@pytest.fixture(scope="session")
def traceable():
    """traceable(lengths int[n, E, T's prefix lengths], horizon) -> Trajectories whose every number
    names the flat index in [level, rollout, time] that it belongs to."""

    def make(lengths: np.ndarray, horizon: int, *, won: bool = True) -> Trajectories:
        shape = (*lengths.shape, horizon)
        index = np.arange(np.prod(shape)).reshape(shape)
        valid = np.arange(horizon) < lengths[..., None]
        last = np.arange(horizon) == lengths[..., None] - 1
        done = last & (won & (lengths % 2 == 1) | (lengths < horizon))[..., None]
        return Trajectories(
            observation=jnp.asarray(np.stack([index, -index], axis=-1), jnp.int32),
            action=jnp.asarray(index + 10_000, jnp.int32),
            reward=jnp.asarray(index / 8 + 1, jnp.float32),
            terminated=jnp.asarray(done),
            truncated=jnp.asarray(last & ~done),
            successor=jnp.asarray(np.stack([index + 20_000, index + 30_000], -1), jnp.int32),
            valid=jnp.asarray(valid),
            fingerprint=jnp.stack([jnp.arange(shape[0], dtype=jnp.uint32)] * 2, axis=1),
        )

    return make
