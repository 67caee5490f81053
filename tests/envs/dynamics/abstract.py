"""Families without a grid, from their documentation alone."""

from typing import Any

from tests.envs.plain import Plain, State, certain


def random_graph(level: Any) -> Plain:
    edges, goal = level.edges.tolist(), int(level.goal)

    def step(state: State, action: int):
        node = edges[state[0]][action]
        return (node,), node == goal, node == goal

    return Plain((int(level.start),), len(edges[0]), certain(step))


FAMILIES = {
    "random-graph": random_graph,
}
