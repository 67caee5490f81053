"""teleporters: a dark room in which some cells lead elsewhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import static
from envs.registry import register
from envs.room import Room, State


class Level(struct.PyTreeNode):
    """Attributes:
    walls: bool[N] over the N = size² cells.
    link: int32[N], where entering a cell leads: to itself, or to the partner of a pad.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    walls: jax.Array
    link: jax.Array
    start: jax.Array
    goal: jax.Array


class Teleporters(Room):
    """A room with a hidden goal and pairs of pads: entering one puts the agent on its partner.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks, and a blocked move does not use the pad under the agent. Reward: 1 on reaching the
    goal, which terminates the episode; 0 elsewhere. Levels: 2 * ``pairs`` pads, the start and the
    goal are different cells drawn uniformly; every other cell is a wall with probability
    ``density``.

    Attributes:
        size: cells along an edge.
        pairs: pairs of pads.
        density: probability of a wall, in [0, 1).
    """

    hidden = (tiles.WALL, tiles.START, tiles.GOAL, *tiles.PADS)

    pairs: int = static(4)

    def check(self) -> None:
        if self.pairs > len(tiles.PADS):
            raise ValueError(f"teleporters pairs {self.pairs}: use at most {len(tiles.PADS)}")
        if self.size**2 < 2 * self.pairs + 2:
            raise ValueError(
                f"teleporters size {self.size}: {self.pairs} pairs of pads, start and goal need "
                f"{2 * self.pairs + 2} cells; raise size or lower pairs"
            )

    def level(self, key: jax.Array) -> Level:
        wall_key, place_key = jax.random.split(key)
        cells = jax.random.permutation(place_key, jnp.arange(self.size**2, dtype=jnp.int32))
        pads, start, goal = cells[: 2 * self.pairs], cells[-1], cells[-2]
        walls = jax.random.bernoulli(wall_key, self.density, (self.size**2,))
        walls = walls.at[pads].set(False).at[start].set(False).at[goal].set(False)
        link = jnp.arange(self.size**2, dtype=jnp.int32).at[pads].set(jnp.roll(pads, self.pairs))
        return Level(walls, link, start, goal)

    def move(self, level: Level, cell: jax.Array, action: jax.Array) -> jax.Array:
        ahead = grid.move(cell, action, self.size)
        blocked = level.walls[ahead] | (ahead == cell)
        return jnp.where(blocked, cell, level.link[ahead])

    def symmetries(self, level: Level) -> Level:
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        link = jnp.take_along_axis(image, level.link[origin], axis=1)
        return Level(level.walls[origin], link, image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> jax.Array:
        cells = jnp.arange(self.size**2)
        first = level.link > cells  # the pads of a pair share the number of its first one
        number = jnp.cumsum(first) - 1
        number = jnp.where(first, number, number[level.link])
        pads = jnp.asarray(tiles.PADS)[number % len(tiles.PADS)]
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (pads, level.link != cells),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.cell),
        )

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        link = np.arange(cells.size, dtype=np.int32)
        for pad in set(cells.tolist()) & set(tiles.PADS):
            places = np.flatnonzero(cells == pad)
            if places.size != 2:
                name = tiles.TILES[pad].character
                raise ValueError(f"pad {name!r} stands {places.size} times; pads come in pairs")
            link[places] = places[::-1]
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            link=jnp.asarray(link),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("teleporters", Teleporters)
