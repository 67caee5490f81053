"""random-graph: no grid at all; a local graph whose edges are drawn anew for every level."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, static
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    edges: int32[N, A], the node that each action leads to.
    start: int32[], a node.
    goal: int32[], a node far from it.
    """

    edges: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    node: int32[], where the agent stands.
    """

    node: jax.Array


class RandomGraph(Env):
    """A directed graph that is local: its nodes stand on a ring, and edges lead to near ones only,
    so that the goal is many steps away and random play hardly ever meets it.

    Observation: int32[1], the node. Actions: the node's A edges, whose order means nothing.
    Reward: 1 on reaching the goal, which terminates the episode; 0 elsewhere. Levels: every edge
    leads 1 to ``reach`` places along the ring, either way, uniformly; the start is uniform and
    the goal uniform over the nodes at least ``distance`` places from it. With probability
    ``density`` an edge is blocked: it leads back to its own node.

    Attributes:
        nodes: N, on the ring.
        degree: A, edges of a node.
        reach: longest edge, in places along the ring.
        distance: least distance from start to goal, in places along the ring.
        density: probability of a blocked edge, in [0, 1).
    """

    hidden = (tiles.START, tiles.GOAL)

    nodes: int = static(48)
    degree: int = static(4)
    reach: int = static(3)
    distance: int = static(18)
    density: float = 0.0

    def check(self) -> None:
        if 2 * self.distance > self.nodes or self.reach >= self.nodes:
            raise ValueError(
                f"random-graph: no node of {self.nodes} on a ring is {self.distance} places away "
                f"from another, or edges of {self.reach} go round it; raise nodes"
            )

    @property
    def num_actions(self) -> int:
        return self.degree

    @property
    def num_fields(self) -> int:
        return 1

    @property
    def num_symbols(self) -> int:
        return self.nodes

    @property
    def num_states(self) -> int:
        return self.nodes

    def level(self, key: jax.Array) -> Level:
        hop_key, side_key, start_key, goal_key = jax.random.split(key, 4)
        shape = (self.nodes, self.degree)
        hop = jax.random.randint(hop_key, shape, 1, self.reach + 1)
        hop = jnp.where(jax.random.bernoulli(side_key, shape=shape), hop, -hop)
        blocked = jax.random.bernoulli(jax.random.fold_in(key, 4), self.density, shape)
        hop = jnp.where(blocked, 0, hop)
        start = jax.random.randint(start_key, (), 0, self.nodes)
        away = jax.random.randint(goal_key, (), self.distance, self.nodes - self.distance + 1)
        edges = (jnp.arange(self.nodes)[:, None] + hop) % self.nodes
        return Level(edges.astype(jnp.int32), start, (start + away) % self.nodes)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        node = level.edges[state.node, action]
        won = node == level.goal
        return Outcome(State(node), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.node[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.node

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        """Turned so that the start is node 0, in both directions of the ring, edges in order."""
        place = jnp.arange(self.nodes, dtype=jnp.int32)

        def copy(sign: int) -> Level:
            def image(node: jax.Array) -> jax.Array:
                return (sign * (node - level.start)) % self.nodes

            origin = (level.start + sign * place) % self.nodes
            edges = jnp.sort(image(level.edges[origin]), axis=1)
            return Level(edges, image(level.start), image(level.goal))

        return jax.tree.map(lambda *x: jnp.stack(x), copy(1), copy(-1))

    def draw(self, level: Level, state: State) -> jax.Array:
        """The nodes row by row, in the order of the ring; edges are not drawn."""
        side = math.isqrt(self.nodes - 1) + 1
        places = jnp.arange(-(-self.nodes // side) * side, dtype=jnp.int32)
        picture = jnp.where(places < self.nodes, tiles.FLOOR, tiles.BLANK)
        for tile, node in (
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.node),
        ):
            picture = jnp.where(places == node, tile, picture)
        return picture.reshape(-1, side)

    def text(self, level: Level, state: State) -> str:
        """A line a node: where its edges lead, and who is there."""
        lines = []
        for node, edges in enumerate(np.asarray(level.edges).tolist()):
            marks = [
                mark
                for mark, place in (("@", state.node), ("S", level.start), ("G", level.goal))
                if int(place) == node
            ]
            lines.append(f"{node:3d} -> {' '.join(f'{e:3d}' for e in edges)} {''.join(marks)}")
        return "\n".join(line.rstrip() for line in lines)


register("random-graph", RandomGraph)
