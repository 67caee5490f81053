"""Every number in the documents is a stored result, or is made again by a test."""

import dataclasses
import itertools
import json
import re
import shutil
from pathlib import Path

import pytest

from experiments import stored
from experiments.bench import compare, contexts, decode, disk, simulate, train
from experiments.bench.clock import OURS, Cell, Race, Side, cell
from experiments.bench.sizes import SIZES
from experiments.bench.targets import judge
from experiments.blocks import BLOCK, PENDING, file_of, refresh
from experiments.findings import PAGES, RESULTS, main
from experiments.presets import COST, PRESETS
from experiments.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / RESULTS
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
MACHINE = {
    "device": "2 x cpu", "processor": "an EPYC", "cores": 2, "jax": "0", "commit": "abcdef01",
    "commits": ["abcdef01"], "seconds": 3600.0, "load": [0.0], "float32": 5e11, "bandwidth": 3e10,
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_a_document_shows_what_is_stored(page):
    assert refresh(TEXTS[page], STORED, PAGES[page]) == TEXTS[page]


def test_what_is_stored_is_shown_once_and_has_its_picture():
    blocks = [match[:2] for text in TEXTS.values() for match in BLOCK.findall(text)]
    assert len(set(blocks)) == len(blocks)
    shown = {file_of(kind, name) for kind, name in blocks}
    assert {path.stem for path in STORED.glob("*.json")} <= shown
    assert {("run", "quick"), ("run", "ladder"), ("bench", "speed")} < set(blocks)
    assert all((STORED / f"{name}.svg").is_file() for name in shown - set(stored.BENCHMARKS))
    assert all((STORED / f"{name}.json").is_file() for name in shown)  # nothing waits


@pytest.mark.parametrize("given", ["--out /home/me/x", "--out=/home/me/x", ""])
def test_a_stored_command_says_nothing_of_where(given):
    words = f"levelburst signals plot forks {given} --preset quick"
    assert stored._anywhere(words) == "levelburst signals plot forks --preset quick"
    kept = [json.loads(path.read_text()).get("command") or "" for path in STORED.glob("*.json")]
    assert not [command for command in map(str, kept) if "--out" in command or " /" in command]


@pytest.mark.parametrize(("page", "first"), [
    ("docs/findings.md", r"\| −?\d\.\d\d \|"), ("README.md", r"\| −?\d\.\d\d ± "),
])  # fmt: skip
def test_a_number_that_was_changed_is_found(page, first):
    found = re.search(first, TEXTS[page])
    assert found
    changed = TEXTS[page].replace(found[0], "| 9.99 |", 1)
    assert refresh(changed, STORED, PAGES[page]) == TEXTS[page] != changed


def prose(text: str) -> str:
    """What stands outside of blocks, code and addresses."""
    text = BLOCK.sub("", text)
    return re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv[: ]\S+", "", text, flags=re.DOTALL)


@pytest.mark.parametrize(("page", "known"), [
    ("docs/findings.md", {"95 %"}),
    ("docs/signals.md", {"95 %"}),
    # Python's version, an address, the stickiness that is the default, a licence's version.
    ("README.md", {"3.11", "127.0", f"{PRESETS['quick'].stickiness}", "2.0"}),
])  # fmt: skip
def test_no_number_stands_outside_of_the_blocks(page, known):
    assert set(re.findall(r"\d+\.\d+|\d+ %", prose(TEXTS[page]))) <= known


def test_the_readme_says_of_a_preset_what_the_preset_says():
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", TEXTS["README.md"], re.MULTILINE)
    times = {name: time for name, time in rows if name in COST and time != "–"}
    assert set(times) == {"smoke", "quick", "ladder"}
    for name, time in times.items():
        assert COST[name].startswith(f"{time} on two CPU cores")


# Taking results over. -----------------------------------------------------------------------
@pytest.fixture
def root(tmp_path):
    """The documents and their results, to be written to."""
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    shutil.copytree(STORED, tmp_path / RESULTS)
    return tmp_path


def text_of(root: Path, page: str = "README.md") -> str:
    return (root / page).read_text(encoding="utf-8")


def save(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def ladder(folder: Path, **fields: object) -> Path:
    """A made-up run folder of the preset: bursty learns."""
    config = PRESETS["ladder"]
    arms = (*config.arms, *config.readers)
    places = itertools.product(arms, range(5), ("unseen-level", "unseen-family"), range(4))
    row = {"family": "all", "demonstrations": "whole", "acting": "sampled"}
    rows = [
        row | {"arm": arm, "seed": seed, "split": split, "demos": k,
               "score": 0.01 * seed + 0.2 * k * (arm == "bursty")}
        for arm, seed, split, k in places
    ]  # fmt: skip
    rows += [r | {"family": "maze", "score": 9.0} for r in rows]
    verdict = {"claim": "bursty is ahead", "estimate": 0.123, "low": 0.1, "high": 0.2}
    save(folder, "results.json", {
        "schema": 1, "config": dataclasses.asdict(config) | fields, "environment": MACHINE,
        "rows": rows, "verdicts": [verdict | {"level": 0.95, "seeds": 5, "holds": True}],
    })  # fmt: skip
    line = {"kind": "evaluation", "split": "unseen-level", "demos": 1, "arm": "bursty"}
    lines = [line | {"seed": s, "update": u, "score": u / 2000} for s in range(5)
             for u in (400, 1600)]  # fmt: skip
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def test_one_command_takes_the_ladder_over(root, tmp_path):
    before = (root / RESULTS / "ladder.svg").read_bytes()
    main([str(ladder(tmp_path / "run"))], root)
    text = text_of(root)
    assert PENDING.format("ladder") not in text
    assert "| **bursty full trajectories** | 0.02 ± 0.02 | **0.22 ± 0.02** | 0.62 ± 0.02 |" in text
    assert "| bursty is ahead | 0.12 | [0.10, 0.20] | holds |" in text
    assert "7 arms × 5 seeds, 1,600 updates" in text and "60 minutes" in text
    picture = (root / RESULTS / "ladder.svg").read_bytes()
    assert picture != before and b'id="axes_3"' in picture  # two splits, and the curves
    kept = json.loads((root / RESULTS / "ladder.json").read_text(encoding="utf-8"))
    (last,) = [x for x in kept["curves"] if x["at"] == ["bursty", 1600]]
    assert last["score"][0] == pytest.approx(0.8)
    main([], root)  # nothing is left to do
    assert text_of(root) == text and (root / RESULTS / "ladder.svg").read_bytes() == picture


@pytest.mark.parametrize(("change", "said"), [
    ({"updates": 40}, "not preset ladder as it is: updates"),
    ({"preset": "own"}, "not preset own as it is"),
])  # fmt: skip
def test_a_run_that_its_command_would_not_give_again_is_refused(root, tmp_path, change, said):
    before = text_of(root)
    with pytest.raises(SystemExit, match=said):
        main([str(ladder(tmp_path / "run", **change))], root)
    assert text_of(root) == before
    with pytest.raises(SystemExit, match="no part of a benchmark"):
        main([str(tmp_path)], root)


def bench(folder: Path, **parts: object) -> Path:
    """A made-up folder of a benchmark at full size, on which rivals take twice as long."""
    sizes, cells = SIZES["full"], []

    def race(part, work, setting, unit, sides):
        made = tuple(Side(who, "", x, None, operations=1e9 * x) for who, _, x in sides)
        given, first = Race(work, setting, 0, unit, made), [sides[0][1]] * 3
        for side, (who, seconds, _) in zip(made, sides, strict=True):
            goes = [seconds, seconds, 1.1 * seconds]
            cells.append(cell(part, given, side, goes, first if who != OURS else [], ""))

    for model in sizes.models:
        race("train", train.UPDATE, model.name, "tokens", [
            (OURS, 0.5, 100), (f"{OURS}, 1 device", 0.7, 100), (f"{OURS}, in one scan", 1.0, 400),
            (f"{OURS}, contexts generated", 1.2, 400), ("PyTorch", 1.0, 100),
        ])  # fmt: skip
    for steps in sizes.lengths:
        race("decode", decode.ALONE, f"T = {steps:,}", "tokens",
             [(OURS, 0.5, 1e4), ("plain cache", 1.5, 1e4), ("PyTorch", 1.0, 1e4)])  # fmt: skip
        race("decode", decode.PLAYED, f"T = {steps:,}", "tokens", [(OURS, 0.5, 1e4)])
    for work, count in itertools.product((simulate.VIEW, simulate.ROOMS), sizes.lanes):
        race("simulate", work, f"N = {count:,}", "steps",
             [(OURS, 0.5, 1e6), ("XLand-MiniGrid", 5.0, 1e6)])  # fmt: skip
    race("contexts", contexts.CONTEXTS, "preset quick", "transitions",
         [(OURS, 0.5, 1), (f"{OURS}, {contexts.UPDATE}", 8.0, 1)])  # fmt: skip
    race("compare", compare.HELP, "", "s", [(OURS, 0.25, 0)])
    race("disk", disk.TRAINING, "preset quick, 10 updates", "contexts", [
        (OURS, 2.0, 100), (f"{OURS}, {disk.STORE}", 2.1, 100),
        (f"{OURS}, {disk.READING}", 0.5, 100), (f"{OURS}, {disk.CHECKPOINT}", 0.3, 0),
    ])  # fmt: skip
    names = dict.fromkeys(x.part for x in cells)
    return save(folder, "bench.json", {
        "schema": 1, "machine": MACHINE, "sizes": dataclasses.asdict(sizes),
        "config": {"command_line": "levelburst bench --peers", "sizes": "full"},
        "targets": [dataclasses.asdict(target) for target in judge(cells, sizes)],
        "parts": {
            name: {"reason": "", "seconds": 1.0,
                   "cells": [dataclasses.asdict(x) for x in cells if x.part == name]}
            for name in names
        } | parts,
    })  # fmt: skip


def test_one_command_takes_a_benchmark_over(root, tmp_path):
    main([str(bench(tmp_path / "run"))], root)
    text, page = text_of(root), text_of(root, "docs/scaling.md")
    assert PENDING.format("bench") not in text + page
    assert "a checkpoint a minute" not in text  # which has a page of its own
    for line in (
        "| update, d 64 L 2 T 256 B 64 | 500 ms | PyTorch: 1.00 s | 2.00× [2.00×, 2.20×] |",
        "| the model alone, T = 256 | 20 k tokens/s | plain cache: 6.67 k tokens/s | 3.00× [",
        "|  |  | PyTorch: 10 k tokens/s | 2.00× [2.00×, 2.20×] |",
        "| key-door, 7×7×2 view, N = 1,024 | 2 M steps/s | XLand-MiniGrid: 200 k steps/s | 10.0× [",
        "| contexts, share of the update | 6.2 % | 6.2 … 6.2 % |",
        "| compare --help | 0.25 s | 0.25 … 0.28 s |",
    ):
        assert line in text
    assert "N = 64" not in BLOCK.sub("", text) and "T = 1,024" not in text
    # Of an update: 0.5 s by itself, 0.7 on one device, 4 in a scan of 1 s.
    assert (
        "| d 64 L 2 T 256 B 64 | 500 ms | 700 ms | 250 ms | 300 ms | 1.00 s | 400 tokens/s | 80 % |"
        in page
    )
    assert "peak 500 GFLOP/s" in page
    main([], root)
    assert (text_of(root), text_of(root, "docs/scaling.md")) == (text, page)


def test_a_part_that_has_a_place_of_its_own_is_taken_over_alone(root, tmp_path):
    made, others = bench(tmp_path / "run"), (root / RESULTS / "bench.json").read_text()
    found = json.loads((made / "bench.json").read_text(encoding="utf-8"))
    save(made, "bench.json", found | {"parts": {"disk": found["parts"]["disk"]}})
    before = text_of(root)
    main([str(made)], root)
    page = text_of(root, "docs/reliability.md")
    for line in (
        "| groups generated | 2.00 s | 2.00 s … 2.20 s | 100 % |",
        "| reading alone | 500 ms | 500 ms … 550 ms | 25 % |",
        "| a checkpoint | 300 ms | 300 ms … 330 ms | 15 % |",
    ):
        assert line in page
    assert (root / RESULTS / "bench.json").read_text() == others and text_of(root) == before
    kept = json.loads((root / RESULTS / "bench-disk.json").read_text(encoding="utf-8"))
    assert {target["part"] for target in kept["targets"]} == {"disk"}
    assert {target.work: target.reached for target in judge(
        [Cell(**x | {"seconds": tuple(x["seconds"])}) for x in found["parts"]["disk"]["cells"]],
        SIZES["full"],
    )} == {
        "training from a store, share of generating": True,
        "reading, share of the training that it feeds": True,
        "a checkpoint a minute, share of the training": True,
    }  # fmt: skip


def test_half_a_benchmark_is_refused(root, tmp_path):
    before = text_of(root)
    broken = {"train": {"reason": "RuntimeError: no", "cells": [], "seconds": 1.0}}
    with pytest.raises(SystemExit, match="parts train"):
        main([str(bench(tmp_path / "run", **broken))], root)
    assert text_of(root) == before


def test_a_study_is_taken_over_with_its_picture(root, tmp_path):
    row = {"split": "unseen-level", "family": "all", "demonstrations": "whole",
           "acting": "sampled", "success": 1.0, "p_b": 1.0}  # fmt: skip
    rows = [row | {"seed": s, "demos": k, "score": 0.1 * s} for s in range(5) for k in (0, 1)]
    rows += [r | {"family": "maze", "score": 9.0} for r in rows]
    save(tmp_path / "run" / "burstiness", "results.json", {
        "study": "burstiness", "question": STUDIES["burstiness"].question, "axes": ["p_b"],
        "command_line": "levelburst study burstiness", "environment": MACHINE, "verdicts": [],
        "rows": rows,
    })  # fmt: skip
    main([str(tmp_path / "run")], root)
    kept = stored.read("burstiness", root / RESULTS)
    assert kept
    at, score = (kept["cells"][-1][name] for name in ("at", "score"))
    assert dict(zip(kept["fields"], at, strict=True)) == {
        "p_b": 1.0, "split": "unseen-level", "demonstrations": "whole", "demos": 1,
    }  # fmt: skip
    assert score[0] == pytest.approx(0.2)
    page = text_of(root, "docs/findings.md")
    assert "`levelburst study burstiness`\n" in page
