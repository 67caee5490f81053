"""The environment core: what a family of levels must say, and how an episode runs.

A family states pure dynamics, level first: ``level(key)``, ``reset(key, level)``,
``step(key, level, state, action)`` and ``observe(level, state)``. Time, truncation and the
freezing of finished episodes live here, once, in ``begin`` and ``advance``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.table import Table

Level = Any  # a family's own pytree of arrays
State = Any  # a family's own pytree of arrays

PERIODS = 2.0 ** np.arange(1, 7, dtype=np.float32)  # that tell whole numbers apart, up to 64


def static(default: Any) -> Any:
    """A field that is part of the program (a size), not of its data."""
    return struct.field(pytree_node=False, default=default)


class Outcome(NamedTuple):
    """What a family's ``step`` returns.

    Attributes:
        state: the successor, of the family's own type.
        reward: float32[] in [-1, 1].
        terminated: bool[]; the successor is final.
    """

    state: State
    reward: jax.Array
    terminated: jax.Array


def _register(kind: type) -> None:
    """Makes a class a frozen dataclass and a pytree, like flax.struct, but with the class itself
    among what makes two programs different. JAX 0.10 leaves it out (``PyTreeDef.__eq__``), so that
    a compiled program of one family could, by an accident of hashing, be taken for that of another
    one with the same sizes."""
    dataclasses.dataclass(frozen=True)(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    traced = [field.name for field in fields if field.metadata.get("pytree_node", True)]
    sizes = [field.name for field in fields if field.name not in traced]

    def program(env: Env) -> tuple[Any, ...]:
        return (kind, *(getattr(env, name) for name in sizes))

    def flatten(env: Env):
        return tuple(getattr(env, name) for name in traced), program(env)

    def flatten_with_keys(env: Env):
        keys = (jax.tree_util.GetAttrKey(name) for name in traced)
        return tuple(zip(keys, flatten(env)[0], strict=True)), program(env)

    def unflatten(program: tuple[Any, ...], numbers: Any) -> Env:
        return kind(**dict(zip(sizes, program[1:])), **dict(zip(traced, numbers)))

    jax.tree_util.register_pytree_with_keys(kind, flatten_with_keys, unflatten, flatten)


if TYPE_CHECKING:  # what a type checker has to know of Env: it behaves like flax's dataclasses
    _Node = struct.PyTreeNode
else:
    _Node = object


class Env(_Node):
    """A family of levels. Subclasses are frozen dataclasses: sizes are ``static`` fields,
    numbers such as densities are traced leaves, so changing one never recompiles.

    Attributes:
        horizon: steps after which an episode is truncated.
        margin: a level is admitted only if the exact optimal return exceeds that of uniform
            random play by at least this much.
    """

    horizon: int = static(16)
    margin: float = 0.3

    def __init_subclass__(cls, **arguments: Any):
        super().__init_subclass__(**arguments)
        _register(cls)

    if not TYPE_CHECKING:

        def replace(self, **fields: Any) -> Env:
            """A copy with other fields."""
            return dataclasses.replace(self, **fields)

    def check(self) -> None:
        """Raises ValueError where sizes contradict each other; ``make`` calls it."""

    # Sizes of the symbolic interface. -------------------------------------------------
    @property
    def num_actions(self) -> int:
        """A: actions are int32 in [0, A)."""
        raise self._missing("num_actions")

    @property
    def num_fields(self) -> int:
        """F: symbols in one observation."""
        raise self._missing("num_fields")

    @property
    def num_symbols(self) -> int:
        """V: every symbol is int32 in [0, V)."""
        raise self._missing("num_symbols")

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one observation: (F,), or (64, 64, 3) of pixels."""
        return (self.num_fields,)

    @property
    def observation_dtype(self) -> str:
        """``int32`` for symbols, ``uint8`` for pixels."""
        return "int32"

    @property
    def bare(self) -> Env:
        """The family itself, without wrappers."""
        return self

    # Dynamics. --------------------------------------------------------------------------
    def level(self, key: jax.Array) -> Level:
        """Draws one level; the key is consumed. It may be unsolvable: ``LevelSet`` rejects."""
        raise self._missing("level")

    def reset(self, key: jax.Array, level: Level) -> State:
        """The first state. It must not depend on the key if the family is enumerable."""
        raise self._missing("reset")

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        """One transition under action int32[]; the key is consumed."""
        raise self._missing("step")

    def observe(self, level: Level, state: State) -> jax.Array:
        """int32[F]: the symbols that an agent sees in this state."""
        raise self._missing("observe")

    def reveal(self, level: Level, state: State) -> jax.Array:
        """float32[n]: all that an expert without an oracle (agents/ppo.py) may know.

        By default every number of the level and then of the state, leaf by leaf, bools and ints
        cast, random keys left out; then the sines and cosines of the ints at periods of 2, 4 … 64,
        because places and kinds that are neighbours as numbers need not be alike (Fourier features,
        Tancik et al. 2020, arXiv 2006.10739). A family with a better way to say it, such as
        indicators for what lies in each cell, overrides this; n is the same in all levels.
        """
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves((level, state))]
        told = [x.ravel() for x in leaves if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
        whole = [x.astype(jnp.float32) for x in told if jnp.issubdtype(x.dtype, jnp.integer)]
        angles = jnp.concatenate([jnp.zeros(0), *whole])[:, None] * (2 * np.pi / PERIODS)
        waves = [jnp.sin(angles).ravel(), jnp.cos(angles).ravel()]
        return jnp.concatenate([*(x.astype(jnp.float32) for x in told), *waves])

    # Enumeration: with these three the oracle, the expert and exact scores come for free. --
    @property
    def num_states(self) -> int:
        """S: the number of non-final states; 0 where they cannot be enumerated."""
        return 0

    def encode(self, level: Level, state: State) -> jax.Array:
        """int32[] in [0, S), the number of a state."""
        raise self._missing("encode")

    def decode(self, level: Level, index: jax.Array) -> State:
        """The inverse of ``encode``."""
        raise self._missing("decode")

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        """Every possible outcome of a step: (probability float32[K], Outcome with leading K).

        The default is right for deterministic dynamics (K = 1); stochastic families override it.
        """
        outcome = self.step(jax.random.key(0), level, state, action)
        return jnp.ones(1), jax.tree.map(lambda x: jnp.asarray(x)[None], outcome)

    def tabulate(self, level: Level) -> Table:
        """The transition table of one level, by enumeration of states and actions."""
        actions = jnp.arange(self.num_actions, dtype=jnp.int32)

        def row(index: jax.Array):
            state = self.decode(level, index)

            def cell(action):
                probability, outcome = self.outcomes(level, state, action)
                target = jax.vmap(lambda s: self.encode(level, s))(outcome.state)
                return target, probability, outcome.reward, outcome.terminated

            return jax.vmap(cell)(actions)

        target, probability, reward, terminated = jax.vmap(row)(
            jnp.arange(self.num_states, dtype=jnp.int32)
        )
        start = self.encode(level, self.reset(jax.random.key(0), level))
        return Table(
            target=target.astype(jnp.int32),
            probability=probability.astype(jnp.float32),
            reward=reward.astype(jnp.float32),
            terminated=terminated.astype(bool),
            start=start.astype(jnp.int32),
            stickiness=jnp.float32(0.0),
        )

    # Structure, for step signals (icl/signals). --------------------------------------------
    def begins(self, level: Level, state: State) -> jax.Array:
        """bool[]: the agent's next move begins here; False in the middle of one that several
        actions spell. Every action is a move by default."""
        return jnp.ones((), bool)

    def milestone(self, level: Level, state: State) -> jax.Array:
        """int32[]: how many sub-goals have been reached."""
        raise self._missing("milestone")

    # Identity. --------------------------------------------------------------------------
    def symmetries(self, level: Level) -> Level:
        """The level's symmetric copies, stacked on a leading axis; itself alone by default.

        A relabelling that does not change the level as a problem is normalised here.
        """
        return jax.tree.map(lambda x: jnp.asarray(x)[None], level)

    def fingerprint(self, level: Level) -> jax.Array:
        """uint32[2]: a 64-bit hash of the level's content, the smallest over its symmetries."""
        hashes = jax.vmap(hashed)(self.symmetries(level))
        high = hashes[:, 0]
        low = jnp.where(high == high.min(), hashes[:, 1], jnp.uint32(0xFFFFFFFF))
        return jnp.stack([high.min(), low.min()])

    # Pictures. ----------------------------------------------------------------------------
    hidden: ClassVar[tuple[int, ...]] = (tiles.START,)
    """Tiles of ``draw`` that the agent is not shown: they are floor in ``view``."""

    def draw(self, level: Level, state: State) -> jax.Array:
        """int32[H, W]: the whole truth as tiles (envs/tiles.py), for people. Pure; with it,
        pictures, GIFs, text and pixel observations come for free."""
        raise self._missing("draw")

    def view(self, level: Level, state: State) -> jax.Array:
        """int32[H, W]: what the agent may see of ``draw``, as tiles: its pixel observation."""
        picture = self.draw(level, state)
        return jnp.where(jnp.isin(picture, jnp.asarray(self.hidden)), tiles.FLOOR, picture)

    def text(self, level: Level, state: State) -> str:
        """A concrete (not traced) level and state in words a person can read."""
        return tiles.text(np.asarray(self.draw(level, state)))

    def from_tiles(self, picture: np.ndarray) -> Level:
        """The level whose first state ``draw`` shows as int32[H, W]; where levels are grids."""
        raise self._missing("from_tiles")

    def parse(self, text: str) -> Level:
        """The level that lines of text show: the inverse of ``text`` in the first state.

        Raises:
            ValueError: no level of this family and size looks like that.
        """
        return self.from_tiles(tiles.parse(text))

    def _missing(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not define {name!r} (envs/core.py)")


_register(Env)


class TimeStep(struct.PyTreeNode):
    """What an agent receives after acting.

    Attributes:
        observation: int32[F], or uint8[64, 64, 3] of pixels.
        reward: float32[] in [-1, 1].
        terminated: bool[]; the episode reached a final state.
        truncated: bool[]; the horizon cut it off. Never both.
    """

    observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array

    @property
    def last(self) -> jax.Array:
        """bool[]: the episode is over."""
        return self.terminated | self.truncated


class Episode(struct.PyTreeNode):
    """A running or finished episode.

    Attributes:
        state: the family's state.
        time: int32[], steps taken.
        timestep: the latest TimeStep.
    """

    state: State
    time: jax.Array
    timestep: TimeStep


def begin(env: Env, key: jax.Array, level: Level) -> Episode:
    """Starts an episode; the key is consumed."""
    state = env.reset(key, level)
    no = jnp.zeros((), bool)
    return Episode(
        state=state,
        time=jnp.int32(0),
        timestep=TimeStep(env.observe(level, state), jnp.float32(0.0), no, no),
    )


def advance(env: Env, key: jax.Array, level: Level, episode: Episode, action: jax.Array) -> Episode:
    """One step of an episode; the key is consumed. A finished episode stays as it is and pays 0."""
    over = episode.timestep.last
    outcome = env.step(key, level, episode.state, action)
    time = episode.time + 1
    terminated = jnp.asarray(outcome.terminated, bool)
    moved = Episode(
        state=outcome.state,
        time=time,
        timestep=TimeStep(
            observation=env.observe(level, outcome.state),
            reward=jnp.asarray(outcome.reward, jnp.float32),
            terminated=terminated,
            truncated=(time >= env.horizon) & ~terminated,
        ),
    )
    frozen = episode.replace(
        timestep=episode.timestep.replace(reward=jnp.zeros_like(episode.timestep.reward))
    )
    return jax.tree.map(lambda old, new: jnp.where(over, old, new), frozen, moved)


class Policy(Protocol):
    """Who acts. Both methods are pure; the carry holds the policy's memory of one episode."""

    def init(self, key: jax.Array, env: Env, level: Level) -> Any:
        """The carry before the first step. Called once a level and shared by its rollouts."""
        ...

    def act(
        self, key: jax.Array, env: Env, level: Level, state: State, carry: Any
    ) -> tuple[jax.Array, Any]:
        """(action int32[], carry). A policy that is no oracle must look at
        ``env.observe(level, state)`` only. The key is consumed."""
        ...


def mix(x: jax.Array) -> jax.Array:
    """A bijective avalanche of uint32 (the finaliser of MurmurHash3, Appleby)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _words(leaf: jax.Array) -> jax.Array:
    """uint32[n]: the numbers of one array; fractions by their bits."""
    leaf = jnp.ravel(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
    return leaf.astype(jnp.int32).astype(jnp.uint32)


def hashed(content: Level) -> jax.Array:
    """uint32[2] from the numbers of a pytree; each position has its own random function."""
    words = jnp.concatenate([_words(leaf) for leaf in jax.tree.leaves(content)])
    place = jnp.arange(words.size, dtype=jnp.uint32)
    lanes = [
        mix(jnp.bitwise_xor.reduce(mix(words + mix(place * jnp.uint32(odd) + jnp.uint32(odd)))))
        for odd in (0x9E3779B1, 0x7FEB352D)
    ]
    return jnp.stack(lanes)
