"""The report of a study: verdicts, pictures with intervals, tables; one page, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import failure_map
from experiments import study_figures as figures
from experiments.figures import SPLITS
from experiments.page import page
from experiments.report import FILTERS, brackets, read_results, replace
from experiments.study_figures import Line
from experiments.study_figures import panel as _panel
from icl.conditions import OWN
from icl.statistics import interquartile, interval

NAMES = {
    "p_b": "burstiness p_b",
    "chunk": "steps of a chunk",
    "demos": "demonstrations k",
    "sharing": "trajectories that share a level",
    "train_levels": "training levels of a family",
    "families": "training families",
    "zipf": "exponent of the levels' frequencies",
    "test": "stickiness of the test",
    "lethality": "share of mistakes that end the episode",
    "parameters": "parameters of the blocks",
    "update": "updates",
    "demonstrations": "what is shown",
    "distance": "symbols that differ",
    "novelty": "novelty of the episode",
}
ORDER = ("unseen-level", "unseen-family", "seen-level")


def write_study(folder: Path) -> Path:
    """Writes ``folder/report.html`` from ``folder/results.json``.

    Raises:
        FileNotFoundError: no results.json.
        ValueError: results.json is no JSON object of schema 1.
    """
    text = render(read_results(folder))
    return replace(folder / "report.html", lambda file: file.write(text.encode()))


def render(results: Mapping[str, Any]) -> str:
    """The page as text, from the content of a study's results.json."""
    verdicts = [v | {"ends": brackets(v["low"], v["high"])} for v in results["verdicts"]]
    return page(
        "study.html.j2",
        FILTERS,
        study=results["study"],
        question=results["question"],
        paper=results["paper"],
        verdicts=verdicts,
        config=results["config"],
        machine=results["environment"],
        command=results["command_line"],
        axes=results["axes"],
        points=results["points"],
        cells=table(results),
        groups=groups(results),
    )


def groups(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The charts: a map or lines a split, each family apart, and the paper's points."""
    axes, rows = results["axes"], [r for r in results["rows"] if r["acting"] == "sampled"]
    pooled = [row for row in rows if row["family"] == "all"]
    splits = [split for split in ORDER if any(row["split"] == split for row in pooled)]
    made = []
    if axes == ["chunk", "p_b"]:
        note = (
            "One-shot score on whole demonstrations; brackets are 95 % intervals over seeds (on a "
            "narrow screen they are shown at a touch)."
        )
        made.append({"name": "Chunk length × burstiness", "note": note, "panels": [
            _panel(SPLITS[split],
                   figures.map_figure(cells_of(pooled, axes, split), *map(named, axes)))
            for split in splits
        ]})  # fmt: skip
    if axes == failure_map.AXES:
        made.append(failure_group(results))
    if axes[0] == "update":
        note = "Means over seeds of tests on the way; bars are 95 % intervals."
        made.append({"name": "Score on the way", "note": note, "panels": [
            _panel(f"{SPLITS[split]}, k = {k}", _lines(curve(results, split, k), axes))
            for split in splits for k in (0, 1)
        ]})  # fmt: skip
    else:
        note = (
            "Families pooled, sampled actions; bars are 95 % intervals over seeds. "
            "0 is random, 1 is optimal."
        )
        made.append({"name": "Score", "note": note, "panels": [
            _panel(SPLITS[split], _lines(along(pooled, axes, split), axes)) for split in splits
        ]})  # fmt: skip
        families = sorted({r["family"] for r in rows if r["family"] != "all"})
        note = "One demonstration, on levels never seen; the families that were held out last."
        order = {"unseen-level": 0, "unseen-family": 1}
        parts = sorted(
            {(order[r["split"]], r["family"], r["split"]) for r in rows
             if r["split"] in order and r["family"] in families}
        )  # fmt: skip
        made.append({"name": "Each family", "note": note, "panels": [
            _panel(f"{family} ({SPLITS[split].lower()})",
                   _lines(along([r for r in rows if r["family"] == family], axes, split, one=True),
                          axes))
            for _, family, split in parts
        ]})  # fmt: skip
    if any(row["demonstrations"] == OWN for row in pooled):
        note = (
            "Nothing is demonstrated: an agent plays one level again and again and remembers what "
            "it did. Sampled actions; bars are 95 % intervals over seeds."
        )
        made.append({"name": "Own attempts", "note": note, "panels": [
            _panel(SPLITS[split], figures.lines_figure(attempts(pooled, axes, split), "attempt"))
            for split in splits
        ]})  # fmt: skip
    if results.get("probes"):
        made += probe_groups(results)
    if results["published"] and axes != failure_map.AXES:
        note = "Mean returns in other environments: only the course compares, not the height."
        made.append({"name": "In the paper", "note": note, "panels": [
            _panel("Raparthy et al., arXiv 2312.03801",
                   figures.published_figure(results["published"], named(axes[0])))
        ]})  # fmt: skip
    return made


def attempts(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], split: str) -> dict[str, Line]:
    """Score over the attempts of an agent's own, counted from 1; none where there are none."""
    own = [
        dict(row) | {"attempt": row["demos"] + 1}
        for row in rows
        if row["demonstrations"] == OWN and row["split"] == split
    ]
    rest = [axis for axis in axes if axis not in ("demos", "demonstrations")]
    return _gather(own, "attempt", rest) if own else {}


