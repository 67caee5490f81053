"""The command ``levelburst runs``: run folders listed, and two or more of them side by side."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from experiments import runs as runs_lib
from experiments.errors import ConfigError
from experiments.families import known

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from icl.statistics import Interval

# Field of --sort -> what is compared, and whether the greatest comes first.
SORTS: dict[str, tuple[Callable[[runs_lib.Run], Any], bool]] = {
    "name": (lambda run: run.name, False),
    "command": (lambda run: run.command or None, False),
    "preset": (lambda run: run.preset or None, False),
    "seeds": (lambda run: run.seeds, True),
    "cells": (lambda run: _done(run), True),
    "date": (lambda run: run.began, True),
    "commit": (lambda run: run.commit or None, False),
    "device": (lambda run: run.device or None, False),
    "score": (lambda run: run.score, True),
    "size": (lambda run: run.bytes, True),
}
COLUMNS: dict[str, Callable[[runs_lib.Run], str]] = {
    "name": lambda run: run.name,
    "command": lambda run: run.command or "-",
    "preset": lambda run: run.preset or "-",
    "seeds": lambda run: "-" if run.seeds is None else str(run.seeds),
    "cells": lambda run: "damaged" if run.state == "damaged" else _share(run.done, run.total),
    "date": lambda run: _date(run.began),
    "commit": lambda run: run.commit or "-",
    "device": lambda run: run.device or "-",
    "score": lambda run: _number(run.score, run.low, run.high),
    "size": lambda run: size(run.bytes),
}
SPARE = ("command", "device", "commit", "size", "preset", "seeds")  # left out first
WIDE = 200  # columns where no terminal sets a limit


@dataclasses.dataclass(frozen=True)
class RunsConfig:
    """Lists run folders: how far each is, when, with what and on what it was made, and the one-shot
    score of bursty on unseen levels. With --compare: how runs differ from the first of them."""

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Runs, or folders that hold some; by default runs/."""
    compare: tuple[Path, ...] = ()
    """Two runs or more: fields of their configs that differ, and the scores that each of the others
    shares with the first, with the difference, paired by seed."""
    sort: str = "date"
    """name, command, preset, seeds, cells, date, commit, device, score or size; the newest, best or
    greatest first."""
    json: bool = False
    """Print JSON instead of tables."""


