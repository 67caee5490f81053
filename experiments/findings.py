"""The documents' numbers and pictures come from stored results, and from nowhere else.

python -m experiments.findings FOLDER...    takes results over into docs/results/: of studies
                                            (runs/study-quick), of questions about step signals
                                            (runs/signals-quick), of presets' runs (runs/ladder),
                                            of a benchmark (runs/bench); then writes blocks again
python -m experiments.findings              writes the blocks of the documents again
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import jsonfile, stored
from experiments.blocks import refresh
from experiments.presets import PRESETS
from experiments.report import Cell, read_metrics
from experiments.signals.question_still import draw as draw_question
from experiments.signals.questions import QUESTIONS
from experiments.still import still
from experiments.studies import STUDIES
from experiments.study_still import draw

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "docs/results"
PAGES = {  # document -> what it calls docs/results
    "README.md": "docs/results",
    "docs/findings.md": "results",
    "docs/reliability.md": "results",
    "docs/scaling.md": "results",
    "docs/signals.md": "results",
}


def take(source: Path, folder: Path) -> list[str]:
    """Takes over into ``folder`` what a folder of results holds; returns the names.

    Raises:
        ValueError: it holds none, or such as no preset or whole benchmark gives.
    """
    taken = []
    if (source / "bench.json").is_file():
        found = _read(source / "bench.json")
        kept = {
            name: stored.bench(found, parts)
            for name, parts in stored.BENCHMARKS.items()
            if set(parts) & set(found["parts"])
        }
        for name, benchmark in kept.items():  # all of them, or none
            stored.write(name, benchmark, folder)
        taken += kept
    if (source / "results.json").is_file():
        results = _read(source / "results.json")
        name = results["config"]["preset"]
        stored.write(name, stored.run(results, read_metrics(source)), folder)
        taken.append(name)
    for name in STUDIES:
        if (source / name / "results.json").is_file():
            results = _read(source / name / "results.json")
            stored.write(name, stored.study(results), folder)
            draw(results, folder / f"{name}.svg")
            taken.append(name)
    for name in QUESTIONS:
        if (source / name / "results.json").is_file():
            results = _read(source / name / "results.json")
            stored.write(f"signals-{name}", stored.question(results), folder)
            draw_question(results, folder / f"signals-{name}.svg")
            taken.append(f"signals-{name}")
    if not taken:
        raise ValueError("no part of a benchmark, no results.json and no folders of studies")
    return taken


def picture(name: str, found: Mapping[str, Any], target: Path) -> None:
    """Draws a comparison from what is stored of it."""
    seeds = PRESETS[name].seeds
    cells = [
        Cell(arm, None, None, split, "all", demos, "whole", "sampled", arm, score, None)
        for (arm, split, demos), score in stored.known(found["cells"], seeds).items()
    ]
    learning: dict[str, list] = {}
    for (arm, update), score in stored.known(found.get("curves", ()), seeds).items():
        learning.setdefault(arm, []).append((update, score))
    still(cells, learning, target)


def write(root: Path = ROOT) -> None:
    """Writes the runs' pictures, and the blocks of every document."""
    folder = root / RESULTS
    for name in PRESETS:
        found = stored.read(name, folder)
        if found:
            picture(name, found, folder / f"{name}.svg")
    for page, near in PAGES.items():
        text = (root / page).read_text(encoding="utf-8")
        (root / page).write_text(refresh(text, folder, near), encoding="utf-8")


def main(arguments: list[str], root: Path = ROOT) -> None:
    """Takes over what is named, and writes the documents.

    Raises:
        SystemExit: a folder cannot be taken over; nothing of it is.
    """
    (root / RESULTS).mkdir(exist_ok=True)
    for source in map(Path, arguments):
        try:
            print(f"{source}: {', '.join(take(source, root / RESULTS))}")
        except ValueError as error:
            raise SystemExit(f"{source}: {error}") from None
    write(root)


def _read(path: Path) -> dict[str, Any]:
    return jsonfile.read(path)


if __name__ == "__main__":
    main(sys.argv[1:])
