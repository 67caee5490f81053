"""lights-out: buttons that turn several lights at once; put all of them out."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Env, Outcome, static
from envs.registry import register

NEVER = np.iinfo(np.int32).max


class Level(struct.PyTreeNode):
    """Attributes:
    wires: int32[A, n], 1 where a button turns a light, else 0.
    start: int32[n], the colours at first.
    """

    wires: jax.Array
    start: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    presses: int32[] in [0, c ** A): how often each button has been pressed, modulo c, as the
        digits of a number in base c, the first button's the lowest.
    """

    presses: jax.Array


class LightsOut(Env):
    """The puzzle Lights Out with wires of its own in every level (the board's theory: Anderson &
    Feil 1998); with three colours, as in Lights Out 2000, a button has to be pressed up to twice.

    Observation: int32[n], the colour of each light, 0 (off) to c - 1. Actions: A buttons; each
    turns each light that it is wired to on to the next colour, from the last one to off. Reward: 1
    when all lights are off, which terminates the episode; 0 elsewhere. Levels: every button is
    wired to one light, uniform, and to each other light with probability ``density``. The start is
    uniform over the patterns that take ``presses`` presses or more to put out; where none takes
    that many, over those that take the most. The order of presses does not matter.

    Attributes:
        lights: n, 2 to 12; c ** n at most 4096.
        buttons: A, 2 to 6.
        colours: c, off included, 2 to 4.
        presses: least number of presses from the start.
        density: probability of each further wire, in [0, 1].
    """

    hidden = (*tiles.PADS, tiles.WIND_UP)

    lights: int = static(6)
    buttons: int = static(5)
    colours: int = static(3)
    presses: int = static(5)
    density: float = 0.4

    def check(self) -> None:
        for name, count, low, high in (
            ("lights", self.lights, 2, 12),
            ("buttons", self.buttons, 2, 6),
            ("colours", self.colours, 2, 4),
            ("presses", self.presses, 1, self.buttons * (self.colours - 1)),
        ):
            if not low <= count <= high:
                raise ValueError(f"lights-out {name} {count}: use {low} to {high}")
        patterns = self.colours**self.lights
        if patterns > 4096:
            raise ValueError(
                f"lights-out: {self.lights} lights of {self.colours} colours show {patterns} "
                "patterns, 4096 are the most; use fewer lights"
            )

    @property
    def num_actions(self) -> int:
        return self.buttons

    @property
    def num_fields(self) -> int:
        return self.lights

    @property
    def num_symbols(self) -> int:
        return self.colours

    @property
    def num_states(self) -> int:
        return self.colours**self.buttons

    def level(self, key: jax.Array) -> Level:
        own_key, wire_key, start_key = jax.random.split(key, 3)
        own = jax.random.randint(own_key, (self.buttons, 1), 0, self.lights)
        wired = jax.random.bernoulli(wire_key, self.density, (self.buttons, self.lights))
        wires = (wired | (jnp.arange(self.lights) == own)).astype(jnp.int32)
        cost = self._cost(wires)
        solvable = cost < NEVER
        most = jnp.where(solvable, cost, 0).max()
        start = grid.choose(start_key, solvable & (cost >= jnp.minimum(most, self.presses)))
        return Level(wires, self._digits(start, self.lights))

    def _cost(self, wires: jax.Array) -> jax.Array:
        """int32[c ** n]: the least number of presses that put out each pattern, a number in base c
        like ``State.presses``; NEVER where none do."""
        every = itertools.product(range(self.colours), repeat=self.buttons)
        counts = np.array(list(every), np.int32)  # how often to press each button
        weight = self.colours ** np.arange(self.lights, dtype=np.int32)
        pattern = ((-counts @ wires) % self.colours * weight).sum(1, dtype=jnp.int32)
        never = jnp.full(self.colours**self.lights, NEVER, jnp.int32)
        return never.at[pattern].min(jnp.asarray(counts.sum(1, dtype=np.int32)))

    def _digits(self, number: jax.Array, count: int) -> jax.Array:
        """int32[count]: the digits of a number int32[] in base c, the lowest first."""
        return number // self.colours ** np.arange(count, dtype=np.int32) % self.colours

    def _shown(self, level: Level, state: State) -> jax.Array:
        """int32[n]: the colour of each light."""
        counts = self._digits(state.presses, self.buttons)
        turned = (counts[:, None] * level.wires).sum(0, dtype=jnp.int32)
        return (level.start + turned) % self.colours

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        pressed = jnp.arange(self.buttons) == action
        counts = self._digits(state.presses, self.buttons) + pressed.astype(jnp.int32)
        weight = self.colours ** np.arange(self.buttons, dtype=np.int32)
        after = State((counts % self.colours * weight).sum(dtype=jnp.int32))
        won = (self._shown(level, after) == 0).all()
        return Outcome(after, won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return self._shown(level, state)

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.presses

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        """Under every order of the buttons, the lights sorted: neither have names that matter."""
        orders = jnp.asarray(list(itertools.permutations(range(self.buttons))), jnp.int32)

        def copy(order: jax.Array) -> Level:
            wires = level.wires[order]
            by_kind = jnp.lexsort((level.start, *wires))
            return Level(wires[:, by_kind], level.start[by_kind])

        return jax.vmap(copy)(orders)

    def draw(self, level: Level, state: State) -> jax.Array:
        """The lights, and below them a row for each button: an arrow to every light it turns."""
        kinds = jnp.asarray([tiles.UNLIT, tiles.LIT, *tiles.DIGITS[2 : self.colours]], jnp.int32)
        sight = jnp.pad(kinds[self._shown(level, state)], (1, 0), constant_values=tiles.AGENT)
        names = jnp.asarray(tiles.PADS[: self.buttons], jnp.int32)
        wires = jnp.where(level.wires == 1, tiles.WIND_UP, tiles.FLOOR)
        panel = jnp.concatenate([names[:, None], wires.astype(jnp.int32)], axis=1)
        return jnp.concatenate([sight[None], panel])

    def from_tiles(self, picture: np.ndarray) -> Level:
        if picture.shape != (1 + self.buttons, 1 + self.lights):
            raise ValueError(
                f"the level is {' x '.join(map(str, picture.shape))} tiles, this environment's are "
                f"{1 + self.buttons} x {1 + self.lights}; make it with other buttons or lights"
            )
        kinds = [tiles.UNLIT, tiles.LIT, *tiles.DIGITS[2 : self.colours]]
        shown = picture[0, 1:].tolist()
        if not set(shown) <= set(kinds):
            known = "".join(tiles.TILES[kind].character for kind in kinds)
            raise ValueError(f"the first row of the level shows no lights; use @ and then {known}")
        wires = (picture[1:, 1:] == tiles.WIND_UP).astype(np.int32)
        start = [kinds.index(tile) for tile in shown]
        return Level(jnp.asarray(wires), jnp.asarray(start, jnp.int32))


register("lights-out", LightsOut)