def run(arguments: list[str], parse: Callable[..., Any]) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``runs``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.

    Raises:
        ConfigError: a person's mistake.
    """
    given: RunsConfig = parse(RunsConfig, "runs", arguments)
    known("field of --sort", (given.sort,), tuple(SORTS))
    if given.compare:
        return _compare(given)
    if not given.folders and not runs_lib.HOME.is_dir():
        print("[]" if given.json else "no runs yet: levelburst compare makes one, in runs/")
        return 0
    places = given.folders or (runs_lib.HOME,)
    paths = dict.fromkeys(path for place in places for path in runs_lib.find(place))
    found = ordered([runs_lib.look(path) for path in paths], given.sort)
    if given.json:
        print(json.dumps([_plain(run) for run in found], indent=1))
    elif not found:
        print(f"no runs in {', '.join(map(str, places))}")
    else:
        _list(found)
        for run in found:
            if run.fault:
                print(f"damaged: {run.name}: {run.fault}")
    return 0


def _compare(given: RunsConfig) -> int:
    if given.folders or len(given.compare) < 2:
        raise ConfigError(
            f"--compare takes two runs or more, and nothing else is named; got "
            f"{' '.join(map(str, given.folders + given.compare))}"
        )
    first, *others = [runs_lib.locate(path) for path in given.compare]
    contrasts = [runs_lib.contrast(first, other) for other in others]
    if given.json:
        print(json.dumps([_plain(found) for found in contrasts], indent=1))
        return 0
    for index, found in enumerate(contrasts):
        print("\n" * bool(index) + f"A  {found.first}\nB  {found.second}\n")
        if found.fields:
            _print(_fields(found))
        else:
            print("their configs are the same")
        print()
        if found.cells:
            _print(_scores(found))
            print("B - A is paired by seed, with its 95 % interval; * where that leaves 0 out")
        else:
            print("they share no score: no arm, split, k and seed that both have finished")
    return 0


def ordered(found: Sequence[runs_lib.Run], field: str) -> list[runs_lib.Run]:
    """Runs by a field of ``--sort``; those of which it is not known come last."""
    key, greatest = SORTS[field]
    named = sorted(found, key=lambda run: run.name)
    there = [run for run in named if key(run) is not None]
    lacking = [run for run in named if key(run) is None]
    return sorted(there, key=key, reverse=greatest) + lacking


def _list(found: Sequence[runs_lib.Run]) -> None:
    """Prints a table of runs; a narrow terminal lacks some columns, and is told which."""
    names, lacking = list(COLUMNS), []
    table = _listing(found, names)
    for name in SPARE:
        if _fits(table):
            break
        names.remove(name)
        lacking.append(name)
        table = _listing(found, names)
    _print(table)
    if lacking:
        print(f"too narrow here for: {', '.join(lacking)}")


def _listing(found: Sequence[runs_lib.Run], names: Sequence[str]) -> Table:
    table = _table(*((name, name in ("seeds", "cells", "score", "size")) for name in names))
    for run in found:
        table.add_row(*(COLUMNS[name](run) for name in names))
    return table


def _fields(found: runs_lib.Contrast) -> Table:
    table = _table(("field", False), ("A", False), ("B", False))
    for field, values in found.fields.items():
        table.add_row(field, *map(_value, values))
    return table


def _scores(found: runs_lib.Contrast) -> Table:
    heads = ("split", "arm", "k", "seeds", "A", "B", "B - A", "")
    table = _table(*((head, head not in ("split", "arm")) for head in heads))
    for cell in found.cells:
        gap = cell.difference
        table.add_row(
            cell.split,
            cell.arm,
            str(cell.demos),
            str(cell.seeds),
            _interval(cell.first),
            _interval(cell.second),
            _interval(gap),
            "*" if gap.low > 0 or gap.high < 0 else "",
        )
    return table


def _table(*columns: tuple[str, bool]) -> Table:
    """A table of columns: (head, whether its cells are numbers)."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head, number in columns:
        table.add_column(head, justify="right" if number else "left", overflow="fold")
    return table


def _console() -> Console:
    from rich.console import Console

    wide = None if Console().is_terminal else WIDE
    return Console(markup=False, highlight=False, width=wide)


def _fits(table: Table) -> bool:
    console = _console()
    return console.measure(table, options=console.options.update(max_width=9999)).maximum <= (
        console.width
    )


def _print(table: Table) -> None:
    _console().print(table)


def size(count: int) -> str:
    """Bytes for people."""
    unit = 0 if count < 1000 else min(int(math.log(count, 1000)), 4)
    return f"{count / 1000**unit:.{1 if unit else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"


def _date(began: float | None) -> str:
    return "-" if began is None else time.strftime("%F %H:%M", time.localtime(began))


def _share(done: int | None, total: int | None) -> str:
    return f"{'-' if done is None else done}/{'-' if total is None else total}"


def _done(run: runs_lib.Run) -> float | None:
    return run.done / run.total if run.total and run.done is not None else None


def _interval(found: Interval) -> str:
    return _number(found.estimate, found.low, found.high)


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    known = low is not None and high is not None and low == low
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if known else f"{value:.2f}"


def _value(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _plain(found: runs_lib.Run | runs_lib.Contrast) -> Any:
    """JSON's types; numbers that are not finite are null."""
    return _clean({"name": found.name} if isinstance(found, runs_lib.Run) else {}) | _clean(
        dataclasses.asdict(found)
    )


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
