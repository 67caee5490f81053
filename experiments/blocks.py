"""The blocks of the documents, in Markdown: what stands between ``<!-- kind: name -->`` and
``<!-- end -->`` is written from docs/results/."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import stored
from experiments.bench.table import rate, ratio, seconds
from experiments.figures import SPLITS
from experiments.presets import PRESETS
from experiments.studies import STUDIES

BLOCK = re.compile(r"<!-- (study|run|bench|signals): ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
MARKS = {True: "holds", False: "**does not hold**", None: "undecided"}
ARMS = {
    "bursty": "bursty full trajectories",
    "bursty-chunks": "bursty chunks (c = {chunk})",
    "shuffled": "bursty single steps",
    "nonbursty": "full trajectories of other levels",
    "isolated-chunks": "isolated chunks (c = {chunk})",
    "isolated-chunks:1": "isolated single steps",
    "single": "single trajectories",
    "hash-map": "hash map (no training)",
    "nearest-neighbour": "nearest neighbour (no training)",
}
COMPARED = ("bursty", "isolated-chunks")  # the two that the main comparison is about
SETTINGS = {"simulate": "N = 1,024", "decode": "T = 256"}  # where a part has several
PENDING = "*Recorded by hand and checked by no test: `docs/results/{}.json` is still to be stored.*"


def refresh(text: str, folder: Path, near: str) -> str:
    """A document with its blocks as the stored results have them. A block whose results are not
    stored keeps what it says, and says so.

    Args:
        text: the document.
        folder: docs/results.
        near: the same as the document's links call it.
    """

    def again(match: re.Match[str]) -> str:
        kind, name, said = match.groups()
        file = file_of(kind, name)
        found = stored.read(file, folder)
        if found is None:
            note = PENDING.format(file)
            body = said.rstrip("\n") if note in said else f"{note}\n\n{said}".rstrip("\n")
        else:
            body = "\n".join(KINDS[kind](name, found, near))
        return f"<!-- {kind}: {name} -->\n{body}\n<!-- end -->"

    return BLOCK.sub(again, text)


def file_of(kind: str, name: str) -> str:
    """What a block's results are stored as."""
    if kind == "bench":
        return f"bench-{name}" if f"bench-{name}" in stored.BENCHMARKS else kind
    return f"signals-{name}" if kind == "signals" else name


def study(name: str, found: Mapping[str, Any], near: str) -> list[str]:
    """A study: its picture, its command, its verdicts."""
    rows = [(v["ordering"], *_verdict(v), v["paper"]) for v in found["verdicts"]]
    return [
        f"![{STUDIES[name].question}]({near}/{name}.svg)",
        "",
        f"`{found['command']}`",
        "",
        *_table(("", "claim", "estimate", "95 % interval", "", "in the paper"), rows),
    ]


def signals(name: str, found: Mapping[str, Any], near: str) -> list[str]:
    """A question about step signals: its picture, its command and machine, its verdicts."""
    rows = [(*_verdict(v), v["paper"]) for v in found["verdicts"]]
    return [
        f"![{found['text']}]({near}/signals-{name}.svg)",
        "",
        f"`{found['command']}` on {_machine(found['environment'])}: "
        f"{_took(found['environment']['seconds'])}.",
        "",
        *_table(("claim", "estimate", "95 % interval", "", "in the paper"), rows),
    ]


def run(name: str, found: Mapping[str, Any], near: str) -> list[str]:
    """A comparison: its picture, its command and machine, its scores, its verdicts."""
    config, machine = PRESETS[name], found["environment"]
    cells = stored.known(found["cells"], config.seeds)
    ks = sorted({demos for _, _, demos in cells})
    places = [
        (split, k) for split in ("unseen-level", "unseen-family") for k in (0, 1, ks[-1]) if k in ks
    ]
    heads = [f"{SPLITS[split].lower()}, k = {k}" for split, k in places]
    rows = []
    for arm in dict.fromkeys(arm for arm, _, _ in cells):
        strong = ("**", "**") if arm in COMPARED else ("", "")
        words = ARMS.get(arm, arm).format(chunk=config.chunk).join(strong)
        scores = [cells.get((arm, *place)) for place in places]
        shown = [
            f"{_score(x.estimate)} ± {_score(x.high - x.estimate)}" if x else "–" for x in scores
        ]
        rows.append((words, *(
            text.join(strong) if k == 1 else text for (_, k), text in zip(places, shown)
        )))  # fmt: skip
    return [
        f"![Score against the number of demonstrations, for each arm]({near}/{name}.svg)",
        "",
        f"`{found['command']}` on {_machine(machine)}, CPU only: {machine['seconds'] / 60:.0f} "
        f"minutes. {len(config.arms)} arms × {config.seeds} seeds, {config.updates:,} updates "
        "each; ± is the half-width of a 95 % interval over seeds.",
        "",
        *_table(("", *heads), rows),
        "",
        *_table(("claim", "estimate", "95 % interval", ""), map(_verdict, found["verdicts"])),
    ]


