"""Growth: groups of the first seed as trees of lanes, for the view in the page of graded signals.

What a lane holds of its own begins where it forked: the steps before are those of the lane that it
comes from, so that every generated step stands here once, with what it received from all lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.film import draws
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.pictures import Table, legend, lines, numbers
from experiments.signals.cells import first_group, identity
from experiments.signals.config import SignalsConfig
from experiments.study_folder import digest
from icl.signals.methods import Signal
from icl.signals.truth import Truth
from icl.signals.world import World

FILE = "grade/trees.json"
LEVELS = 2
LANES = 48  # more of a method and level are too many to look at


class Group(NamedTuple):
    """A method's group in every level, on the host.

    Attributes:
        signal: Lanes[L, N, T] and their credit.
        truth: Truth[L, N, T].
        received: float32[L, N, T], by a lane's own steps.
    """

    signal: Signal
    truth: Truth
    received: np.ndarray


def write(folder: RunFolder, config: SignalsConfig) -> None:
    """Draws the first group that each method was graded by and writes ``grade/trees.json``, if it
    is not there yet."""
    of = digest([identity("grade", config, method, config.seed) for method in config.method])
    if _is(folder, of):
        return
    world, groups = None, {}
    for method in config.method:
        world, *group = first_group(config, method, config.seed)
        groups[method] = Group(*jax.device_get(group))
    assert world is not None  # a configuration names a method
    shown = telling([group.signal.lanes.returns for group in groups.values()])
    pictures = Table()
    drawn = _drawn(world, shown, groups.values(), pictures)
    folder.write(
        FILE,
        {
            "schema": 1,
            "of": of,
            "seed": config.seed,
            "family": config.family,
            "tiles": legend(),
            "pictures": pictures.items,
            "trees": [
                {
                    "method": method,
                    "level": level,
                    "count": int(group.signal.lanes.live.shape[1]),
                    "lanes": _lanes(group, level, drawn),
                }
                for method, group in groups.items()
                for level in shown
            ],
        },
    )


def telling(returns: Sequence[np.ndarray]) -> list[int]:
    """The levels in which most groups, float32[L, N] each, both won and lost; the first ones among
    equals."""
    won = [np.asarray(earned) > 0 for earned in returns]
    mixed = np.sum([some.any(1) & ~some.all(1) for some in won], axis=0)
    return sorted(np.argsort(-mixed, kind="stable")[:LEVELS].tolist())


def order(holder: Sequence[int], fork: Sequence[int]) -> list[int]:
    """Lanes one below the other: after each those that come from it, the latest fork first, so that
    no line crosses another.

    Args:
        holder: the lane that each comes from; itself where it began.
        fork: the step that it forked before.
    """
    below: dict[int, list[int]] = {}
    for lane in range(len(holder)):
        if holder[lane] != lane:
            below.setdefault(holder[lane], []).append(lane)
    found, left = [], [lane for lane in reversed(range(len(holder))) if holder[lane] == lane]
    while left:
        found.append(left.pop())
        left += sorted(below.get(found[-1], []), key=lambda lane: fork[lane])
    return found


def _lanes(group: Group, level: int, drawn: Mapping[tuple[int, int], int]) -> list[dict[str, Any]]:
    """What a page shows of the lanes of a level, in their order."""
    lanes, truth = jax.tree.map(lambda x: x[level], (group.signal.lanes, group.truth))
    received, log = group.received[level], np.asarray(group.signal.lanes.log)[level]
    owner, fork = lanes.owner, lanes.fork.tolist()
    # A lane comes from whose step is the last that it shares; before any, from its parent.
    holder = [
        int(owner[lane, at - 1] if at else lanes.parent[lane]) for lane, at in enumerate(fork)
    ]
    place = {lane: row for row, lane in enumerate(order(holder, fork)[:LANES])}
    trees: dict[int, int] = {}
    found = []
    for lane in place:
        own = slice(fork[lane], fork[lane] + int(lanes.own[lane].sum()))
        trees[lane] = len({*trees.values()}) if holder[lane] == lane else trees[holder[lane]]
        fatal = np.flatnonzero(truth.fatal[lane] & lanes.own[lane])
        leaves = (owner == lane).sum(0)
        found.append(
            {
                "tree": trees[lane],
                "from": place[holder[lane]] if holder[lane] != lane else -1,
                "fork": fork[lane],
                "actions": numbers(lanes.action[lane, own]),
                "probabilities": numbers(np.exp(log[lane, own])),
                "credit": numbers(received[lane, own]),
                "advantage": numbers(truth.advantage[lane, own]),
                "value": numbers(truth.value[lane, own]),
                "reward": numbers(lanes.reward[lane, own]),
                "leaves": numbers(leaves[own]),
                "pictures": numbers(
                    drawn[level, int(state)]
                    for state in lanes.state[lane, own.start : own.stop + 1]
                ),
                "fatal": int(fatal[0]) if len(fatal) else -1,
                "return": float(lanes.reward[lane].sum()),
                "terminated": bool(lanes.terminated[lane]),
            }
        )
    return found


def _drawn(
    world: World, levels: Sequence[int], groups: Any, pictures: Table
) -> dict[tuple[int, int], int]:
    """The number of the picture of every level and state that was visited."""
    states = {
        level: np.unique(np.concatenate([g.signal.lanes.state[level].ravel() for g in groups]))
        for level in levels
    }
    spots = [(level, int(state)) for level in levels for state in states[level]]
    if not draws(world.env):
        return dict.fromkeys(spots, pictures.number(""))

    @jax.jit
    @jax.vmap
    def draw(level: jax.Array, state: jax.Array) -> jax.Array:
        own = jax.tree.map(lambda x: x[level], world.levels)
        return world.env.draw(own, world.env.decode(own, state))

    seen = np.asarray(draw(*jnp.asarray(spots, jnp.int32).T))
    return {
        spot: pictures.number(lines(picture, world.env))
        for spot, picture in zip(spots, seen, strict=True)
    }


def _is(folder: RunFolder, of: str) -> bool:
    """What is there is of these settings."""
    if not (folder.path / FILE).is_file():
        return False
    try:
        return folder.read(FILE)["of"] == of
    except (ConfigError, LookupError, TypeError):
        return False