def failure_group(results: Mapping[str, Any]) -> dict[str, Any]:
    """The failure map, and the paper's beside it."""
    note = (
        "A mark is a family in one setting, after one demonstration: the mean over seeds, with "
        "95 % intervals. Across: how often the model's most probable action is the expert's, "
        "teacher-forced (an expert that draws among equally good actions agrees with itself less "
        "than always), or the one that a renamed demonstration shows. Up: what it scores when it "
        "plays on whole demonstrations. Colour: share of mistakes that end the episode. Shape: "
        "stickiness of the test. Hollow: meanings fixed and p_b = 0, in weights."
    )
    found = ((plane, failure_map.marks(results, plane)) for plane in failure_map.PLANES)
    panels = [
        _panel(plane.title, failure_map.plane_figure(own, plane)) for plane, own in found if own
    ]
    paper = _panel(failure_map.PAPER, failure_map.paper_figure(results["published"]))
    return {"name": "Failure map", "note": note, "panels": [*panels, paper], "tall": True}


def probe_groups(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The charts of probes: where actions come from, and what each head does."""
    x, rest = results["axes"][0], list(results["axes"][1:])
    rows = [r for r in results["probes"] if r["demos"] == 1 and r["split"] in ORDER[:2]]
    pooled = [r for r in rows if r["family"] == "all"]
    shown = {
        "copy": "Plays the action shown (renamed demonstrations)",
        "original": "Plays the action before it was renamed",
        "agree-hit": "Plays the expert's action at demonstrated states",
        "agree-novel": "Plays the expert's action at novel states",
    }
    panels = [
        _panel(
            f"{title}, {SPLITS[split].lower()}",
            figures.lines_figure(
                _gather([r for r in pooled if r["measure"] == measure and r["split"] == split
                         and r["demonstrations"] == ("relabelled" if measure in
                                                     ("copy", "original") else "whole")],
                        x, rest),
                named(x), y="share of steps",
            ),
        )
        for measure, title in shown.items() for split in ORDER[:2]
    ]  # fmt: skip
    note = (
        "Teacher-forced on an expert's episode after one demonstration: the most probable action "
        "at each step. Bars are 95 % intervals over seeds."
    )
    found = [{"name": "Where its actions come from", "note": note, "panels": panels}]
    whole = [r for r in pooled if r["demonstrations"] == "whole" and r["split"] == ORDER[0]]
    apart = (
        ("agree at novelty", "Plays the expert's action", "novelty"),
        ("episodes of novelty", "Share of the episodes", "novelty"),
        ("agree at distance", "Plays the expert's action", "distance"),
        ("steps at distance", "Share of the steps", "distance"),
    )
    panels = [
        _panel(f"{title}, by {at}", figures.lines_figure(
            _gather(own, at, [x, *rest]), named(at), y="share"))
        for measure, title, at in apart
        if (own := [r for r in whole if r["measure"] == measure])
    ]  # fmt: skip
    if panels:
        note = (
            "Unseen levels, after one demonstration. Distance of a step: symbols in which its "
            "observation differs from the nearest demonstrated one. Novelty of an episode: share "
            "of its steps whose observation was not demonstrated, in bins up to the number shown."
        )
        found.append({"name": "Away from the demonstration", "note": note, "panels": panels,
                      "tall": len(results["points"]) > len(ORDER)})  # fmt: skip
    heads = [r for r in pooled if "unit" in r and r["demonstrations"] == "whole"]
    if heads:
        note = (
            "At demonstrated states, after one demonstration. Left: each head's attention on the "
            "tokens that tell what was done there. Right: how often the model still plays that "
            "action when the head is silenced. Seeds differ in which head does what."
        )
        titles = {"match": "Attention on the answer", "copy without": "Copying without the head"}
        found.append({"name": "Heads", "note": note, "panels": [
            _panel(f"{title}, {SPLITS[ORDER[0]].lower()}", figures.lines_figure(
                _gather([r for r in heads if r["measure"] == name and r["split"] == ORDER[0]],
                        "unit", [x, *rest]),
                "head", y="share"))
            for name, title in titles.items()
        ]})  # fmt: skip
    return found


def table(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every cell over its seeds: mean, interval and interquartile mean of the score, success, and
    the share of the steps played whose observation was demonstrated."""
    own = [axis for axis in results["axes"] if axis not in ("demos", "demonstrations", "update")]
    fields = (*own, "split", "family", "demonstrations", "demos")
    parts: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in results["rows"]:
        if row["acting"] == "sampled":
            parts.setdefault(tuple(row[field] for field in fields), []).append(row)
    made = []
    for place, part in parts.items():
        scores = [row["score"] for row in part]
        hits = [row["hit"] for row in part if "hit" in row and row["demonstrations"] != OWN]
        found = interval(scores)
        made.append({
            "place": place,
            "score": found,
            "ends": brackets(found.low, found.high),
            "middle": interquartile(scores).estimate,
            "success": sum(row["success"] for row in part) / len(part),
            "hit": sum(hits) / len(hits) if hits else None,
        })  # fmt: skip
    return [{"fields": fields, "lines": made}]


def along(
    rows: Sequence[Mapping[str, Any]], axes: Sequence[str], split: str, one: bool = False
) -> dict[str, Line]:
    """name of a line -> its points along the first axis, by the other axes and by k."""
    x, rest = axes[0], list(axes[1:])
    if x == "demos" or "demos" in axes:
        shown = [row for row in rows if not one or row["demos"] == 1 or x == "demos"]
    else:
        most = max(row["demos"] for row in rows)
        ks = (1,) if one or rest else (0, 1, most)
        shown = [row for row in rows if row["demos"] in ks]
        if not rest and not one:
            rest = ["demos"]
    if "demonstrations" not in axes:
        shown = [row for row in shown if row["demonstrations"] == "whole"]
    else:
        shown = [row for row in shown if row["demonstrations"] != "as-trained"]
    return _gather([row for row in shown if row["split"] == split], x, rest)


def curve(results: Mapping[str, Any], split: str, k: int) -> dict[str, Line]:
    """Likewise along the updates of training."""
    lines = [x for x in results["curves"] if x["split"] == split and x["demos"] == k]
    return _gather(lines, "update", list(results["axes"][1:]))


def _gather(rows: Sequence[Mapping[str, Any]], x: str, rest: Sequence[str]) -> dict[str, Line]:
    parts: dict[str, dict[Any, list[float]]] = {}
    for row in rows:
        name = ", ".join(
            f"k = {row[a]}" if a == "demos" else f"{a} {row[a]}" if _number(row[a]) else str(row[a])
            for a in rest
        )
        parts.setdefault(name, {}).setdefault(row[x], []).append(row["score"])
    return {
        name: [(place, interval(line[place])) for place in sorted(line, key=figures.order)]
        for name, line in parts.items()
    }


def cells_of(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], split: str) -> dict[Any, Any]:
    """(first, second axis) -> one-shot score on whole demonstrations."""
    found: dict[Any, list[float]] = {}
    for row in rows:
        if (row["split"], row["demos"], row["demonstrations"]) == (split, 1, "whole"):
            found.setdefault((row[axes[0]], row[axes[1]]), []).append(row["score"])
    return {place: interval(scores) for place, scores in found.items()}


def _lines(lines: dict[str, Line], axes: Sequence[str]) -> dict[str, Any]:
    return figures.lines_figure(lines, named(axes[0]))


def named(axis: str) -> str:
    """An axis in words."""
    return NAMES.get(axis, axis.replace("_", " "))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