def speed(found: Mapping[str, Any]) -> list[str]:
    """The benchmark against the rivals, and what one waits for."""
    rows: list[Sequence[str]] = []
    for cells in _races(found, ("train", "decode", "simulate")):
        own, show = cells[0], _time if cells[0]["part"] == "train" else _rate
        head = (f"{own['work']}, {own['setting']}", show(own))
        for rival in (cell for cell in cells if not cell["ours"]):
            rows.append((*head, f"{rival['who']}: {show(rival)}", _ratio(rival)))
            head = ("", "")
    waits = [
        (target["work"], *_measured(target)) for target in found["targets"] if target["unit"] != "×"
    ]
    return [
        f"`{found['command']}` on {_machine(found['machine'])}: medians of up to {found['goes']} "
        "goes, both sides in one run, taking turns. A ratio above 1: Levelburst is faster; in "
        "brackets the least and the largest of single turns.",
        "",
        *_table(("work", "Levelburst", "rival", "ratio"), rows),
        "",
        *_table(("wait", "median", "least … most"), waits),
    ]


def train(found: Mapping[str, Any]) -> list[str]:
    """Updates of the transformer: as they are called, and what share of the peak they reach."""
    rows = []
    for cells in _races(found, ("train",)):
        by, own = {cell["who"]: cell for cell in cells}, cells[0]

        def each(who: str, by=by, own=own) -> str:
            """Seconds of one update, of several in one go."""
            cell = by.get(f"{own['who']}, {who}")
            known = cell and cell["median"]
            return seconds(known * own["amount"] / cell["amount"]) if cell and known else "–"

        scan, rival = by[f"{own['who']}, in one scan"], by["PyTorch"]
        share = 100 * scan["operations"] / scan["median"] / found["machine"]["float32"]
        rows.append((
            own["setting"], _time(own), each("1 device"), each("in one scan"),
            each("contexts generated"), _time(rival), _rate(scan), f"{share:.0f} %", _ratio(rival),
        ))  # fmt: skip
    peak = rate(found["machine"]["float32"], "FLOP")
    heads = ("model", "an update", "on one device", "in one scan", "with its contexts",
             "PyTorch eager", "in one scan", "of peak", "PyTorch / ours")  # fmt: skip
    return [
        f"`{found['command']}` on {_machine(found['machine'])}; peak {peak} in float32, measured "
        "in the same run.",
        "",
        *_table(heads, rows),
    ]


def disk(found: Mapping[str, Any]) -> list[str]:
    """Training from a store, and a checkpoint, next to training that generates its groups."""
    first = found["cells"][0]
    shares = [100 * cell["median"] / first["median"] for cell in found["cells"]]
    rows = [
        (
            cell["who"].partition(", ")[2] or "groups generated",
            seconds(cell["median"]),
            f"{seconds(cell['low'])} … {seconds(cell['high'])}",
            f"{share:.{0 if share >= 10 else 1}f} %",
        )
        for cell, share in zip(found["cells"], shares)
    ]
    return [
        f"`{found['command']}` on {_machine(found['machine'])}, {first['setting']}: medians of "
        f"{first['goes']} goes, which take turns.",
        "",
        *_table((first["work"], "median", "least … most", "of the first"), rows),
    ]


BENCHES = {"speed": speed, "train": train, "disk": disk}
KINDS: dict[str, Callable[[str, Mapping[str, Any], str], list[str]]] = {
    "study": study,
    "signals": signals,
    "run": run,
    "bench": lambda name, found, near: BENCHES[name](found),
}


def _races(found: Mapping[str, Any], parts: Sequence[str]) -> list[list[Mapping[str, Any]]]:
    """Cells by race, ours first, at the setting that is shown; only those that have a rival."""
    races: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for cell in found["cells"]:
        part, setting = cell["part"], cell["setting"]
        if part in parts and setting == SETTINGS.get(part, setting):
            races.setdefault((part, cell["work"], setting), []).append(cell)
    held = [cells for cells in races.values() if not all(cell["ours"] for cell in cells)]
    return sorted(held, key=lambda cells: parts.index(cells[0]["part"]))


def _table(heads: Sequence[str], rows: Any) -> list[str]:
    head, *lines = [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]
    return [head.replace("|  |", "| |"), *lines]


def _took(seconds: float) -> str:
    if not seconds:
        return "from cells that were there already"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


def _verdict(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = verdict["low"], verdict["high"]
    ends = "–" if low is None else f"[{_number(low)}, {_number(high)}]"
    return verdict["claim"], _number(verdict["estimate"]), ends, MARKS[verdict["holds"]]


def _measured(target: Mapping[str, Any]) -> tuple[str, str]:
    if target["measured"] is None:
        return "not measured", ""
    unit = target["unit"]
    ends = "" if target["low"] is None else f"{target['low']:.2g} … {target['high']:.2g} {unit}"
    return f"{target['measured']:.2g} {unit}", ends


def _time(cell: Mapping[str, Any]) -> str:
    return seconds(cell["median"]) if cell["median"] else cell["reason"]


def _rate(cell: Mapping[str, Any]) -> str:
    return rate(cell["rate"], cell["unit"]) if cell["rate"] else cell["reason"]


def _ratio(cell: Mapping[str, Any]) -> str:
    if cell["ratio"] is None:
        return "–"
    return f"{ratio(cell['ratio'])} [{ratio(cell['ratio_low'])}, {ratio(cell['ratio_high'])}]"


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['cores']} cores of {machine['processor']} (JAX {machine['jax']}, commit "
        f"{machine['commit'][:7]})"
    )


def _number(value: float) -> str:
    return f"{value:.{2 if abs(value) < 10 else 0}f}".replace("-", "−")


def _score(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")
