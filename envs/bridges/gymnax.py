"""gymnax: classic control, bsuite, MinAtar and small worlds, those with actions to choose from.

Lange 2022, gymnax: A JAX-based reinforcement learning environment library. The dynamics and views
are the package's own; what is said here is how they become levels, states and symbols.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, ClassVar, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces

from envs import tiles
from envs.bridges import choose
from envs.bridges.symbols import Alphabet, binned, whole
from envs.core import Env, Outcome, static

VARIED: dict[str, dict[str, Any]] = {
    "FourRooms-misc": {"resample_init_pos": True, "resample_goal_pos": True},
    "DeepSea-bsuite": {"sample_action_map": True},
}
"""Parameters unlike the package's defaults, with which all levels would be one."""

CLOCK = "max_steps_in_episode"  # the package's time limit; ``horizon`` takes its place


class State(struct.PyTreeNode):
    """Attributes:
    inner: the package's own state.
    seen: int32[F], the symbols of what the package showed on the way there.
    """

    inner: Any
    seen: jax.Array


class Level(struct.PyTreeNode):
    """Attributes:
    params: the package's parameters, arrays.
    first: the state that an episode starts in.
    """

    params: Any
    first: State


class Gymnax(Env):
    """One of gymnax's environments.

    Observation: int32[F], the package's numbers in their order. Whole numbers are counted from the
    lowest that the package declares; fractions become one of ``bins`` symbols, 0 the lowest
    (envs/bridges/symbols.py). Actions and reward: the package's, the reward clipped to [-1, 1]
    (MetaMaze, for one, pays 10 at the goal). The package's final states end an episode, its time
    limit does not: ``horizon`` does. Levels: the package's first state, drawn once for each level,
    and its parameters, each fraction among them multiplied by a number drawn uniformly from
    1 - ``spread`` to 1 + ``spread``. The package's own options and parameters are fields, too.
    Physics, being sums of fractions, are the same eager and compiled up to rounding only (2e-7 in a
    step of classic control, as measured); all else is the same to the bit.

    Attributes:
        bins: symbols of a number that may be a fraction, at least 2.
        spread: how far levels differ in their parameters, in [0, 1).
    """

    identifier: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()  # fields handed to the package's constructor
    parameters: ClassVar[tuple[str, ...]] = ()  # fields that are numbers in its dynamics
    fractions: ClassVar[tuple[str, ...]] = ()  # those of them that ``spread`` is about

    bins: int = static(8)
    spread: float = 0.0

    def check(self) -> None:
        name = f"gymnax:{self.identifier}"
        if self.bins < 2:
            raise ValueError(f"{name} bins {self.bins}: use 2 or more")
        if not 0 <= self.spread < 1:
            raise ValueError(f"{name} spread {self.spread}: use a share from 0 up to 1")
        try:
            _ = self.foreign
        except Exception as error:  # whatever the package raises about its options
            reason = " ".join(str(error).split())
            raise ValueError(f"{name} cannot be a family: {reason}") from error

    @property
    def foreign(self) -> Foreign:
        """What the package makes of the options."""
        options = tuple((name, getattr(self, name)) for name in self.options)
        return _load(self.identifier, options, self.bins)

    @property
    def num_actions(self) -> int:
        return self.foreign.actions

    @property
    def num_fields(self) -> int:
        return self.foreign.alphabet.fields

    @property
    def num_symbols(self) -> int:
        return self.foreign.alphabet.count

    def level(self, key: jax.Array) -> Level:
        spread_key, reset_key = jax.random.split(key)
        given = {name: getattr(self, name) for name in self.parameters}
        wide = (len(self.fractions),)
        low, high = 1 - self.spread, 1 + self.spread
        factors = jax.random.uniform(spread_key, wide, minval=low, maxval=high)
        for name, factor in zip(self.fractions, factors):
            given[name] = given[name] * factor
        params = jax.tree.map(_strong, self.foreign.params.replace(**given))
        shown, inner = self.foreign.world.reset_env(reset_key, params)
        return Level(params, State(jax.tree.map(_strong, inner), self.foreign.alphabet(shown)))

    def reset(self, key: jax.Array, level: Level) -> State:
        return level.first

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        shown, inner, reward, terminated, _ = self.foreign.world.step_env(
            key, state.inner, action, level.params
        )
        inner = jax.tree.map(lambda new, old: _strong(new, old.dtype), inner, state.inner)
        return Outcome(
            state=State(inner, self.foreign.alphabet(shown)),
            reward=jnp.clip(_strong(reward, jnp.float32), -1.0, 1.0),
            terminated=_strong(terminated, bool),
        )

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.seen

    def symmetries(self, level: Level) -> Level:
        """Itself alone, fractions to 8 binary digits: the last ones depend on the compiler."""

        def rounded(x: jax.Array) -> jax.Array:
            fraction = jnp.issubdtype(x.dtype, jnp.floating)
            return (jax.lax.reduce_precision(x, 8, 7) if fraction else x)[None]

        return jax.tree.map(rounded, level)

    def reveal(self, level: Level, state: State) -> jax.Array:
        """The numbers of the package's parameters and of its state."""
        return super().reveal(level.params, state.inner)


