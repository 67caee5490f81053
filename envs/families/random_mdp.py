"""random-mdp: chance without structure; every action of every state leads to one of a few places,
by probabilities drawn anew for every level."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Outcome, static
from envs.families.random_graph import RandomGraph, State
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    target: int32[N, A, K], the nodes that each action may lead to.
    probability: float32[N, A, K], of each of them, summing to 1.
    start: int32[], a node.
    goal: int32[], a node far from it.
    """

    target: jax.Array
    probability: jax.Array
    start: jax.Array
    goal: jax.Array


class RandomMDP(RandomGraph):
    """A Garnet (Archibald, McKinnon & Thomas 1995) that is local: its nodes stand on a ring, and
    actions lead to near ones only, so that random play hardly ever meets the goal.

    Observation: int32[1], the node. Actions: A in each node, whose order means nothing. Reward: 1
    on reaching the goal, which terminates the episode; 0 elsewhere. Levels: every action of every
    node has K different nodes to lead to, uniform over the sets of K within ``reach`` places
    along the ring, either way, itself excepted; their probabilities are the parts of the unit
    interval between K - 1 uniform cuts. With probability ``density`` an action is blocked instead:
    it stays for sure. The start is uniform, and the goal uniform over the nodes at least
    ``distance`` places from it.

    Attributes:
        nodes: N, on the ring.
        degree: A, actions in each node.
        branches: K, places that an action may lead to.
        reach: longest move, in places along the ring.
        distance: least distance from start to goal, in places along the ring.
        density: probability of a blocked action, in [0, 1).
    """

    nodes: int = static(40)
    branches: int = static(2)
    distance: int = static(14)
    density: float = 0.1

    def check(self) -> None:
        if 2 * self.distance > self.nodes or 2 * self.reach >= self.nodes:
            raise ValueError(
                f"random-mdp: no node of {self.nodes} on a ring is {self.distance} places away "
                f"from another, or moves of {self.reach} meet behind it; raise nodes"
            )
        if not 1 <= self.branches <= 2 * self.reach:
            raise ValueError(
                f"random-mdp: {self.branches} branches of an action, but {2 * self.reach} places "
                f"within {self.reach}; use fewer branches, or raise reach"
            )

    def level(self, key: jax.Array) -> Level:
        hop_key, part_key, block_key, start_key, goal_key = jax.random.split(key, 5)
        shape = (self.nodes, self.degree)
        hops = np.array([h for h in range(-self.reach, self.reach + 1) if h], np.int32)
        order = jnp.argsort(jax.random.uniform(hop_key, (*shape, hops.size)), axis=-1)
        hop = jnp.asarray(hops)[order[..., : self.branches]]
        cuts = jnp.sort(jax.random.uniform(part_key, (*shape, self.branches - 1)), axis=-1)
        ends = jnp.zeros((*shape, 1)), jnp.ones((*shape, 1))
        probability = jnp.diff(jnp.concatenate([ends[0], cuts, ends[1]], axis=-1))
        blocked = jax.random.bernoulli(block_key, self.density, (*shape, 1))
        hop = jnp.where(blocked, 0, hop)
        first = (jnp.arange(self.branches) == 0).astype(jnp.float32)
        start = jax.random.randint(start_key, (), 0, self.nodes)
        away = jax.random.randint(goal_key, (), self.distance, self.nodes - self.distance + 1)
        node = jnp.arange(self.nodes, dtype=jnp.int32)[:, None, None]
        return Level(
            target=(node + hop) % self.nodes,
            probability=jnp.where(blocked, first, probability),
            start=start,
            goal=(start + away) % self.nodes,
        )

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        below = jnp.cumsum(level.probability[state.node, action])[:-1]
        branch = (jax.random.uniform(key) >= below).sum()
        return self._land(level, level.target[state.node, action, branch])

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        landing = jax.vmap(lambda node: self._land(level, node))(level.target[state.node, action])
        return level.probability[state.node, action], landing

    def _land(self, level: Level, node: jax.Array) -> Outcome:
        won = node == level.goal
        return Outcome(State(node), won.astype(jnp.float32), won)

    def symmetries(self, level: Level) -> Level:
        """Turned so that the start is node 0, in both directions of the ring; the branches of an
        action and the actions of a node in order."""
        place = jnp.arange(self.nodes, dtype=jnp.int32)

        def copy(sign: int) -> Level:
            def image(node: jax.Array) -> jax.Array:
                return (sign * (node - level.start)) % self.nodes

            origin = (level.start + sign * place) % self.nodes
            target, probability = image(level.target[origin]), level.probability[origin]
            order = jnp.lexsort((probability, target))
            target, probability = (
                jnp.take_along_axis(x, order, axis=-1) for x in (target, probability)
            )
            keys = [x[..., k] for k in range(self.branches) for x in (probability, target)]
            order = jnp.lexsort(keys)[..., None]
            target, probability = (
                jnp.take_along_axis(x, order, axis=1) for x in (target, probability)
            )
            return Level(target, probability, image(level.start), image(level.goal))

        return jax.tree.map(lambda *x: jnp.stack(x), copy(1), copy(-1))

    def text(self, level: Level, state: State) -> str:
        """A line a node: where each action leads, how likely in percent, and who is there."""
        target, chance = np.asarray(level.target), np.asarray(level.probability)
        marks = (("@", state.node), ("S", level.start), ("G", level.goal))
        lines = []
        for node in range(self.nodes):
            actions = " | ".join(
                " ".join(f"{t:2d} {p:3.0%}" for t, p in zip(*action, strict=True) if p > 0)
                for action in zip(target[node].tolist(), chance[node].tolist(), strict=True)
            )
            who = "".join(mark for mark, place in marks if int(place) == node)
            lines.append(f"{node:2d} -> {actions}  {who}".rstrip())
        return "\n".join(lines)


register("random-mdp", RandomMDP)
