"""Every number in docs/findings.md and in the README's main table is a stored result."""

import json
import re
from pathlib import Path

import pytest

from experiments.findings import BLOCK, condense, condense_run, refresh
from experiments.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "results"
FINDINGS = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMES = {
    "bursty full trajectories": "bursty",
    "bursty chunks (c = 4)": "bursty-chunks",
    "isolated chunks (c = 4)": "isolated-chunks",
    "hash map (no training)": "hash-map",
    "nearest neighbour (no training)": "nearest-neighbour",
}


def test_the_page_shows_what_is_stored():
    assert refresh(FINDINGS, STORED) == FINDINGS
    shown = BLOCK.findall(FINDINGS)
    assert len(set(shown)) == len(shown)
    stored = {path.stem for path in STORED.glob("*.json")} & set(STUDIES)
    assert stored == set(shown)
    for name in shown:
        assert (STORED / f"{name}.svg").is_file()


def test_a_number_that_was_changed_is_found():
    first = re.search(r"\| (−?\d\.\d\d) \|", FINDINGS)
    assert first
    changed = FINDINGS.replace(first[0], "| 9.99 |", 1)
    assert refresh(changed, STORED) == FINDINGS != changed


def test_no_number_stands_outside_of_the_tables():
    prose = re.sub(r"arXiv \d{4}\.\d{5}", "", BLOCK.sub("", FINDINGS))
    assert re.findall(r"\d*\.\d+", prose) == []


def rows_of_readme() -> dict[str, list[str]]:
    lines = [line for line in README.splitlines() if line.startswith("| ")]
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells if row[0] in NAMES}


def test_the_readme_has_the_stored_scores_of_the_quick_run():
    found = json.loads((STORED / "quick.json").read_text(encoding="utf-8"))
    scores = {tuple(cell["at"]): cell["score"] for cell in found["cells"]}
    rows = rows_of_readme()
    assert set(rows) == set(NAMES)
    for name, cells in rows.items():
        places = [(s, k) for s in ("unseen-level", "unseen-family") for k in (0, 1, 3)]
        for (split, k), text in zip(places, cells, strict=True):
            estimate, _, high = scores[NAMES[name], split, k]
            said = [float(x.replace("−", "-")) for x in text.split(" ± ")]
            assert said == pytest.approx([estimate, high - estimate], abs=0.0051)
    lead = next(v for v in found["verdicts"] if v["claim"].startswith("bursty beats isolated"))
    text = f"{lead['estimate']:.2f} [{lead['low']:.2f}, {lead['high']:.2f}]"
    assert text in README


def test_what_is_kept_is_what_was_measured():
    row = {"arm": "bursty", "split": "unseen-level", "family": "all", "demos": 1,
           "demonstrations": "whole", "acting": "sampled", "success": 1.0}  # fmt: skip
    rows = [row | {"seed": s, "score": 0.1 * s, "p_b": 1.0} for s in range(5)]
    rows += [r | {"family": "maze", "score": 9.0} for r in rows]
    machine = {"processor": "x", "cores": 2, "jax": "0", "commit": "c", "seconds": 1.0}
    results = {
        "rows": rows,
        "verdicts": [],
        "config": {"preset": "quick"},
        "environment": machine | {"commits": ["c"]},
        "study": "burstiness",
        "command_line": "levelburst study burstiness",
        "axes": ["p_b"],
    }
    (cell,) = condense_run(results)["cells"]
    assert cell["at"] == ["bursty", "unseen-level", 1]
    assert cell["score"][0] == pytest.approx(0.2)
    kept = condense(results)
    (cell,) = kept["cells"]
    assert dict(zip(kept["fields"], cell["at"], strict=True)) == {
        "p_b": 1.0, "split": "unseen-level", "demonstrations": "whole", "demos": 1,
    }  # fmt: skip
    assert cell["score"][0] == pytest.approx(0.2)
