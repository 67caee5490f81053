"""Every check of a family's form finds the twin that breaks it, and names method and remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, static
from tests.envs.corridor import Corridor, Level, State, fails, fault, paying, stepping, twin


@pytest.mark.parametrize("thing", [int, "a word", print, struct.PyTreeNode])
def test_no_family(thing):
    assert "is no subclass of Env: write `class " in fails("family", thing)


class Listed(Corridor):
    cells: list = struct.field(pytree_node=False, default_factory=list)


class StaticNumber(Corridor):
    density: float = static(0.2)


class Worded(Corridor):
    colour: str = "blue"


class Refused(Corridor):
    def check(self):
        raise ValueError("length 24: use 25 or more")


class Unmakeable(Corridor):
    def __post_init__(self):
        self.length = 30


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (Listed, ("field cells", "holds a list", "use a tuple")),
        (StaticNumber, ("field density is static", "`density: float = 0.2`")),
        (Worded, ("field colour holds 'blue'", "`colour: str = static('blue')`")),
        (Refused, ("check refuses", "use 25 or more")),
        (Unmakeable, ("Unmakeable()", "test_check_form.py, line", "self.length = 30", "replace")),
        (Corridor(horizon=0), ("field horizon is 0", "1 or more")),
    ],
)
def test_broken_fields(family, parts):
    fault("fields", family, parts)


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        ({"num_actions": Env.num_actions}, ("num_actions is missing", "define it")),
        ({"num_symbols": lambda self: 24}, ("num_symbols is a method", "@property")),
        ({"num_states": 24.0}, ("num_states is 24.0, a float", "Python int")),
        ({"num_states": property(lambda self: jnp.int32(24))}, ("num_states", "Python int")),
        ({"num_fields": 0}, ("num_fields is 0", "1 or more")),
        ({"num_actions": True}, ("num_actions is True", "Python int")),
    ],
)
def test_broken_sizes(members, parts):
    fault("sizes", twin(**members), parts)


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        (
            {"step": Env.step, "observe": Env.observe},
            ("step and observe missing", "`def step(self, key, level, state, action)`"),
        ),
        ({"decode": Env.decode}, ("decode missing", "`def decode(self, level, index)`")),
        (
            {"reset": lambda self, level, key: State(level.start)},
            ("reset takes (self, level, key)", "(self, key, level)"),
        ),
        ({"level": lambda self: None}, ("level takes (self)", "(self, key)")),
    ],
)
def test_broken_methods(members, parts):
    fault("methods", twin(**members), parts)


class Branching(Corridor):
    def step(self, key, level, state, action):
        if state.cell == level.goal:
            return Outcome(state, jnp.float32(0.0), jnp.array(True))
        return super().step(key, level, state, action)


class Counting(Corridor):
    def observe(self, level, state):
        return jnp.stack([sum(1 for _ in range(state.cell))])


class Numpy(Corridor):
    def observe(self, level, state):
        return np.array([state.cell])


class Masked(Corridor):
    def observe(self, level, state):
        cells = jnp.arange(self.length)
        return cells[cells == state.cell]


class Numbered(Corridor):
    def encode(self, level, state):
        return int(state.cell)


class Assigning(Corridor):
    def draw(self, level, state):
        picture = jnp.zeros((1, self.length), jnp.int32)
        picture[0, state.cell] = tiles.AGENT
        return picture


class Changing(Corridor):
    def step(self, key, level, state, action):
        state.cell = state.cell + 1
        return Outcome(state, jnp.float32(0.0), jnp.array(False))


class Sized(Corridor):
    width: int = 5

    def level(self, key):
        jnp.zeros(self.width)
        return super().level(key)


class Looping(Corridor):
    width: int = 5

    def reset(self, key, level):
        for _ in range(self.width):
            pass
        return super().reset(key, level)


class Plain:
    cell = 3


class Misspelt(Corridor):
    def observe(self, level, state):
        return state.sell[None]


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (Branching, ("step (", "`if state.cell == level.goal:`", "jnp.where", "jax.lax.cond")),
        (Counting, ("observe (", "range(state.cell)", "fori_loop")),
        (Numpy, ("observe (", "np.array([state.cell])", "jnp in place of np")),
        (Masked, ("observe (", "cells[cells == state.cell]", "jnp.where(mask")),
        (Numbered, ("encode (", "int(state.cell)", "keep it an array")),
        (Assigning, ("draw (", "tiles.AGENT`", ".at[index].set(value)")),
        (Changing, ("step (", "state.cell = state.cell + 1", "replace")),
        (Sized, ("level (", "the field width", "`width: int = static(5)`")),
        (Looping, ("reset (", "the field width", "`width: int = static(5)`")),
        (Misspelt, ("observe (", "state.sell[None]", "AttributeError")),
        (
            twin(reset=lambda self, key, level: Plain()),
            ("reset", "no pytree of arrays", "struct.PyTreeNode"),
        ),
        (twin(level=lambda self, key: None), ("level", "Level")),
        (twin(level=lambda self, key: ()), ("level", "Level")),
    ],
)
def test_what_does_not_compile(family, parts):
    fault("compiles", family, parts)


def test_the_line_is_the_one_of_the_mistake():
    source = Branching.step.__code__
    assert f"test_check_form.py, line {source.co_firstlineno + 1}: `if" in fails(
        "compiles", Branching
    )


class Keyed(struct.PyTreeNode):
    cell: jax.Array
    key: jax.Array


class KeyInState(Corridor):
    def reset(self, key, level):
        return Keyed(level.start, key)

    def step(self, key, level, state, action):
        cell, reward, over = super().step(key, level, State(state.cell), action)
        return Outcome(Keyed(cell.cell, state.key), reward, over)

    def decode(self, level, index):
        return Keyed(index, jax.random.key(0))


class OldKeyInState(KeyInState):
    def reset(self, key, level):
        return Keyed(level.start, jax.random.key_data(key))


class KeyInLevel(Corridor):
    def level(self, key):
        return Keyed(super().level(key), key)

    def reset(self, key, level):
        return State(level.cell.start)

    def step(self, key, level, state, action):
        return super().step(key, level.cell, state, action)

    symmetries = Env.symmetries

    def draw(self, level, state):
        return super().draw(level.cell, state)


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (KeyInState, ("reset puts a random key into the state, key", "leave it out")),
        (OldKeyInState, ("reset puts a random key", "uint32", "use int32")),
        (KeyInLevel, ("level puts a random key into the level, key", "leave it out")),
    ],
)
def test_a_key_that_is_kept(family, parts):
    fault("keys", family, parts)


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            twin(observe=lambda self, level, state: state.cell[None] / 2),
            ("observe returns float32[1], expected int32[1]", "astype(jnp.int32)"),
        ),
        (
            twin(observe=lambda self, level, state: state.cell),
            ("observe returns int32[], expected int32[1]", "num_fields"),
        ),
        (twin(observe=lambda self, level, state: None), ("observe returns nothing",)),
        (paying(lambda won: won.astype(jnp.int32)), ("step", "reward as int32[]", "float32")),
        (
            paying(lambda won: won.astype(jnp.float32)[None]),
            ("step", "reward as float32[1]", "expected float32[]"),
        ),
        (
            paying(lambda won: won.astype(jnp.float32), lambda won: won.astype(jnp.int32)),
            ("step", "terminated as int32[]", "a comparison"),
        ),
        (stepping(tuple), ("step returns tuple", "return Outcome")),
        (stepping(lambda outcome: None), ("step returns nothing", "return Outcome")),
        (
            stepping(lambda o: o._replace(state=State(o.state.cell / 2))),
            ("step returns the state's cell as float32[], reset as int32[]", "astype(jnp.int32)"),
        ),
        (
            stepping(lambda o: o._replace(state=o.state.cell)),
            ("step returns a state int32[], reset one State(int32[])", "same type"),
        ),
        (
            twin(symmetries=lambda self, level: State(level.start[None])),
            ("symmetries returns State(int32[1])", "return a Level"),
        ),
        (
            twin(symmetries=lambda self, level: level),
            ("symmetries returns the level's start as int32[]", "leading axis"),
        ),
        (
            twin(symmetries=lambda self, x: Level(jnp.stack([x.start] * 2), x.goal[None])),
            ("symmetries stacks 1 and 2 copies", "same number"),
        ),
        (
            twin(fingerprint=lambda self, level: level.start),
            ("fingerprint returns int32[], expected uint32[2]",),
        ),
        (
            twin(encode=lambda self, level, state: state.cell[None]),
            ("encode returns int32[1], expected int32[]",),
        ),
        (
            twin(decode=lambda self, level, index: State(index.astype(jnp.float32))),
            ("decode returns the state's cell as float32[]", "astype(jnp.int32)"),
        ),
    ],
)
def test_other_shapes_and_types(family, parts):
    fault("types", family, parts)
