"""What docs/results/ keeps of results: enough for every number in the documents, a line a cell."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config import CompareConfig
from experiments.presets import PRESETS
from experiments.runs import MANNER
from experiments.signals.question_page import TOLD, differing, flat, placed
from experiments.study_report import table
from icl.statistics import Interval, interval

HOW = {*MANNER, "log", "devices", "runs_per_device"}  # fields that no result depends on
BENCHMARKS = {  # what is stored of a benchmark -> the parts that it holds, all of them
    "bench": ("simulate", "contexts", "train", "decode", "compare"),
    "bench-disk": ("disk",),
}
CELL = ("part", "work", "setting", "unit", "who", "ours", "amount", "median", "low", "high", "rate",
        "ratio", "ratio_low", "ratio_high", "operations", "reason")  # fmt: skip
MACHINE = ("device", "processor", "cores", "jax", "commit", "load", "float32", "bandwidth")


def study(results: Mapping[str, Any]) -> dict[str, Any]:
    """Of a study's results.json: verdicts, and the mean scores with their intervals over seeds,
    families pooled."""
    (part,) = table(results)
    family = part["fields"].index("family")
    return {
        "study": results["study"],
        "command": results["command_line"],
        "environment": {
            name: results["environment"][name] for name in ("processor", "cores", "jax", "commits")
        },
        "verdicts": results["verdicts"],
        "fields": [field for field in part["fields"] if field != "family"],
        "cells": [
            _cell((x for i, x in enumerate(line["place"]) if i != family), line["score"])
            for line in part["lines"]
            if line["place"][family] == "all"
        ],
    }


def question(results: Mapping[str, Any]) -> dict[str, Any]:
    """Of a question's results.json: verdicts, and every value with its interval over seeds."""
    names = [*placed(results), *differing(results)]
    cells: dict[tuple[Any, ...], list[float]] = {}
    for row in map(flat, results["rows"]):
        place = tuple(row[name] for name in names)
        for measure in TOLD:
            if row.get(measure) is not None:
                cells.setdefault((*place, measure), []).append(row[measure])
    return {
        "command": _anywhere(results["command_line"]),
        "text": results["text"],
        "environment": {
            name: results["environment"][name] for name in ("processor", "cores", "jax", "commit")
        }
        | {"seconds": results["seconds"]},
        "verdicts": results["verdicts"],
        "fields": [*names, "measure"],
        "cells": [_cell(place, interval(found)) for place, found in cells.items()],
    }


def _anywhere(command: str) -> str:
    """A command line without where its results went."""
    words = shlex.split(command)
    at = [i for i, word in enumerate(words) if word.partition("=")[0] == "--out"]
    gone = {*at, *(i + 1 for i in at if "=" not in words[i])}
    return shlex.join(word for i, word in enumerate(words) if i not in gone)


def run(results: Mapping[str, Any], records: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Of a comparison's results.json and metrics.jsonl: verdicts, the mean scores on whole
    demonstrations with sampled actions, families pooled, and how the one-shot score grew.

    Raises:
        ValueError: its command was not just ``--preset``, so that command would not give it again.
    """
    asked, name = results["config"], results["config"]["preset"]
    usual = json.loads(json.dumps(dataclasses.asdict(PRESETS.get(name, CompareConfig()))))
    other = [x for x, value in usual.items() if x not in HOW and asked.get(x, value) != value]
    if name not in PRESETS or other:
        raise ValueError(f"not preset {name} as it is: {', '.join(other) or 'unknown'}")
    scores: dict[tuple[Any, ...], list[float]] = {}
    for row in results["rows"]:
        if (row["family"], row["demonstrations"], row["acting"]) == ("all", "whole", "sampled"):
            scores.setdefault((row["arm"], row["split"], row["demos"]), []).append(row["score"])
    grown: dict[tuple[Any, ...], list[float]] = {}
    for line in records:
        if (line.get("kind"), line.get("split"), line.get("demos")) == (
            "evaluation", "unseen-level", 1,
        ):  # fmt: skip
            grown.setdefault((line["arm"], line["update"]), []).append(line["score"])
    return {
        "command": f"levelburst compare --preset {name}",
        "environment": {
            field: results["environment"][field]
            for field in ("processor", "cores", "jax", "commit", "seconds")
        },
        "verdicts": results["verdicts"],
        "fields": ["arm", "split", "demos"],
        "cells": [_cell(place, interval(found)) for place, found in scores.items()],
        "curves": [_cell(place, interval(found)) for place, found in grown.items()],
    }


def bench(found: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """Of these parts of bench.json: the machine, medians with their ends, ratios, and what was to
    be reached.

    Raises:
        ValueError: it lacks one of them or a side of ours, or was run at toy size.
    """
    lacking = [part for part in parts if found["parts"].get(part, {"reason": "no"})["reason"]]
    if lacking or found["config"]["sizes"] != "full":
        raise ValueError(f"no whole benchmark: parts {', '.join(lacking) or 'at toy size'}")
    cells = [cell for part in parts for cell in found["parts"][part]["cells"]]
    broken = [cell for cell in cells if cell["ours"] and cell["median"] is None]
    if broken:
        raise ValueError(f"no whole benchmark: {broken[0]['work']}: {broken[0]['reason']}")
    return {
        "command": found["config"]["command_line"],
        "goes": found["sizes"]["repeats"],
        "machine": {name: found["machine"][name] for name in MACHINE},
        "cells": [
            {name: _short(cell[name]) for name in CELL} | {"goes": len(cell["seconds"])}
            for cell in cells
        ],
        "targets": [
            {k: _short(v) for k, v in target.items()}
            for target in found["targets"]
            if target["part"] in parts
        ],
    }


def write(name: str, found: Mapping[str, Any], folder: Path) -> None:
    """Writes ``folder/name.json``, a cell a line, so that differences can be read."""
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    for first in ('{"at"', '{"ordering"', '{"claim"', '{"part"', '{"work"'):
        text = text.replace(first, f"\n{first}")
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def read(name: str, folder: Path) -> dict[str, Any] | None:
    """What ``folder/name.json`` holds; None without it."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def known(cells: Iterable[Mapping[str, Any]], seeds: int) -> dict[tuple[Any, ...], Interval]:
    """Stored cells as intervals by their place."""
    found = ((tuple(cell["at"]), cell["score"]) for cell in cells)
    return {at: Interval(mean, low, high, 0.95, seeds) for at, (mean, low, high) in found}


def _cell(place: Iterable[Any], found: Interval) -> dict[str, Any]:
    ends = (found.estimate, found.low, found.high)
    return {"at": list(place), "score": [round(x, 4) for x in ends]}


def _short(value: Any) -> Any:
    """Four digits are more than a timing has."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
