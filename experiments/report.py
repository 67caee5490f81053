"""The report of a run: results.json and metrics.jsonl as one page that needs no network."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, BinaryIO

import jinja2
from plotly.offline import get_plotlyjs

from experiments import figures, jsonfile
from experiments.errors import ConfigError
from experiments.page import told, words
from experiments.still import still
from icl.conditions import OWN
from icl.statistics import Interval, interval

SCHEMA = 1
POINTS = 150
"""The most points of one learning curve; longer ones are averaged in bins."""
ARMS = {
    "bursty": "whole trajectories of the query's level",
    "bursty-chunks": "chunks of trajectories of the query's level",
    "isolated-chunks": "chunks of trajectories of other levels, pairwise different",
    "isolated-chunks:1": "single steps of trajectories of other levels",
    "nonbursty": "whole trajectories of other levels of the family",
    "shuffled": "single steps of the query's level, out of order",
    "single": "no context: each trajectory alone; one with demonstrations is new to it",
    "hash-map": "no learning: repeats what the demonstrations did at the very same observation",
    "nearest-neighbour": "no learning: repeats what they did at the most similar observation",
}
Curves = dict[str, list[tuple[float, Interval]]]


@dataclass(frozen=True)
class Cell:
    """One measured cell with its seeds taken together; the other fields are a row's."""

    arm: str
    chunk: int | None
    p_b: float | None
    split: str
    family: str
    demos: int
    demonstrations: str
    acting: str
    label: str
    score: Interval
    success: float | None

    @property
    def ends(self) -> str:
        """The interval of the score in brackets; empty for one seed."""
        return brackets(self.score.low, self.score.high)


def write_report(folder: Path) -> Path:
    """Writes ``folder/report.html`` from results.json and, where they are, metrics.jsonl and
    replays.json.

    Raises:
        FileNotFoundError: no results.json.
        ValueError: results.json is no JSON object of schema 1, or its parts are of other kinds.
    """
    replays = read_replays(folder)
    page = render(read_results(folder), read_metrics(folder), folder.resolve().name, replays)
    return replace(folder / "report.html", lambda file: file.write(page.encode()))


def write_figure(folder: Path, target: Path) -> Path:
    """Writes the main figure of ``folder/results.json`` as a still SVG.

    Raises:
        FileNotFoundError: no results.json.
        ValueError: results.json is no JSON object of schema 1, or has nothing to draw.
    """
    found = cells(read_results(folder)["rows"])
    names = {cell.arm: cell.label for cell in found}
    records = [
        record
        for record in read_metrics(folder)
        if (record.get("kind"), record.get("split"), record.get("demos"))
        == ("evaluation", "unseen-level", 1)
    ]
    learning = curves(records, "score", names)
    return replace(target, lambda file: still(found, learning, file))