class Frames(Gymnax):
    """Those whose observations are pictures."""

    def draw(self, level: Level, state: State) -> jax.Array:
        """What the agent sees, one letter for each channel, the last channel on top; what has one
        channel only is lit or unlit."""
        alphabet = self.foreign.alphabet
        on = state.seen.reshape(alphabet.shape) * 2 >= alphabet.count
        if on.ndim == 2:
            return jnp.where(on, tiles.LIT, tiles.UNLIT)
        letters = jnp.asarray((*tiles.PADS, *tiles.ITEMS), jnp.int32)[: on.shape[2]]
        top = on.shape[2] - 1 - jnp.argmax(on[..., ::-1], axis=2)
        return jnp.where(on.any(2), letters[top], tiles.FLOOR)


class FourRooms(Gymnax):
    """With a picture of the rooms."""

    hidden = ()

    def draw(self, level: Level, state: State) -> jax.Array:
        picture = jnp.where(self.foreign.world.env_map, tiles.FLOOR, tiles.WALL)
        picture = picture.at[tuple(state.inner.goal)].set(tiles.GOAL)
        return picture.at[tuple(state.inner.pos)].set(tiles.AGENT)


class FrozenLake(Gymnax):
    """With a picture of the lake."""

    hidden = (tiles.START, tiles.LAVA, tiles.GOAL)

    def draw(self, level: Level, state: State) -> jax.Array:
        """Holes are lava."""
        kinds = jnp.asarray((tiles.START, tiles.FLOOR, tiles.LAVA, tiles.GOAL), jnp.int32)
        lake = kinds[self.foreign.world.desc]
        return lake.ravel().at[state.inner.position].set(tiles.AGENT).reshape(lake.shape)


class Foreign(NamedTuple):
    """What the package makes of an id and its options.

    Attributes:
        world: gymnax's environment.
        params: its parameters.
        actions: A, how many there are.
        alphabet: from its observations to symbols.
    """

    world: Any
    params: Any
    actions: int
    alphabet: Alphabet


@functools.cache
def _load(identifier: str, options: tuple[tuple[str, Any], ...], bins: int) -> Foreign:
    with jax.ensure_compile_time_eval():  # it may first be asked for inside a compiled program
        world, params = gymnax.make(identifier, **dict(options))
        actions, shown = world.action_space(params), world.observation_space(params)
        if not isinstance(actions, spaces.Discrete):
            raise ValueError(f"its actions are {actions}; only actions to choose from will do")
        if isinstance(shown, spaces.Discrete):
            return Foreign(world, params, actions.n, whole((), 0, shown.n - 1))
        if not isinstance(shown, spaces.Box):
            raise ValueError(f"it shows {shown}; only numbers in a box will do")
        low, high = np.asarray(shown.low), np.asarray(shown.high)
        first = jax.eval_shape(world.reset_env, jax.random.key(0), params)[0]
        if any(jnp.issubdtype(kind, jnp.integer) for kind in (shown.dtype, first.dtype)):
            alphabet = whole(first.shape, int(low.min()), int(high.max()))
        else:
            alphabet = binned(first.shape, low, high, bins)
        return Foreign(world, params, actions.n, alphabet)


@functools.cache
def family(identifier: str) -> type[Gymnax]:
    """The class of one of gymnax's ids: its options are static fields, its parameters traced ones.

    Raises:
        ValueError: there is no such id (with the nearest one), or the package cannot make it.
    """
    choose("gymnax", identifier, gymnax.registered_envs)
    name = f"gymnax:{identifier}"
    try:
        with jax.ensure_compile_time_eval():
            world, params = gymnax.make(identifier)
    except Exception as error:  # MNIST has to be downloaded
        raise ValueError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    arguments = inspect.signature(type(world)).parameters.values()
    options = {a.name: static(a.default) for a in arguments if not hasattr(Env, a.name)}
    numbers = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    numbers |= VARIED.get(identifier, {})
    numbers = {n: x for n, x in numbers.items() if n != CLOCK and isinstance(x, bool | int | float)}
    contents = {
        "identifier": identifier,
        "options": tuple(options),
        "parameters": tuple(numbers),
        "fractions": tuple(n for n, x in numbers.items() if isinstance(x, float)),
        "__annotations__": dict.fromkeys((*options, *numbers), "Any"),
        "__doc__": Gymnax.__doc__,
        "__module__": __name__,
    }
    return type(name, (_painter(identifier, world, params),), contents | options | numbers)


def _painter(identifier: str, world: Any, params: Any) -> type[Gymnax]:
    named = {"FourRooms-misc": FourRooms, "FrozenLake-misc": FrozenLake}
    shape = getattr(world.observation_space(params), "shape", ())
    return named.get(identifier, Frames if len(shape) in (2, 3) and min(shape) > 1 else Gymnax)


def _strong(number: Any, kind: Any = None) -> jax.Array:
    """An array of a kind of its own, which does not bend to what it meets."""
    number = jnp.asarray(number)
    return jax.lax.convert_element_type(number, kind or number.dtype)
