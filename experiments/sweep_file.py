"""A sweep's TOML file: read, and turned into a spec. No JAX, no Ray here."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

from experiments import config as config_lib
from experiments import jsonfile
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.families import known
from experiments.objective import Objective
from experiments.sweep_spec import UNSET, Asha, Choices, Range, SweepConfig, SweepSpec, check

Table = TypeVar("Table")


def read(path: Path) -> SweepSpec:
    """Reads and checks a sweep.

    Raises:
        ConfigError: the first mistake found.
    """
    try:
        tables = tomllib.loads(jsonfile.content(path).decode())
    except FileNotFoundError:
        raise ConfigError(f"no file {path}; name a sweep's TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is no TOML: it is nested too deep") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        spec = parse(tables, path.stem)
        check(spec)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return spec


def parse(tables: dict[str, Any], stem: str) -> SweepSpec:
    """A spec from TOML's tables; ``stem`` names it where it names itself nothing.

    Raises:
        ConfigError: a field is unknown or of another type.
    """
    parts = tuple(field.name for field in dataclasses.fields(SweepSpec))
    known("table or field", tuple(tables), parts)
    heads = {}
    for field, default in (("name", stem), ("preset", "quick")):
        heads[field] = tables.get(field, default)
        if not isinstance(heads[field], str):
            raise ConfigError(f"{field} is {heads[field]!r}, expected a name in quotes")
    inner = {field: tables.get(field, {}) for field in parts[2:]}
    for field, table in inner.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{field} is {table!r}, expected a table [{field}]")
    fixed = {f: _value("fixed", f, value) for f, value in inner["fixed"].items()}
    return SweepSpec(
        **heads,
        fixed=fixed,
        search={field: _searched(field, value) for field, value in inner["search"].items()},
        objective=_fill(Objective, inner["objective"], "[objective]"),
        sweep=_fill(SweepConfig, inner["sweep"], "[sweep]"),
    )


def _value(table: str, field: str, value: Any) -> Any:
    """One value of a field of CompareConfig."""
    names = tuple(f.name for f in dataclasses.fields(CompareConfig))
    if field in UNSET:
        what = "set preset at the top of the file" if field == "preset" else "leave it out"
        raise ConfigError(f"[{table}]: {field} is no setting of a trial; {what}")
    known(f"field of [{table}]", (field,), names)
    return getattr(config_lib.from_stored({field: value}, Path(f"[{table}]")), field)


def _searched(field: str, given: Any) -> Choices | Range:
    """What a field is searched over: a list of values, or a range."""
    if isinstance(given, list):
        values = tuple(_value("search", field, value) for value in given)
        if not values:
            raise ConfigError(f"[search]: {field} is an empty list; give at least one value")
        for value in values:
            if values.count(value) > 1:
                raise ConfigError(f"[search]: {field} has {value!r} twice; give each value once")
        return values
    if not isinstance(given, dict):
        raise ConfigError(
            f"[search]: {field} is {given!r}, expected a list of values or a range, as in "
            "{ low = 0.001, high = 0.03, log = true }; what does not change goes to [fixed]"
        )
    where = f"[search] {field}"
    found = _fill(Range, given, where)
    for end in ("low", "high"):
        value = _value("search", field, given[end])
        if type(value) not in (int, float):
            raise ConfigError(f"{where}: only a number has a range; give a list of values")
    if not math.isfinite(found.step):
        raise ConfigError(f"{where}: step {found.step} is no distance; use a finite number")
    if type(value) is int:
        whole = {end: int(getattr(found, end)) for end in ("low", "high", "step")}
        if whole["step"] != found.step:
            raise ConfigError(f"{where}: step is {found.step:g}, expected a whole number")
        found = Range(whole["low"], whole["high"], found.log, whole["step"])
    if not -math.inf < found.low < found.high < math.inf:
        raise ConfigError(f"{where}: low {found.low:g} must be below high {found.high:g}")
    if found.log and (found.low <= 0 or found.step):
        raise ConfigError(f"{where}: log needs a low above 0 and no step; change one of them")
    if not 0 <= found.step <= found.high - found.low:
        raise ConfigError(f"{where}: step {found.step:g} does not fit between low and high")
    return found


def _fill(kind: type[Table], given: Any, where: str) -> Table:
    """A frozen dataclass from a TOML table, its types checked."""
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is {given!r}, expected a table")
    hints = typing.get_type_hints(kind)
    try:
        known("field", tuple(given), tuple(hints))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    values: dict[str, Any] = {}
    for field, value in given.items():
        wanted = hints[field]
        if wanted == Asha | None:
            values[field] = _fill(Asha, value, f"{where} {field}")
            continue
        if wanted is float and type(value) is int:
            value = float(value)
        if wanted == dict[str, float]:
            fits = isinstance(value, dict) and all(type(x) in (int, float) for x in value.values())
            name = "a table of numbers"
        else:
            fits, name = type(value) is wanted, wanted.__name__
        if not fits:
            raise ConfigError(f"{where}: {field} is {value!r}, expected {name}; correct it")
        values[field] = value
    missing = [
        field.name
        for field in dataclasses.fields(typing.cast(Any, kind))
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing; give {' and '.join(missing)}")
    return kind(**values)