def replace(target: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Writes a file whole or not at all."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            write(file)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def read_results(folder: Path) -> dict[str, Any]:
    """Reads results.json with every part of the schema present."""
    path = folder / "results.json"
    results = jsonfile.read(path)
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: expected an object with schema {SCHEMA}, got schema {schema}")
    found = {"config": {}, "environment": {}, "rows": [], "verdicts": []} | results
    for part, kind in (("config", dict), ("environment", dict), ("rows", list), ("verdicts", list)):
        items = found[part] if kind is list and isinstance(found[part], list) else []
        if not isinstance(found[part], kind) or not all(isinstance(x, dict) for x in items):
            raise ValueError(f"{path}: its {part} are not as levelburst writes them")
    return found


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Reads metrics.jsonl; a missing file is empty, and a line cut off by a crash is left out.
    Raises ConfigError where it holds too much."""
    path = folder / "metrics.jsonl"
    try:
        return [line for _, line in jsonfile.lines(path) if isinstance(line, dict)]
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def read_replays(folder: Path) -> dict[str, Any] | None:
    """Reads replays.json, as ``read_watched``."""
    return read_watched(folder / "replays.json", "episodes")


def read_watched(path: Path, part: str) -> dict[str, Any] | None:
    """Reads what a viewer shows; None where there is nothing to show in its ``part``: of older
    runs, damaged, or of another schema."""
    if not path.exists():
        return None
    try:
        found = jsonfile.read(path)
        # The page asks for nothing: its pictures are in it.
        shown = found["schema"] == SCHEMA and found["tiles"]["atlas"].startswith("data:image/png;")
        return found if shown and found[part] else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def finite(value: object) -> bool:
    """Tells whether a value read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def brackets(low: float | None, high: float | None) -> str:
    """An interval in brackets; empty without one."""
    return f"[{signed(low)}, {signed(high)}]" if finite(low) and finite(high) else ""


def signed(value: float | None, digits: int = 3) -> str:
    """A number with a true minus sign, or a dash where there is none."""
    return f"{value:z.{digits}f}".replace("-", "−") if finite(value) else "–"


def labels(keys: Iterable[tuple[Any, Any, Any]]) -> dict[tuple[Any, Any, Any], str]:
    """Names each (arm, chunk, p_b): the arm, and what tells it from its namesakes."""
    variants = defaultdict(set)
    for arm, chunk, p_b in keys:
        variants[arm].add((chunk, p_b))
    found = {}
    for arm, settings in variants.items():
        chunks, shares = ({setting[i] for setting in settings} for i in (0, 1))
        for chunk, p_b in settings:
            parts = [f"c = {chunk}"] if len(chunks) > 1 else []
            parts += [f"p_b = {p_b}"] if len(shares) > 1 else []
            found[arm, chunk, p_b] = f"{arm} ({', '.join(parts)})" if parts else arm
    return found


def over_seeds(pairs: Iterable[tuple[Any, float]]) -> Interval:
    """The interval of (seed, value) pairs; values of one seed are averaged first."""
    seeds = defaultdict(list)
    for seed, value in pairs:
        seeds[seed].append(value)
    return interval([math.fsum(values) / len(values) for values in seeds.values()])


def cells(rows: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Takes the seeds of each cell together; rows without a finite score are left out."""
    rows = [row for row in rows if finite(row.get("score"))]
    names = labels((row["arm"], row.get("chunk"), row.get("p_b")) for row in rows)
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row.get(field.name) for field in fields(Cell)[:8])].append(row)
    found = []
    for key, group in groups.items():
        success = [(row["seed"], row["success"]) for row in group if finite(row.get("success"))]
        score = over_seeds((row["seed"], row["score"]) for row in group)
        mean = over_seeds(success).estimate if success else None
        found.append(Cell(*key, label=names[key[:3]], score=score, success=mean))
    arms, splits = figures.rank(cell.arm for cell in found), [*figures.SPLITS]
    splits += sorted({cell.split for cell in found} - set(splits))

    def place(cell: Cell) -> tuple[Any, ...]:
        pool = (splits.index(cell.split), cell.family != "all", cell.family)
        how = (cell.demonstrations != "whole", cell.acting != "sampled")
        return *pool, *how, arms.index(cell.arm), cell.label, cell.demos

    return sorted(found, key=place)


def curves(records: Iterable[Mapping[str, Any]], name: str, names: Mapping[str, str]) -> Curves:
    """One number of metrics.jsonl against updates, seeds taken together.

    Args:
        records: lines of metrics.jsonl of one kind.
        name: the number, such as "loss".
        names: arm -> label.

    Returns:
        label -> [(update, interval)]; more than POINTS updates are averaged in bins.
    """
    points = defaultdict(list)
    for record in records:
        if finite(record.get(name)) and finite(record.get("update")):
            label = names.get(str(record["arm"]), str(record["arm"]))
            points[label].append((record["update"], record["seed"], record[name]))
    found: Curves = {}
    for label, triples in points.items():
        updates = sorted({update for update, _, _ in triples})
        width = (updates[-1] - updates[0]) / POINTS if len(updates) > POINTS else 0
        bins = defaultdict(list)
        for triple in triples:
            number = int((triple[0] - updates[0]) / width) if width else triple[0]
            bins[min(number, POINTS - 1) if width else number].append(triple)
        found[label] = [
            (math.fsum(t[0] for t in group) / len(group), over_seeds(t[1:] for t in group))
            for _, group in sorted(bins.items())
        ]
    return found


def render(
    results: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    run: str,
    replays: Mapping[str, Any] | None = None,
) -> str:
    """The page as text.

    Args:
        results: the content of results.json.
        records: the lines of metrics.jsonl.
        run: the name of the run.
        replays: the content of replays.json, if there is a viewer to be.
    """
    found = cells(results["rows"])
    names = {cell.label: cell.arm for cell in found}
    single = {arm: label for label, arm in names.items() if [*names.values()].count(arm) == 1}
    trained = {str(record["arm"]) for record in records if "arm" in record}
    names |= {arm: arm for arm in sorted(trained - single.keys())}
    looks = figures.styles(names)
    groups = [
        score_group([cell for cell in found if cell.demonstrations != OWN], looks),
        attempts_group([cell for cell in found if cell.demonstrations == OWN], looks),
        training_group(records, single, looks),
        evaluation_group(records, single, looks),
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= FILTERS
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("report.html.j2").render(
        run=run,
        config=results["config"],
        simulated=[
            name
            for name, reference in results.get("families", {}).items()
            if reference["optimum"] != "exact"
        ],
        machine=results["environment"],
        verdicts=[
            verdict | {"ends": brackets(verdict.get("low"), verdict.get("high"))}
            for verdict in results["verdicts"]
        ],
        cells=found,
        left_out=sum(not finite(row.get("score")) for row in results["rows"]),
        seeds=sorted({row["seed"] for row in results["rows"]}),
        looks=list(looks.values()),
        groups=[group for group in groups if group],
        arms={arm: ARMS[arm] for arm in figures.rank(names.values()) if arm in ARMS},
        splits=figures.SPLITS,
        plotly=get_plotlyjs(),
        replays=replays,
    )


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


FILTERS = {"number": signed, "pretty": pretty, "words": words, "told": told}


def charts(name: str, note: str, choices: Mapping[str, list], panels: list[dict]) -> dict | None:
    """Charts that share their controls; None without any chart.

    Args:
        name: the heading.
        note: what is drawn, in a sentence.
        choices: what a reader chooses -> the options; the first is drawn first, or k = 1.
        panels: title, alt text and, for each choice of options joined by "|", a figure.
    """
    panels = [panel for panel in panels if panel["figures"]]
    return {"name": name, "note": note, "choices": choices, "panels": panels} if panels else None


def score_group(
    found: Sequence[Cell], looks: Mapping[str, figures.Style], x: str = "demonstrations k"
) -> dict | None:
    """Score against demonstrations, or what else ``x`` counts: a panel for each split."""
    shown = sorted({cell.demonstrations for cell in found}, key=lambda name: name != "whole")
    acted = sorted({cell.acting for cell in found}, key=lambda name: name != "sampled")
    panels = []
    for split, title in figures.SPLITS.items():
        drawn = {}
        for demonstrations in shown:
            for acting in acted:
                panel = figures.pooled(found, split, demonstrations, acting)
                if panel:
                    figure = figures.score_figure(panel, looks)
                    figure["layout"]["xaxis"]["title"]["text"] = x
                    drawn[f"{demonstrations}|{acting}"] = figure
        lines = figures.lines(figures.pooled(found, split, *shown[:1]), looks).items()
        said = "; ".join(
            f"{label} {signed(cell.score.estimate, 2)} at {x[-1]} = {cell.demos}"
            for label, line in lines
            for cell in line
        )
        alt = f"{title}: score against {x}. {said}"
        panels.append({"title": title, "alt": alt, "figures": drawn})
    note = "Mean over seeds, bars are 95 % intervals; families pooled. 0 is random, 1 is optimal."
    choices = {"demonstrations": shown, "acting": acted}
    return charts(f"Score against {x[:-2]}", note, choices, panels)


def attempts_group(found: Sequence[Cell], looks: Mapping[str, figures.Style]) -> dict | None:
    """Score over an agent's own attempts, which are counted from 1."""
    own = [replace_fields(cell, demos=cell.demos + 1) for cell in found]
    return score_group(own, looks, "own attempts n") if own else None


def training_group(records: Sequence[Mapping], names: dict, looks: Mapping) -> dict | None:
    """Loss and accuracy against updates."""
    records = [record for record in records if record.get("kind") == "train"]
    panels = []
    for number, title in (("loss", "Loss"), ("accuracy", "Accuracy of actions")):
        found = curves(records, number, names)
        panels.append(curve_panel(title, number, {"": found} if found else {}, looks))
    note = "Training contexts of each arm; mean over seeds, bands are 95 % intervals."
    return charts("Learning curves", note, {}, panels)


def evaluation_group(records: Sequence[Mapping], names: dict, looks: Mapping) -> dict | None:
    """Score against updates: a panel for each split, k chosen."""
    records = [record for record in records if record.get("kind") == "evaluation"]
    demos = sorted({record["demos"] for record in records})
    panels = []
    for split, title in figures.SPLITS.items():
        found = {
            str(k): curves(
                [r for r in records if (r.get("split"), r["demos"]) == (split, k)], "score", names
            )
            for k in demos
        }
        found = {k: lines for k, lines in found.items() if lines}
        panels.append(curve_panel(title, "score", found, looks))
    note = "Evaluated while training, at the chosen number of demonstrations k."
    return charts("Score while learning", note, {"k": [str(k) for k in demos]}, panels)


def curve_panel(title: str, number: str, found: dict[str, Curves], looks: Mapping) -> dict:
    """One chart of curves; its axis of updates is the same for every choice."""
    ends = [point[0] for lines in found.values() for line in lines.values() for point in line]
    xs = (0, 1.02 * max(ends, default=1))
    first = next(iter(found.values()), {})
    said = "; ".join(f"{label}: {line[-1][1].estimate:.3f}" for label, line in first.items())
    drawn = {k: figures.curve_figure(lines, looks, number, xs) for k, lines in found.items()}
    return {"title": title, "alt": f"{title} against updates. At the end: {said}", "figures": drawn}
