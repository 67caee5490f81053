"""A whole comparison, small: what it writes, that it repeats, and that flags change it."""

import dataclasses
import json
import math
from itertools import product
from pathlib import Path

import jax
import pytest

from experiments.compare import Comparison
from experiments.config import from_stored
from experiments.folder import RunFolder
from experiments.phases import COMPILATION
from experiments.presets import PRESETS
from tests.faults.runs import TINY, flags

pytestmark = pytest.mark.early

ARMS = {"bursty": (16, 1.0), "isolated-chunks": (4, 0.0)}  # chunk, p_b
READERS = ("hash-map", "nearest-neighbour")
SPLITS = {"seen-level": "dark-room", "unseen-level": "dark-room", "unseen-family": "random-graph"}
TYPES = {
    "arm": str,
    "chunk": int | None,
    "p_b": float | None,
    "seed": int,
    "split": str,
    "family": str,
    "demos": int,
    "demonstrations": str,
    "acting": str,
    "levels": int,
    "episodes": int,
    "score": float,
    "success": float,
    "return": float,
    "hit": float,
}
PLACE = ("arm", "seed", "split", "family", "demos", "demonstrations", "acting")


def read(folder: Path, name: str = "results.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def metrics(folder: Path) -> list[dict]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


@pytest.fixture(scope="module")
def found(smoke) -> dict:
    return read(smoke)


def test_results_have_the_parts_of_the_schema(found, smoke):
    assert {"schema", "config", "environment", "rows", "verdicts"} <= found.keys()
    assert found["schema"] == 1
    assert found["config"] == read(smoke, "config.json")
    assert found["environment"].keys() >= {"python", "jax", "device", "cores", "commit"}
    assert found["environment"]["device"].startswith("2 x ")
    assert found["environment"]["seconds"] > 0


def test_every_row_has_the_fields_and_types_of_the_schema(found):
    for row in found["rows"]:
        assert row.keys() == TYPES.keys()
        wrong = [name for name, kind in TYPES.items() if not isinstance(row[name], kind)]
        assert wrong == [] and not isinstance(row["seed"], bool)
        assert math.isfinite(row["score"]) and math.isfinite(row["return"])
        assert 0 <= row["success"] <= 1 and (row["demos"] > 0 or row["hit"] == 0)
        assert 0 <= row["hit"] <= 1
        assert (row["levels"], row["episodes"]) == (16, 16)
        assert (row["chunk"], row["p_b"]) == ARMS.get(row["arm"], (None, None))


def test_every_cell_is_there_once(found):
    pools = [(split, family) for split, own in SPLITS.items() for family in ("all", own)]
    expected = [
        (arm, 0, split, family, demos, demonstrations, acting)
        for arm, (split, family), demos, demonstrations, acting in product(
            (*ARMS, *READERS), pools, range(4), ("whole", "as-trained"), ("sampled", "greedy")
        )
        if arm in ARMS or (demonstrations, acting) == ("whole", "sampled")
    ]
    measured = [tuple(row[name] for name in PLACE) for row in found["rows"]]
    assert sorted(measured) == sorted(expected)


def test_all_families_together_are_the_one_that_there_is(found):
    rows = {tuple(row[name] for name in PLACE): row for row in found["rows"]}
    for place, row in rows.items():
        own = (*place[:3], SPLITS[row["split"]], *place[4:])
        assert rows[own] | {"family": "all"} == row | {"family": "all"}


def test_demonstrations_tell_the_readers_what_to_do(found):
    """The demonstrations are of the levels that are played, or reading them would not pay."""
    for reader, split in product(READERS, SPLITS):
        none, one = (
            next(
                row["score"]
                for row in found["rows"]
                if (row["arm"], row["split"], row["family"], row["demos"])
                == (reader, split, "all", k)
            )
            for k in (0, 1)
        )
        assert one > none + 0.4


def test_verdicts_of_one_seed_are_open(found):
    assert len(found["verdicts"]) == 7
    for verdict in found["verdicts"]:
        assert list(verdict) == ["claim", "estimate", "low", "high", "level", "seeds", "holds"]
        assert math.isfinite(verdict["estimate"])
        assert (verdict["level"], verdict["seeds"]) == (0.95, 1)
        assert (verdict["low"], verdict["high"], verdict["holds"]) == (None, None, None)


def test_metrics_are_a_line_for_each_chunk(smoke):
    lines = metrics(smoke)
    numbers = {"loss", "accuracy", "gradient", "tokens_per_second"}
    numbers |= {"mean_row", "longest_row", "whole_cells"}
    for line in lines:
        assert line.keys() == {"kind", "arm", "seed", "update"} | numbers
        assert line["kind"] == "train"
        assert all(math.isfinite(line[name]) for name in numbers)
        assert line["loss"] > 0 and 0 <= line["accuracy"] <= 1 and 0 <= line["whole_cells"] <= 1
        assert 0 < line["mean_row"] <= line["longest_row"] <= 64
    for arm in ARMS:
        assert [line["update"] for line in lines if line["arm"] == arm] == [2, 4]
    assert {line["whole_cells"] == 1.0 for line in lines if line["arm"] == "bursty"} == {True}


def test_config_comes_back_as_it_was(smoke):
    stored = read(smoke, "config.json")
    changes = {"updates": 4, "report_every": 2, "devices": 2}
    wanted = dataclasses.replace(PRESETS["smoke"], **changes)
    assert from_stored(stored, smoke) == wanted
    assert stored.keys() - {"command", "command_line"} == set(dataclasses.asdict(wanted))
    assert stored["command_line"].startswith("levelburst compare --preset smoke --updates 4")


def test_the_folder_holds_what_was_promised_and_no_more(smoke):
    assert sorted(path.name for path in smoke.iterdir()) == [
        "cells", "checkpoints", "config.json", "figure.svg", "metrics.jsonl", "replays.json",
        "report.html", "results.json", "training",
    ]  # fmt: skip
    assert sorted(stamps(smoke)) == sorted(f"{arm}-seed0.json" for arm in (*ARMS, *READERS))
    assert {path.name for path in (smoke / "checkpoints").iterdir()} == {
        f"{arm}-seed0" for arm in ARMS
    }


def test_a_seed_gives_the_same_bits_in_a_longer_run_and_another_seed_others(
    levelburst, tmp_path, found, smoke_arguments
):
    done = levelburst(*smoke_arguments, "--seeds", 2, "--curve", 2, "--out", "two")
    assert done.returncode == 0, done.stderr
    two = read(tmp_path / "two")
    assert [row for row in two["rows"] if row["seed"] == 0] == found["rows"]
    other = [row["score"] for row in two["rows"] if row["seed"] == 1]
    assert len(other) == len(found["rows"]) and other != [row["score"] for row in found["rows"]]

    for verdict in two["verdicts"]:
        assert verdict["low"] <= verdict["estimate"] <= verdict["high"] and verdict["seeds"] == 2
        words = {True: "holds", False: "does NOT hold", None: "undecided"}[verdict["holds"]]
        assert any(
            line.strip().startswith(f"{words}  {verdict['claim']}")
            for line in done.stdout.splitlines()
        )

    curves = [line for line in metrics(tmp_path / "two") if line["kind"] == "evaluation"]
    fields = {"kind", "arm", "seed", "update", "split", "demos", "score"}
    assert {frozenset(line) for line in curves} == {frozenset(fields)}
    places = [
        tuple(line[f] for f in ("arm", "seed", "update", "split", "demos")) for line in curves
    ]
    assert sorted(places) == sorted(product(ARMS, (0, 1), (2, 4), SPLITS, range(4)))
    last = {
        (r["arm"], r["seed"], r["split"], r["demos"]): r["score"]
        for r in two["rows"]
        if (r["family"], r["demonstrations"], r["acting"]) == ("all", "whole", "sampled")
    }
    ends = [line for line in curves if line["update"] == 4]
    assert {last[x["arm"], x["seed"], x["split"], x["demos"]] == x["score"] for x in ends} == {True}


def test_flags_change_the_run(levelburst, tmp_path):
    done = levelburst(
        *(*flags(TINY), "--devices", 2, "--seed", 3, "--arms", "nonbursty", "isolated-chunks:1"),
        *("--families", "random-graph", "--horizon", 16, "--demos", 1, "--updates", 2),
        *("--report-every", 2, "--contexts", 8, "--out", "far/away"),
    )
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "far" / "away")["rows"]
    values = {name: {row[name] for row in rows} for name in ("seed", "demos", "split", "family")}
    assert values == {
        "seed": {3},
        "demos": {0, 1},
        "split": {"seen-level", "unseen-level"},
        "family": {"all", "random-graph"},
    }
    kinds = {(row["arm"], row["chunk"], row["p_b"]) for row in rows}
    assert kinds == {("nonbursty", 16, 0.0), ("isolated-chunks:1", 1, 0.0)}
    assert {line["update"] for line in metrics(tmp_path / "far" / "away")} == {2}


def test_training_is_compiled_ahead_for_what_it_is_then_given(tmp_path):
    """Before any level is drawn; otherwise it would be compiled a second time."""
    job = Comparison(PRESETS["smoke"], RunFolder(tmp_path))
    job.compile_ahead(job.cells)
    cells = job.padded(next(job.waves(job.cells)))
    states = job.stack([job.initial(seed)[1] for _, seed in cells])
    runs = job.stack([job.run(cell) for cell in cells])
    trainer, heard = job.trainer(cells), []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        states, _ = trainer(states, runs)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in heard if event.startswith(COMPILATION)]
    assert (states.step == job.config.report_every).all()
