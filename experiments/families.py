"""Names of families and suites, checked without JAX."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
from pathlib import Path

from experiments.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Split:
    """A suite: families to train on, and others of its kind to hold out."""

    train: tuple[str, ...]
    test: tuple[str, ...]


_PARTS = {
    "navigation": Split(
        ("dark-room", "four-rooms", "ice", "maze", "multi-room", "teleporters", "torus"),
        ("knight", "wind"),
    ),
    "objects": Split(("heist", "key-door", "memory"), ("boulders",)),
    "hazard": Split(("lava-crossing", "memory"), ("boulders", "platformer")),
    "abstract": Split(
        ("bandit", "combination-lock", "commit", "lights-out", "random-mdp"),
        ("gauntlet", "random-graph", "workshop"),
    ),
}


def _union(names: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for part in names for name in part}))


SUITES: dict[str, Split] = {f"suite.{name}": split for name, split in _PARTS.items()} | {
    "suite.all": Split(
        _union([split.train for split in _PARTS.values()]),
        _union([split.test for split in _PARTS.values()]),
    )
}
"""Suites by name. No family that one suite holds out is trained on in another."""


def expand(names: tuple[str, ...], side: str) -> tuple[str, ...]:
    """``names`` with every ``suite.…`` replaced by the families of its ``side``, train or test.

    Raises:
        ConfigError: there is no such suite.
    """
    found: list[str] = []
    for name in names:
        if name.startswith("suite."):
            known("suite", (name,), tuple(SUITES))
            found += getattr(SUITES[name], side)
        else:
            found.append(name)
    return tuple(found)


def built_in() -> tuple[str, ...]:
    """Names of the built-in families, read off their files (a test holds the two together)."""
    spec = importlib.util.find_spec("envs")
    assert spec and spec.origin
    files = (Path(spec.origin).parent / "families").glob("[!_]*.py")
    return tuple(sorted(file.stem.replace("_", "-") for file in files))


BRIDGES = {"xland": "xminigrid", "gymnax": "gymnax"}
"""Prefix of other people's families -> the package that it needs (as in envs/bridges)."""


def check_families(names: tuple[str, ...]) -> None:
    """Raises ConfigError for a family that is neither built in nor in a module that exists."""
    for name in names:
        module, colon, _ = name.partition(":")
        if not colon:
            known("family", (name,), built_in())
            continue
        try:
            found = importlib.util.find_spec(BRIDGES.get(module, module))
        except Exception:  # whatever a parent package raises on import
            found = None
        if found is None and module in BRIDGES:
            raise ConfigError(
                f"family {name!r} needs the package {BRIDGES[module]}: "
                "pip install 'levelburst[bridges]'"
            )
        if found is None:
            raise ConfigError(
                f"family {name!r}: no module {module!r} on the Python path; run from its folder "
                "or set PYTHONPATH"
            )


def known(kind: str, given: tuple[str, ...], all_known: tuple[str, ...]) -> None:
    """Raises ConfigError for a name that is not known, with the nearest that is."""
    for name in given:
        if name not in all_known:
            near = difflib.get_close_matches(name, all_known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(all_known)}"
            raise ConfigError(f"unknown {kind} {name!r}; {hint}")
