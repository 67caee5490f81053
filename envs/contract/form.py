"""The form of a family: fields, sizes, methods, shapes and types. Nothing is run here but traced.

Every check takes a Specimen and raises Fault, or Inapplicable where there is nothing to check.
"""

from __future__ import annotations

import dataclasses
import inspect
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from envs.contract.faults import Fault
from envs.contract.specimen import Specimen, named, say
from envs.core import Env, Outcome

SIZES = {"num_actions": 1, "num_fields": 0, "num_symbols": 0, "num_states": 0}  # and the least
METHODS = {
    "level": ("key",),
    "reset": ("key", "level"),
    "step": ("key", "level", "state", "action"),
    "observe": ("level", "state"),
    "encode": ("level", "state"),
    "decode": ("level", "index"),
}


def is_family(specimen: Specimen) -> None:
    """A subclass of Env."""
    family = specimen.family
    if not (isinstance(family, type) and issubclass(family, Env)):
        name = getattr(family, "__name__", repr(family))
        raise Fault(
            f"{name} is no subclass of Env: write `class {name}(Env):` after "
            "`from envs.core import Env`"
        )


def fields(specimen: Specimen) -> None:
    """Sizes are static and can be hashed, numbers are traced, and the defaults fit each other."""
    env = specimen.env
    for field in dataclasses.fields(env):
        value = getattr(env, field.name)
        if field.metadata.get("pytree_node", True):
            for leaf in jax.tree.leaves(value):
                if not isinstance(leaf, numbers.Number | np.ndarray | jax.Array):
                    raise Fault(
                        f"field {field.name} holds {leaf!r}, which is no number: declare it "
                        f"`{field.name}: {type(leaf).__name__} = static({leaf!r})`"
                    )
        elif isinstance(value, float):
            raise Fault(
                f"field {field.name} is static, so every new value compiles everything again: "
                f"declare it `{field.name}: float = {value}`; only sizes are static"
            )
        else:
            try:
                hash(value)
            except TypeError:
                raise Fault(
                    f"field {field.name} is static and holds a {type(value).__name__}, which "
                    "cannot be hashed: use a tuple"
                ) from None
    if not _whole(env.horizon) or env.horizon < 1:
        raise Fault(f"field horizon is {env.horizon!r}: use a whole number of steps, 1 or more")
    try:
        env.check()
    except ValueError as error:
        raise Fault(f"check refuses these fields: {error}") from None


def sizes(specimen: Specimen) -> None:
    """num_actions, num_fields, num_symbols and num_states are whole numbers."""
    env = specimen.env
    for name, least in SIZES.items():
        try:
            value = getattr(env, name)
        except NotImplementedError:
            raise Fault(f"{name} is missing: define it, `num_actions = 4` or a property") from None
        if callable(value):
            raise Fault(f"{name} is a method: write @property on the line above it")
        if not _whole(value):
            raise Fault(
                f"{name} is {value!r}, a {type(value).__name__}: return a Python int made of "
                "static fields"
            )
        least = 1 if env.observation_dtype == "int32" and name != "num_states" else least
        if value < least:
            raise Fault(f"{name} is {value}: it has to be {least} or more")


def methods(specimen: Specimen) -> None:
    """level, reset, step and observe are there, encode and decode where states are numbered; the
    level comes first."""
    family = type(specimen.env)
    wanted = dict(METHODS)
    if not specimen.env.num_states:
        del wanted["encode"], wanted["decode"]
    missing = [name for name in wanted if getattr(family, name) is getattr(Env, name)]
    if missing:
        heads = ", ".join(f"`def {n}(self, {', '.join(wanted[n])})`" for n in missing)
        why = "; encode and decode number the num_states" if "encode" in missing else ""
        raise Fault(f"{' and '.join(missing)} missing: define {heads}{why}")
    for name, parameters in wanted.items():
        given = list(inspect.signature(getattr(specimen.env, name)).parameters)
        if tuple(given) != parameters:
            raise Fault(
                f"{name} takes ({', '.join(['self', *given])}): it is called with "
                f"({', '.join(['self', *parameters])}), so write these"
            )


