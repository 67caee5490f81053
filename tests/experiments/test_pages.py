"""The pages of a study and of several runs, and the commands on all of them, in a real browser."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments.config import CompareConfig
from experiments.report import write_report
from experiments.runs_report import write_comparison
from experiments.study_report import write_study
from tests.experiments.hostile import HOSTILE, assert_harmless

MACHINE = {"device": "2 x cpu", "phases": {"train": 1.5, "save": 0.5}, "commits": ["a", "b"]}


def rows(arms: Sequence[str], families: Sequence[str] = ("maze",), **fields: object) -> list[dict]:
    """Three seeds of every arm, family and k; bursty learns."""
    return [
        {
            "arm": arm, "chunk": 4, "p_b": 1.0, "seed": seed, "split": split, "family": family,
            "demos": k, "demonstrations": "whole", "acting": "sampled", "levels": 8,
            "episodes": 8, "success": 0.5, "score": 0.3 * k * (arm == "bursty") + 0.01 * seed,
        } | fields
        for arm, seed, k in itertools.product(arms, range(3), range(3))
        for split in ("unseen-level", "unseen-family")
        for family in ("all", *families)
    ]  # fmt: skip


def save(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def study(folder: Path, axes=("chunk", "p_b"), places=None, **fields: object) -> Path:
    """A made-up study over a plane; its score is chunk / 16 where contexts are bursty."""
    places = places or [{"chunk": c, "p_b": p} for c in (1, 4, 16) for p in (0.0, 1.0)]
    verdict = {"ordering": "S12", "claim": "whole beats chunks", "estimate": 0.5, "low": 0.4}
    verdicts = [
        verdict | {"high": 0.6, "level": 0.95, "seeds": 3, "holds": holds, "paper": "so"}
        for holds in (True, True, False, None)
    ]
    measured = [
        row | place | {"score": place.get("chunk", 1) / 16 * place.get("p_b", 1) + row["score"]}
        for place in places
        for row in rows(("isolated-chunks",))
    ]
    save(folder / "results.json", {
        "schema": 1, "study": "chunks", "question": "What do whole trajectories give?",
        "paper": "Not in the paper.", "published": [["NetHack", [[0.0, -0.1], [1.0, 0.4]]]],
        "verdicts": verdicts, "config": dataclasses.asdict(CompareConfig()),
        "environment": MACHINE, "command_line": "levelburst study chunks --out 'a b'",
        "axes": list(axes), "points": [{"at": place, "arm": "bursty"} for place in places],
        "rows": measured, "curves": [], "probes": [],
    } | fields)  # fmt: skip
    return write_study(folder)


def run(folder: Path, arms=("bursty", "isolated-chunks"), lift=0.0, **config: object) -> Path:
    """A made-up run; ``lift`` is added to its scores."""
    asked = json.loads(json.dumps(dataclasses.asdict(CompareConfig()))) | config
    measured = [row | {"score": row["score"] + lift} for row in rows(arms)]
    save(folder / "config.json", asked)
    save(folder / "results.json", {
        "schema": 1, "config": {"command_line": "levelburst compare"} | asked,
        "environment": MACHINE, "rows": measured, "verdicts": [],
    })  # fmt: skip
    return folder


def several(folder: Path) -> Path:
    """The page of three runs: one is higher, one is alike, and their settings differ."""
    made = [run(folder / "first"), run(folder / "higher one", lift=0.2, width=32)]
    return write_comparison([*made, run(folder / "alike", updates=7)], folder / "page.html")


def opens(page) -> None:
    """It is there, and draws what comes into the window."""
    page.locator(".chart").first.scroll_into_view_if_needed()
    page.wait_for_selector(".chart svg.main-svg")


def sorts(page, heading: str, column: int) -> None:
    """A click sorts the last table by numbers, upwards and downwards; so does the keyboard."""
    table = page.locator("table").last
    button = table.get_by_role("button", name=heading, exact=True)
    read = f"all => all.map(x => +(x.cells[{column}].dataset.value ?? x.cells[{column}].innerText))"
    for press in (button.click, lambda: (button.focus(), page.keyboard.press("Enter"))):
        press()
        values = table.locator("tbody tr").evaluate_all(read)
        down = table.locator("[aria-sort=descending]").count()
        assert values == sorted(values, reverse=bool(down)) and len({*values}) > 2
    assert down == 1


def test_a_study_opens_and_sorts(opened, tmp_path):
    page = opened(study(tmp_path))
    opens(page)
    assert "Of 4 claims 2 hold, 1 does not, 1 is not decided." in page.locator("main").inner_text()
    names = [x.strip() for x in page.locator("h2").all_text_contents()]
    assert names.index("Verdicts") == 0
    assert {"Chunk length × burstiness", "Score", "Each family", "In the paper"} < {*names}
    said = [x.get_attribute("aria-label") for x in page.locator(".chart").all()]
    assert "16, 1: 1.010 [0.99, 1.03]" in said[0]  # the map, in words
    assert all(": " in text for text in said)
    assert page.locator(".heatmaplayer .hm").count() == 2
    sorts(page, "score", 6)
    # Far charts are drawn when one comes near.
    page.locator(".chart").last.scroll_into_view_if_needed()
    page.locator(".chart").last.locator("svg.main-svg").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_hold_a_study_and_several_runs(opened, tmp_path, scheme):
    for path in (study(tmp_path / "study"), several(tmp_path)):
        page = opened(path, width=360, scheme=scheme)
        opens(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        texts = page.locator(".chart").first.locator(".heatmap-label").all_text_contents()
        assert not any("[" in text for text in texts)  # an interval would be too small to read


def test_several_runs_open_and_sort(opened, tmp_path):
    page = opened(several(tmp_path))
    opens(page)
    text = page.locator("main").inner_text()
    assert "Of 8 one-shot scores on what was never seen 4 rose, 0 fell, and 4 cannot be" in text
    badges = page.locator(".verdicts .badge").all_text_contents()
    assert badges == ["↑ higher"] * 4 + ["? not decided"] * 4
    table = page.locator("table").first.inner_text()
    assert "width" in table and "updates" in table
    said = page.locator(".chart").first.get_attribute("aria-label")
    assert "first: 0: 0.010 [" in said and "higher one: 0: 0.210 [" in said
    assert page.locator("code").last.inner_text().endswith("higher one' " + str(tmp_path / "alike"))
    page.locator("summary").nth(1).click()
    assert page.get_by_text("train 1.5, save 0.5").nth(1).is_visible()
    sorts(page, "difference", 6)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_command_is_copied_with_and_without_a_clipboard(opened, tmp_path, allowed):
    """Where a file may not use the clipboard, the selection is copied."""
    if allowed:
        path, command = study(tmp_path), "levelburst study chunks --out 'a b'"
    else:
        path, command = write_report(run(tmp_path)), "levelburst compare"
    page = opened(path)
    page.evaluate("""allowed => {
        const writeText = (text) => { window.heard = text; return Promise.resolve(); };
        const refuse = () => Promise.reject(new Error());
        const value = { writeText: allowed ? writeText : refuse };
        Object.defineProperty(navigator, "clipboard", { value });
        addEventListener("copy", () => { window.heard = String(getSelection()); });
    }""", allowed)  # fmt: skip
    page.locator(".command button").focus()
    page.keyboard.press("Enter")
    page.locator(".command button").get_by_text("Copied").wait_for()
    assert page.evaluate("window.heard") == command
    assert page.locator(".command code").inner_text() == command


def test_hostile_strings_are_text_in_a_study(opened, tmp_path):
    """In its words, its places, its families, its config and its machine."""
    words = iter(itertools.cycle(HOSTILE))
    verdict = {"estimate": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "seeds": 3, "holds": True}
    path = study(
        tmp_path,
        axes=("meaning", "kind"),
        places=[{"meaning": text, "kind": next(words)} for text in HOSTILE],
        question=HOSTILE[0],
        paper=HOSTILE[6],
        command_line=HOSTILE[1],
        published=[[text, [[text, 0.1]]] for text in HOSTILE],
        verdicts=[verdict | {"ordering": x, "claim": x, "paper": x} for x in HOSTILE],
        config=dict(zip(HOSTILE, reversed(HOSTILE), strict=True)) | {"seeds": HOSTILE[2]},
        environment=dict(zip(HOSTILE, reversed(HOSTILE), strict=True)),
    )
    page = opened(path)
    everything(page)
    assert_harmless(page, path.read_text("utf-8"))
    shown = page.locator(".verdicts li").evaluate_all("all => all.map(x => x.textContent)")
    assert all(text in line for text, line in zip(HOSTILE, shown, strict=True))
    assert page.locator("h1").text_content() == HOSTILE[0]


def test_hostile_strings_are_text_in_several_runs(opened, tmp_path):
    """In the names of folders and arms, and in configs."""
    names = [text.replace("/", "∕")[:200] for text in HOSTILE]
    made = [run(tmp_path / name, arms=("bursty", *HOSTILE), preset=name) for name in names[:3]]
    made += [run(tmp_path / name, preset=name) for name in names[3:]]
    path = write_comparison(made, tmp_path / "page.html")
    page = opened(path)
    everything(page)
    assert_harmless(page, path.read_text("utf-8"))
    assert all(name in page.locator(".question").text_content() for name in names)
    arms = page.locator("table").last.locator("tbody tr td:nth-child(2)").all_text_contents()
    assert {*HOSTILE} < {*arms}


def everything(page) -> None:
    """Draws charts, opens what is closed, sorts by every column."""
    opens(page)
    page.locator(".chart").last.scroll_into_view_if_needed()
    page.locator(".chart").last.locator("svg.main-svg").first.wait_for()
    page.evaluate("document.querySelectorAll('details').forEach(x => { x.open = true; })")
    page.evaluate("document.querySelectorAll('th button').forEach(x => x.click())")
