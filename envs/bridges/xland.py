"""XLand-MiniGrid (package ``xminigrid``): ports of MiniGrid, and XLand's rulesets in rooms.

Nikulin et al. 2023, arXiv 2312.12044. The dynamics, layouts and views are the package's own; what
is said here is how they become levels, states and symbols.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from xminigrid.core.constants import NUM_COLORS, NUM_TILES, Tiles
from xminigrid.core.observation import transparent_field_of_view
from xminigrid.envs.xland import XLandEnvParams
from xminigrid.registration import make, registered_environments
from xminigrid.types import AgentState, RuleSet, StepType, TimeStep
from xminigrid.types import State as ForeignState

from envs import tiles
from envs.bridges import choose
from envs.bridges.rulesets import draw_ruleset
from envs.core import Env, Outcome, static

PICTURES = {
    Tiles.EMPTY: tiles.UNSEEN,
    Tiles.FLOOR: tiles.FLOOR,
    Tiles.WALL: tiles.WALL,
    Tiles.BALL: tiles.PADS[0],
    Tiles.SQUARE: tiles.PADS[1],
    Tiles.PYRAMID: tiles.PADS[2],
    Tiles.GOAL: tiles.GOAL,
    Tiles.KEY: tiles.KEY,
    Tiles.DOOR_LOCKED: tiles.LOCKS[0],
    Tiles.DOOR_CLOSED: tiles.DOOR,
    Tiles.DOOR_OPEN: tiles.FLOOR,
    Tiles.HEX: tiles.PADS[3],
    Tiles.STAR: tiles.PADS[4],
}
FACING = (tiles.WIND_UP, tiles.WIND_RIGHT, tiles.WIND_DOWN, tiles.WIND_LEFT)


class State(struct.PyTreeNode):
    """Attributes:
    grid: uint8[H, W, 2], kind and colour of what each cell holds.
    position: int32[2], the agent's row and column.
    direction: int32[], which way it looks: 0 up, 1 right, 2 down, 3 left.
    pocket: uint8[2], kind and colour of what it carries; zeros for nothing.
    """

    grid: jax.Array
    position: jax.Array
    direction: jax.Array
    pocket: jax.Array


class Level(struct.PyTreeNode):
    """Attributes:
    first: the layout.
    goal: uint8[5], what ends an episode, in xminigrid's encoding.
    rules: uint8[R, 7], what turns into what, in xminigrid's encoding; zeros are no rule.
    carry: what else the environment keeps of a layout (only Memory does).
    """

    first: State
    goal: jax.Array
    rules: jax.Array
    carry: Any


class MiniGrid(Env):
    """One of xminigrid's environments.

    Observation: int32[2 v²], the v × v cells before the agent, which stands in the middle of the
    last row and looks up; row by row, for each cell its kind, 0-12 (empty, floor, wall, ball,
    square, pyramid, goal, key, locked, closed and open door, hex, star; empty lies outside), and
    13 + its colour, 0-11. What the agent carries is not shown. Actions: forward, turn right, turn
    left, pick up, put down, open or close. Reward: 1 on success and 0 elsewhere; the package pays
    1 - 0.9 t / limit instead, a discount that needs the time in the state. Success ends an episode,
    as does Memory's wrong choice; the package's time limit counts for nothing, ``horizon`` does.
    Playground has no goal and pays nothing. Levels: the package's layouts, one for each seed.

    Attributes:
        view_size: v, odd; 0 for the environment's own.
    """

    identifier: ClassVar[str] = ""

    view_size: int = static(0)

    def check(self) -> None:
        if self.view_size and (self.view_size < 3 or self.view_size % 2 == 0):
            raise ValueError(
                f"xland:{self.identifier} view_size {self.view_size}: use an odd number from 3, "
                "or 0 for the environment's own"
            )

    @property
    def view_edge(self) -> int:
        """v, cells along an edge of what the agent sees."""
        return self.view_size or _load(self.identifier)[1].view_size

    @property
    def num_actions(self) -> int:
        world, params = _load(self.identifier)
        return world.num_actions(params)

    @property
    def num_fields(self) -> int:
        return 2 * self.view_edge**2

    @property
    def num_symbols(self) -> int:
        return NUM_TILES + NUM_COLORS

    def level(self, key: jax.Array) -> Level:
        world, params = _load(self.identifier)
        return _content(world.reset(params, key).state)

    def reset(self, key: jax.Array, level: Level) -> State:
        return level.first

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        world, params = _load(self.identifier)
        foreign = ForeignState(
            key=key,
            step_num=jnp.int32(0),  # so the time limit is never reached
            grid=state.grid,
            agent=_agent(state),
            goal_encoding=level.goal,
            rule_encoding=level.rules,
            carry=level.carry,
        )
        before = TimeStep(
            state=foreign,
            step_type=StepType.MID,  # type: ignore[arg-type]
            reward=jnp.float32(0.0),
            discount=jnp.float32(1.0),
            observation={},
        )
        after = world.step(params, before, action)
        return Outcome(
            state=_content(after.state).first,
            reward=(after.reward > 0).astype(jnp.float32),
            terminated=after.discount == 0,
        )

    def observe(self, level: Level, state: State) -> jax.Array:
        return (self._sight(state) + jnp.array([0, NUM_TILES], jnp.int32)).ravel()

    def reveal(self, level: Level, state: State) -> jax.Array:
        """As indicators, 0 or 1: the kind of what lies in each cell that the agent sees and in each
        cell of the grid, its row, its column, where it looks and what it carries; then goal and
        rules as numbers; then the colours of what it sees and carries."""
        height, width = state.grid.shape[:2]
        told = [
            (self._sight(state)[..., 0], NUM_TILES),
            (state.grid[..., 0], NUM_TILES),
            (state.position[0], height),
            (state.position[1], width),
            (state.direction, 4),
            (state.pocket[0], NUM_TILES),
        ]
        parts = [jax.nn.one_hot(part, count).ravel() for part, count in told]
        parts += [x.ravel().astype(jnp.float32) for x in (level.goal, level.rules)]
        colours = (self._sight(state)[..., 1], state.pocket[1])
        parts += [jax.nn.one_hot(part, NUM_COLORS).ravel() for part in colours]
        return jnp.concatenate(parts)

    def draw(self, level: Level, state: State) -> jax.Array:
        """Objects are letters by their shape (a ball, b square, c pyramid, d hex, e star), W is a
        locked door, D a closed one; an open one is floor. An arrow is the agent. Colours and what
        the agent carries are not drawn."""
        facing = jnp.asarray(FACING, jnp.int32)[state.direction]
        row, column = state.position
        return _pictured(state.grid).at[row, column].set(facing)

    def view(self, level: Level, state: State) -> jax.Array:
        edge = self.view_edge
        picture = _pictured(self._sight(state))
        return picture.at[edge - 1, edge // 2].set(tiles.WIND_UP)

    def _sight(self, state: State) -> jax.Array:
        """int32[v, v, 2]: kind and colour of each cell before the agent."""
        edge = self.view_edge
        return transparent_field_of_view(state.grid, _agent(state), edge, edge).astype(jnp.int32)


class Rulesets(MiniGrid):
    """A room, or several, of XLand: in every level another goal, which the agent is not told, with
    rules by which objects turn into others.

    Observation, actions and reward are those of MiniGrid's ports (``MiniGrid`` above). Levels: a
    ruleset (envs/bridges/rulesets.py) and a layout, drawn apart from each other.

    Attributes:
        view_size: v, odd; 0 for the environment's own, which is 5.
        depth: rules between the objects that lie there and the goal.
        distractors: objects that nothing needs.
        rulesets: xminigrid's ``Benchmark`` to draw from instead, uniformly, for instance
            ``xminigrid.load_benchmark("trivial-21k")``, which downloads it.
    """

    depth: int = static(1)
    distractors: int = static(2)
    rulesets: Any = None

    def check(self) -> None:
        super().check()
        if self.rulesets is not None and not hasattr(self.rulesets, "sample_ruleset"):
            raise ValueError(
                f"xland:{self.identifier} rulesets {self.rulesets!r}: give a Benchmark, which "
                "xminigrid.load_benchmark(NAME) downloads, or none to draw rulesets here"
            )
        if not 0 <= self.depth <= 9 or not 0 <= self.distractors <= 20:
            raise ValueError(
                f"xland:{self.identifier} depth {self.depth}, distractors {self.distractors}: "
                "use 0 to 9 rules and 0 to 20 distractors"
            )

    def level(self, key: jax.Array) -> Level:
        ruleset_key, layout_key = jax.random.split(key)
        if self.rulesets is None:
            ruleset = draw_ruleset(ruleset_key, self.depth, self.distractors)
        else:
            ruleset = self.rulesets.sample_ruleset(ruleset_key)
        return self.arrange(layout_key, ruleset)

    def reveal(self, level: Level, state: State) -> jax.Array:
        """What ``MiniGrid`` tells, and the colour of each cell of the grid: rules ask for it."""
        colours = jax.nn.one_hot(state.grid[..., 1], NUM_COLORS)
        return jnp.concatenate([super().reveal(level, state), colours.ravel()])

    def arrange(self, key: jax.Array, ruleset: RuleSet) -> Level:
        """A level with a given ruleset; the key is consumed."""
        world, params = _load(self.identifier)
        return _content(world.reset(params.replace(ruleset=ruleset), key).state)


@functools.cache
def family(identifier: str) -> type[MiniGrid]:
    """The class of one of xminigrid's ids.

    Raises:
        ValueError: there is no such id (with the nearest one).
    """
    choose("xland", identifier, registered_environments())
    base = Rulesets if isinstance(_load(identifier)[1], XLandEnvParams) else MiniGrid
    contents = {"identifier": identifier, "__module__": __name__, "__doc__": base.__doc__}
    kind: Any = type(f"xland:{identifier}", (base,), contents)
    return kind


@functools.cache
def _load(identifier: str) -> tuple[Any, Any]:
    """xminigrid's environment and its parameters."""
    with jax.ensure_compile_time_eval():  # they may first be asked for inside a compiled program
        return make(identifier)


def _pictured(cells: jax.Array) -> jax.Array:
    """int32[...]: the tiles of cells [..., 2]."""
    return jnp.asarray([PICTURES[kind] for kind in range(NUM_TILES)], jnp.int32)[cells[..., 0]]


def _agent(state: State) -> AgentState:
    return AgentState(position=state.position, direction=state.direction, pocket=state.pocket)


def _content(state: ForeignState) -> Level:
    """What of xminigrid's state is content: all but its key and its clock."""
    first = State(
        grid=state.grid,
        position=state.agent.position.astype(jnp.int32),
        direction=jnp.asarray(state.agent.direction, jnp.int32),
        pocket=state.agent.pocket,
    )
    return Level(first, state.goal_encoding, state.rule_encoding, state.carry)
