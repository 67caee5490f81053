"""docs/findings.md: its numbers and pictures come from stored results, and from nowhere else.

python -m experiments.findings runs/study-quick     takes the results over into docs/results/
python -m experiments.findings                      writes the blocks of the pages again
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.studies import STUDIES
from experiments.study_report import table
from icl.statistics import interval

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"<!-- study: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)
MARKS = {True: "holds", False: "**does not hold**", None: "undecided"}


def condense(results: Mapping[str, Any]) -> dict[str, Any]:
    """What docs/results/ keeps of a study's results.json: verdicts, and the mean scores with their
    intervals over seeds, families pooled."""
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
            {
                "at": [x for i, x in enumerate(line["place"]) if i != family],
                "score": [round(x, 4) for x in _ends(line["score"])],
            }
            for line in part["lines"]
            if line["place"][family] == "all"
        ],
    }


def condense_run(results: Mapping[str, Any]) -> dict[str, Any]:
    """What docs/results/ keeps of a comparison's results.json: verdicts, and the mean scores on
    whole demonstrations with sampled actions, families pooled."""
    cells: dict[tuple[str, str, int], list[float]] = {}
    for row in results["rows"]:
        if (row["family"], row["demonstrations"], row["acting"]) == ("all", "whole", "sampled"):
            cells.setdefault((row["arm"], row["split"], row["demos"]), []).append(row["score"])
    return {
        "command": f"levelburst compare --preset {results['config']['preset']}",
        "environment": {
            name: results["environment"][name]
            for name in ("processor", "cores", "jax", "commit", "seconds")
        },
        "verdicts": results["verdicts"],
        "fields": ["arm", "split", "demos"],
        "cells": [
            {"at": list(place), "score": [round(x, 4) for x in _ends(interval(scores))]}
            for place, scores in cells.items()
        ],
    }


def block(found: Mapping[str, Any]) -> str:
    """The part of a page that shows one study, in Markdown."""
    name, question = found["study"], STUDIES[found["study"]].question
    lines = [
        f"<!-- study: {name} -->",
        f"![{question}](results/{name}.svg)",
        "",
        f"`{found['command']}`",
        "",
        "| | claim | estimate | 95 % interval | | in the paper |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for verdict in found["verdicts"]:
        cells = (
            verdict["ordering"],
            verdict["claim"],
            _number(verdict["estimate"]),
            f"[{_number(verdict['low'])}, {_number(verdict['high'])}]",
            MARKS[verdict["holds"]],
            verdict["paper"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "<!-- end -->"])


def refresh(text: str, folder: Path) -> str:
    """A page with its blocks as the stored results in ``folder`` have them."""

    def again(match: re.Match[str]) -> str:
        stored = json.loads((folder / f"{match[1]}.json").read_text(encoding="utf-8"))
        return block(stored)

    return BLOCK.sub(again, text)


def main(arguments: list[str]) -> None:
    """Takes results over, if a folder of studies is named, and writes the page."""
    from experiments.study_still import draw

    folder = DOCS / "results"
    folder.mkdir(exist_ok=True)

    def keep(name: str, found: Mapping[str, Any]) -> None:
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        # A cell a line: differences can be read.
        text = text.replace('{"at"', '\n{"at"').replace('{"ordering"', '\n{"ordering"')
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    for root in map(Path, arguments):
        if (root / "results.json").is_file():
            results = json.loads((root / "results.json").read_text(encoding="utf-8"))
            keep(results["config"]["preset"], condense_run(results))
        for name in STUDIES:
            path = root / name / "results.json"
            if path.is_file():
                results = json.loads(path.read_text(encoding="utf-8"))
                keep(name, condense(results))
                draw(results, folder / f"{name}.svg")
    page = DOCS / "findings.md"
    page.write_text(refresh(page.read_text(encoding="utf-8"), folder), encoding="utf-8")


def _ends(found: Any) -> tuple[float, float, float]:
    return found.estimate, found.low, found.high


def _number(value: float) -> str:
    digits = 2 if abs(value) < 10 else 0
    return f"{value:.{digits}f}".replace("-", "−")


if __name__ == "__main__":
    main(sys.argv[1:])
