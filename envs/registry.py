"""Families by name: ``register``, ``make`` and ``names``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable
from typing import Any

from envs import bridges
from envs.core import Env
from envs.unforgiving import unforgiving

_FAMILIES: dict[str, type[Env]] = {}
_LISTENERS: list[Callable[[str], None]] = []


def register(name: str, family: type[Env]) -> None:
    """Makes a family known under ``name``.

    Raises:
        ValueError: another family has that name.
    """
    new = name not in _FAMILIES
    known = _FAMILIES.setdefault(name, family)
    if known is not family:
        raise ValueError(f"family name {name!r} is taken by {known.__name__}; choose another")
    for listener in _LISTENERS if new else ():
        listener(name)


def listen(listener: Callable[[str], None]) -> None:
    """Calls ``listener`` with the name of every family, of those to come when they register."""
    for name in names():
        listener(name)
    _LISTENERS.append(listener)


def names() -> tuple[str, ...]:
    """The registered families in alphabetical order."""
    return tuple(sorted(_FAMILIES))


def lookup(name: str) -> type[Env]:
    """The class of a registered family, of ``module:Class`` from anywhere on the path, or of
    another package's environment (``xland:ID``, ``gymnax:ID``; see envs/bridges).

    Raises:
        ValueError: unknown name (with the nearest known ones), no such module or class, or a
            package that is not installed.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        if module in bridges.BRIDGES:
            return bridges.family(name)
        try:
            family = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever a person's module raises on import
            raise ValueError(
                f"family {name!r} cannot be loaded: {type(error).__name__}: {error}; "
                "expected module:Class"
            ) from error
        if not (isinstance(family, type) and issubclass(family, Env)):
            raise ValueError(f"family {name!r} is not a subclass of envs.core.Env")
        return family
    if name not in _FAMILIES:
        near = difflib.get_close_matches(name, _FAMILIES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
        raise ValueError(f"unknown family {name!r}; {hint}")
    return _FAMILIES[name]


def make(name: str, *, lethality: float = 0.0, recoverability: float = 1.0, **fields: Any) -> Env:
    """The environment of a family, with fields in place of its defaults.

    Args:
        name: a registered name, ``module:Class`` or ``xland:ID`` and the like.
        lethality: share of the mistakes that end the episode (envs/unforgiving.py).
        recoverability: share of the other mistakes that do not throw the agent back.
        **fields: fields of the family's dataclass.

    Raises:
        ValueError: unknown name or field, or sizes that contradict each other.
    """
    family = lookup(name)
    allowed = [field.name for field in dataclasses.fields(family)]
    for field in fields:
        if field not in allowed:
            every = ", ".join([*allowed, "lethality", "recoverability"])
            raise ValueError(f"family {name!r} has no field {field!r}; it has {every}")
    for field in dataclasses.fields(family):
        if isinstance(field.default, float) and isinstance(fields.get(field.name), int):
            fields[field.name] = float(fields[field.name])  # density=0 is meant as 0.0
    env = family(**fields)
    env.check()
    return unforgiving(env, lethality, recoverability)