def compiles(specimen: Specimen) -> None:
    """Every method can be traced: no Python control flow on traced values."""
    assert specimen.shapes


def no_keys(specimen: Specimen) -> None:
    """Neither levels nor states hold a random key."""
    shapes = specimen.shapes
    for method, part in (("level", "level"), ("reset", "state"), ("step", "successor")):
        for path, leaf in named(shapes[part]):
            old = leaf.dtype == jnp.uint32
            if old or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                where = "the level" if method == "level" else "the state"
                also = " (uint32 is the type of old keys: use int32 for numbers)" if old else ""
                raise Fault(
                    f"{method} puts a random key into {where}, {path}{also}: leave it out; "
                    "level, reset and step are given a fresh key at every call"
                )


def types(specimen: Specimen) -> None:
    """What the methods return has the documented shape and dtype."""
    env, shapes = specimen.env, specimen.shapes
    seen, outcome = shapes["seen"], shapes["outcome"]
    want = jax.ShapeDtypeStruct(env.observation_shape, jnp.dtype(env.observation_dtype))
    if say(seen) != say(want):
        raise Fault(
            f"observe returns {say(seen)}, expected {say(want)}: stack num_fields = "
            f"{env.num_fields} symbols, jnp.stack([...]).astype(jnp.{want.dtype})"
        )
    if not isinstance(outcome, Outcome):
        raise Fault(
            f"step returns {say(outcome)}: return Outcome(state, reward, terminated) of envs.core"
        )
    for name, dtype, how in (
        ("reward", "float32", "jnp.where(won, 1.0, 0.0), or won.astype(jnp.float32)"),
        ("terminated", "bool", "a comparison, such as cell == level.goal"),
    ):
        if say(getattr(outcome, name)) != f"{dtype}[]":
            raise Fault(
                f"step returns the {name} as {say(getattr(outcome, name))}, expected {dtype}[]: "
                f"use {how}"
            )
    for method, part in (("step", "successor"), ("decode", "decoded")):
        if part in shapes:
            _alike(method, shapes["state"], shapes[part])
    if "code" in shapes and say(shapes["code"]) != "int32[]":
        raise Fault(f"encode returns {say(shapes['code'])}, expected int32[]: one number a state")
    _stacked(shapes["copies"], shapes["level"])
    if say(found := specimen.trace("fingerprint", shapes["level"])) != "uint32[2]":
        raise Fault(f"fingerprint returns {say(found)}, expected uint32[2]: leave it as it is")


def _alike(method: str, first: object, other: object) -> None:
    """The states of reset and of ``method`` have one structure, shapes and dtypes."""
    if jax.tree.structure(first) != jax.tree.structure(other):
        raise Fault(
            f"{method} returns a state {say(other)}, reset one {say(first)}: return the same type "
            "from both"
        )
    for (path, one), (_, two) in zip(named(first), named(other), strict=True):
        if say(one) != say(two):
            raise Fault(
                f"{method} returns the state's {path} as {say(two)}, reset as {say(one)}: give "
                f"it one type, .astype(jnp.{one.dtype})"
            )


def _stacked(copies: object, level: object) -> None:
    """symmetries returns K levels on a leading axis."""
    if jax.tree.structure(copies) != jax.tree.structure(level):
        raise Fault(f"symmetries returns {say(copies)}: return a Level like that of level")
    counts = set()
    for (path, leaf), (_, want) in zip(named(copies), named(level), strict=True):
        if leaf.dtype != want.dtype or leaf.ndim == 0 or leaf.shape[1:] != want.shape:
            raise Fault(
                f"symmetries returns the level's {path} as {say(leaf)}: expected K copies of "
                f"{say(want)} on a leading axis"
            )
        counts.add(leaf.shape[0])
    if len(counts) > 1:
        raise Fault(
            f"symmetries stacks {' and '.join(map(str, sorted(counts)))} copies: every array of "
            "the level needs the same number of them"
        )


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
