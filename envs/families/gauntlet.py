"""gauntlet: a walk in which few moments decide, each by a move that is spelled token by token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, static
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    decisive: bool[N], the moments at which the move matters.
    right: int32[N, m] in [0, dials), the right tokens of each moment; 0 where none is decisive.
    """

    decisive: jax.Array
    right: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    place: int32[] in [0, N), the moment that comes.
    letter: int32[] in [0, m), the tokens of its move that have been spelled.
    sound: int32[], 1 while each of them was right, or none of them matters, else 0.
    lost: int32[], 1 once a decisive move was wrong, else 0.
    """

    place: jax.Array
    letter: jax.Array
    sound: jax.Array
    lost: jax.Array


class Gauntlet(Env):
    """A walk through N moments, of which D are decisive: one wrong move there, and the reward is
    gone for good, though the walk goes on. Which steps matter is known here, so that signals that
    claim to know it can be graded.

    Observation: int32[3], the place (0 to N - 1), N + the tokens spelled of the move (0 to m - 1),
    and N + m + (1 once a decisive move was wrong, else 0). Whether the move so far is right is not
    shown: a wrong token comes out when its move is complete. Actions: ``dials`` tokens, and last
    ``wait``, which changes nothing. m tokens make a move, and every move, right or wrong, leads to
    the next place; at a decisive moment it is right if all of its tokens are, elsewhere any is.
    Reward: 1 after the last move if all decisive moves were right, else 0; the last move terminates
    the episode and leaves the agent at the last place.
    Levels: D is ``density`` · N, rounded, at least 1. Of the D evenly spaced moments
    ⌊(j + ½) N / D⌋ each is decisive with probability ``regularity``; the rest of the D are uniform
    over the moments that are not decisive yet. The right tokens are uniform.

    Attributes:
        moments: N, 1 or more.
        dials: the number of tokens, 2 to 8.
        spelling: m, how many tokens spell one move; N * m may not exceed the horizon.
        density: share of the moments that are decisive, in [0, 1].
        regularity: probability that an evenly spaced moment is kept, in [0, 1].
    """

    hidden = (tiles.START, tiles.SPIKES, *tiles.PADS)

    moments: int = static(12)
    dials: int = static(3)
    spelling: int = static(1)
    density: float = 0.4
    regularity: float = 0.5

    def check(self) -> None:
        for name, count, least in (("moments", self.moments, 1), ("spelling", self.spelling, 1)):
            if count < least:
                raise ValueError(f"gauntlet {name} {count}: use {least} or more")
        if not 2 <= self.dials <= len(tiles.PADS):
            raise ValueError(f"gauntlet dials {self.dials}: use 2 to {len(tiles.PADS)}")
        if self.horizon < self.moments * self.spelling:
            raise ValueError(
                f"gauntlet: {self.moments} moments of {self.spelling} tokens take "
                f"{self.moments * self.spelling} steps, the horizon is {self.horizon}; "
                "raise horizon, or lower moments or spelling"
            )

    @property
    def num_actions(self) -> int:
        return self.dials + 1

    @property
    def num_fields(self) -> int:
        return 3

    @property
    def num_symbols(self) -> int:
        return self.moments + self.spelling + 2

    @property
    def num_states(self) -> int:
        return self.moments * self.spelling * 4

    def level(self, key: jax.Array) -> Level:
        keep_key, rank_key, right_key = jax.random.split(key, 3)
        place = jnp.arange(self.moments, dtype=jnp.int32)
        count = jnp.round(jnp.float32(self.density) * self.moments).astype(jnp.int32)
        count = jnp.clip(count, 1, self.moments)
        even = jnp.where(place < count, (2 * place + 1) * self.moments // (2 * count), self.moments)
        kept = jax.random.bernoulli(keep_key, self.regularity, place.shape)
        kept &= jnp.zeros(place.shape, bool).at[even].set(True, mode="drop")
        # The kept ones come first, then the others in random order.
        score = jax.random.uniform(rank_key, place.shape) + kept.astype(jnp.float32)
        decisive = jnp.zeros(place.shape, bool).at[jnp.argsort(-score)].set(place < count)
        shape = (self.moments, self.spelling)
        right = jax.random.randint(right_key, shape, 0, self.dials)
        return Level(decisive, jnp.where(decisive[:, None], right, 0))

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(jnp.int32(0), jnp.int32(0), jnp.int32(1), jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        fits = ~level.decisive[state.place] | (action == level.right[state.place, state.letter])
        sound = state.sound * fits.astype(jnp.int32)
        whole = state.letter == self.spelling - 1
        spelled = State(
            place=jnp.minimum(state.place + whole.astype(jnp.int32), self.moments - 1),
            letter=jnp.where(whole, 0, state.letter + 1),
            sound=jnp.where(whole, 1, sound),
            lost=jnp.where(whole & (sound == 0), 1, state.lost),
        )
        token = action < self.dials
        after = jax.tree.map(lambda new, old: jnp.where(token, new, old), spelled, state)
        over = token & whole & (state.place == self.moments - 1)
        return Outcome(after, (over & (after.lost == 0)).astype(jnp.float32), over)

    def observe(self, level: Level, state: State) -> jax.Array:
        lost = self.moments + self.spelling + state.lost
        return jnp.stack([state.place, self.moments + state.letter, lost])

    def encode(self, level: Level, state: State) -> jax.Array:
        move = state.place * self.spelling + state.letter
        return (move * 2 + state.sound) * 2 + state.lost

    def decode(self, level: Level, index: jax.Array) -> State:
        """The inverse of ``encode``, also where play never leads, as to a wrong move without a
        token: it goes on as it would from any other."""
        move = index // 4
        return State(move // self.spelling, move % self.spelling, index // 2 % 2, index % 2)

    def begins(self, level: Level, state: State) -> jax.Array:
        return state.letter == 0

    def milestone(self, level: Level, state: State) -> jax.Array:
        """The decisive moments that lie behind, while nothing is lost."""
        behind = jnp.arange(self.moments) < state.place
        return jnp.where(state.lost == 0, (level.decisive & behind).sum(), 0).astype(jnp.int32)

    def symmetries(self, level: Level) -> Level:
        """The tokens named in the order in which they are right first: their names mean nothing."""
        asked = (level.right[..., None] == jnp.arange(self.dials)) & level.decisive[:, None, None]
        asked = asked.reshape(-1, self.dials)
        first = jnp.where(asked.any(0), jnp.argmax(asked, axis=0), asked.shape[0])
        name = jnp.argsort(jnp.argsort(first)).astype(jnp.int32)
        right = jnp.where(level.decisive[:, None], name[level.right], 0)
        return jax.tree.map(lambda x: x[None], level.replace(right=right))

    def draw(self, level: Level, state: State) -> jax.Array:
        """The walk, and below each decisive moment its right tokens; the agent goes down as it
        spells, spikes lie ahead of a move that is wrong, and the goal is walled up once lost."""
        letters = jnp.asarray(tiles.PADS, jnp.int32)[level.right]
        spelled = jnp.where(level.decisive[:, None], letters, tiles.FLOOR)
        picture = jnp.pad(spelled.T, ((1, 0), (0, 1)), constant_values=tiles.FLOOR)
        picture = picture.at[0, 0].set(tiles.START)
        picture = picture.at[0, -1].set(jnp.where(state.lost == 0, tiles.GOAL, tiles.WALL))
        ahead = jnp.where(state.sound == 0, tiles.SPIKES, picture[-1, state.place])
        picture = picture.at[-1, state.place].set(ahead)
        return picture.at[state.letter, state.place].set(tiles.AGENT).astype(jnp.int32)

    def from_tiles(self, picture: np.ndarray) -> Level:
        if picture.shape != (1 + self.spelling, 1 + self.moments):
            raise ValueError(
                f"the level is {' x '.join(map(str, picture.shape))} tiles, this environment's are "
                f"{1 + self.spelling} x {1 + self.moments}; make it with other spelling or moments"
            )
        if picture[0, -1] != tiles.GOAL:
            raise ValueError("the first row of the level has to end in 'G'")
        spelled = picture[1:, :-1].T
        letters = np.isin(spelled, tiles.PADS[: self.dials])
        decisive = np.any(letters, axis=1)
        if not decisive.any() or not (letters == decisive[:, None]).all():
            known = "".join(tiles.TILES[pad].character for pad in tiles.PADS[: self.dials])
            raise ValueError(
                f"a decisive moment of the level needs {self.spelling} of the letters {known} "
                "below it, and one moment has to be decisive"
            )
        right = np.where(letters, spelled - tiles.PADS[0], 0)
        return Level(jnp.asarray(decisive), jnp.asarray(right, jnp.int32))


register("gauntlet", Gauntlet)
