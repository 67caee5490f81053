"""The viewer in a real browser: it loads, plays, filters, and lets nothing that a run says run."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.report import write_report
from tests.experiments.hostile import HOSTILE, assert_harmless

ATLAS = (  # one pixel
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def episode(arm: str, split: str, family: str, level: int, k: int) -> dict:
    """Three steps: right, wrong, and into a pit; attention falls on the first demonstration."""
    seen = [
        " ".join(["600", *["0"] * (2 * k + t - 1), "400"]) if k or t else "1000" for t in range(3)
    ]
    even = [" ".join(["0"] * (2 * k + t) + ["1000"]) for t in range(3)]
    return {
        "arm": arm, "split": split, "family": family, "level": level, "k": k,
        "demonstrations": "whole", "context": level, "pictures": "0 1 0 1",
        "observations": ["1 2", "3 4", "1 2"], "actions": "1 0 0",
        "probabilities": ["250 750", "900 100", "500 500"], "rewards": "0 0 0",
        "optimal": ["1", "1", "0 1"], "doomed": "0 0 1 1", "wrong": 1, "lost": 1,
        "terminated": True, "success": False, "return": 0.0, "attention": [seen, even],
    }  # fmt: skip


def replays(arms=("bursty", "shuffled"), families=("dark-room", "key-door")) -> dict:
    """A small replays.json: 2 demonstrations of two steps each; the second is cut in its middle."""
    context = {
        "lengths": "0 2 4", "before": "0 1 0 1", "after": "1 0 1 0",
        "observations": ["1 2", "3 4", "1 2", "3 4"], "actions": "0 1 0 1", "rewards": "0 1 0 1",
        "starts": "1 0 1 0", "cuts": "0 0 0 1", "foreign": "0 0 0 1",
    }  # fmt: skip
    episodes = [
        episode(arm, split, family, level, k)
        for arm in arms
        for split, own in (("seen-level", families), ("unseen-family", ("random-graph",)))
        for family in own
        for level in range(2)
        for k in range(3)
    ]
    return {
        "schema": 1, "seed": 0, "pictures": ["#@.\n..G", "#.@\n..G"],
        "tiles": {
            "characters": ".#@&SG", "atlas": ATLAS,
            "names": ["floor", "wall", "agent", "agent with a load", "start", "goal"],
        },
        "contexts": [context, context | {"actions": "1 1 1 1"}], "episodes": episodes,
    }  # fmt: skip


def report(folder: Path, content: object, **results: object) -> Path:
    (folder / "results.json").write_text(json.dumps({"schema": 1, **results}), encoding="utf-8")
    (folder / "replays.json").write_text(json.dumps(content), encoding="utf-8")
    return write_report(folder)


def options(page, field: str) -> list[str]:
    return page.locator(f".viewer [data-field={field}] option").all_text_contents()


def step(page) -> int:
    return int(page.locator(".viewer input").input_value())


def until(page, holds: Callable[[], bool]) -> None:
    """Waits; the page's own policy forbids what Playwright would ask it with."""
    for _ in range(200):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("nothing happened in ten seconds")


def cells(page) -> list[str]:
    return page.locator(".cell").all_text_contents()


def test_a_finished_run_opens_and_plays(opened, smoke):
    page = opened(smoke / "report.html")
    page.wait_for_selector(".viewer:not([hidden])")
    assert options(page, "arm") == ["bursty", "isolated-chunks"]
    assert options(page, "split") == ["seen-level", "unseen-level", "unseen-family"]
    assert options(page, "k") == ["0", "1", "2", "3"]
    page.locator(".viewer [data-field=k]").select_option("3")
    assert page.locator(".slot").count() == 4
    looked = page.locator(".cell").evaluate_all(
        "all => all.map(x => +x.style.getPropertyValue('--look'))"
    )
    assert max(looked) == 1 and len({*looked}) > 3
    drawn = """canvas => {
        const picture = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(picture.data).size;
    }"""
    assert page.locator("canvas").evaluate(drawn) > 8
    page.locator(".viewer").focus()
    page.keyboard.press("Home")
    page.locator(".speed").select_option("fast")
    page.locator(".play").click()
    until(page, lambda: "Play" in page.locator(".play").text_content())
    assert step(page) == len(cells(page)) - 1
    assert "Return" in page.locator(".told").text_content()


def test_it_begins_with_the_models_first_step(opened, tmp_path):
    page = opened(report(tmp_path, replays()))
    assert page.locator(".now").text_content() == "Model’s episode, step 1 of 3"
    assert cells(page) == ["0", "1", "★", "1", "0", "0", "■"]  # k = 1, and how each slot ends
    told = page.locator(".told").text_content()
    assert "Action 1. Optimal. Looks most at itself" in told and "symbols 1 2" in told
    assert page.locator(".bars li").all_text_contents() == ["action 00.25", "action 10.75✓ best"]
    assert page.locator(".bars .chosen").text_content().startswith("action 1")
    assert "agent: row 1 column 2; goal: row 2 column 3" in page.locator("canvas").get_attribute(
        "aria-label"
    )
    # Where it first went wrong.
    page.locator("[data-to=wrong]").click()
    told = page.locator(".told").text_content()
    assert "Not optimal: the oracle plays 1. Here it first went wrong." in told
    assert "After this step nothing can be earned any more." in told
    marks = page.locator(".cell").evaluate_all("all => all.map(x => x.dataset.mark ?? '')")
    assert marks == ["", "", "", "", "✗†", "", ""]
    assert page.locator(".cell[aria-current=step]").count() == 1


def test_attention_is_heat_on_the_context(opened, tmp_path):
    page = opened(report(tmp_path, replays()))
    page.locator(".viewer [data-field=layer]").select_option("layer 1")
    said = page.locator(".cell").evaluate_all("all => all.map(x => x.getAttribute('aria-label'))")
    assert said[0] == "demonstration 1, step 1, action 0, attention 0.60"
    assert said[3] == "model’s episode, step 1, action 1, attention 0.40"
    heat = "all => all.map(x => getComputedStyle(x).backgroundColor)"
    first, second, *_ = page.locator(".cell").evaluate_all(heat)
    assert first != second
    page.locator(".viewer [data-field=layer]").select_option("all layers")
    assert page.locator(".cell").first.get_attribute("aria-label").endswith("attention 0.30")
    page.locator(".cell").first.click()  # a demonstration looks nowhere
    looks = page.locator(".cell").evaluate_all(
        "all => all.map(x => +x.style.getPropertyValue('--look'))"
    )
    assert not any(looks) and page.locator(".bars .chosen").text_content() == "action 0–"


def test_keys_step_and_play(opened, tmp_path):
    page = opened(report(tmp_path, replays()))
    page.locator(".viewer").focus()
    for key, at in (
        ("ArrowRight", 4),
        ("ArrowLeft", 3),
        ("End", 6),
        ("ArrowRight", 6),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert step(page) == at
    page.locator(".speed").select_option("fast")
    page.locator(".viewer").focus()
    page.keyboard.press("Space")
    until(page, lambda: step(page) >= 2)
    page.keyboard.press("Space")
    held = step(page)
    page.wait_for_timeout(500)
    assert step(page) == held and "Play" in page.locator(".play").text_content()
    # Keys are a select's own where a select has the focus.
    page.locator(".viewer [data-field=k]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".viewer [data-field=k]").input_value() == "2" and len(cells(page)) == 11
    # All of it can be reached with Tab; cells are stepped through with arrows instead.
    page.locator(".viewer").focus()
    seen = set()
    for _ in range(15):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.className + document.activeElement.type"))
    assert {"playbutton", "speedselect-one", "range"} <= seen and "cellbutton" not in seen


def test_choices_filter_what_comes_after_them(opened, tmp_path):
    page = opened(report(tmp_path, replays()))
    assert options(page, "family") == ["dark-room", "key-door"]
    page.locator(".viewer [data-field=family]").select_option("key-door")
    page.locator(".viewer [data-field=split]").select_option("unseen-family")
    assert options(page, "family") == ["random-graph"]
    assert not page.locator(
        ".viewer [data-field=family]"
    ).is_visible()  # there is nothing to choose
    page.locator(".viewer [data-field=split]").select_option("seen-level")
    page.locator(".viewer [data-field=k]").select_option("2")
    page.locator(".viewer [data-field=level]").select_option("1")
    assert page.locator(".viewer [data-field=k]").input_value() == "2"  # kept
    # The second demonstration is cut in its middle, and what follows is of another level.
    assert cells(page) == ["1", "1", "★", "1", "■", "1", "★", "1", "0", "0", "■"]
    kinds = page.locator(".cell").evaluate_all("all => all.map(x => x.className)")
    assert kinds[5] == "cell cut foreign" and kinds[6] == "cell foreign end"


def test_an_empty_slot_is_still_a_slot(opened, tmp_path):
    content = replays()
    for context in content["contexts"]:
        context["lengths"] = "0 0 4"
    page = opened(report(tmp_path, content))
    assert page.locator(".slot").all_text_contents() == [
        "Demonstration 1no steps",
        "Model’s episode100■",
    ]


def test_without_oracle_picture_or_symbols(opened, tmp_path):
    content = replays()
    bare = {"optimal": None, "doomed": None, "wrong": -1, "lost": -1, "observations": None}
    content["episodes"] = [one | bare for one in content["episodes"]]
    content["pictures"] = ["", ""]
    page = opened(report(tmp_path, content))
    assert page.locator(".undrawn").is_visible() and not page.locator("canvas").is_visible()
    assert page.locator(".bars b").all_text_contents() == ["", ""]
    assert page.locator("[data-to=wrong]").is_disabled()
    told = page.locator(".told").text_content()
    assert "ptimal" not in told and "Reads" not in told


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_hold_it_in_both_schemes(opened, tmp_path, scheme):
    page = opened(report(tmp_path, replays()), width=360, scheme=scheme)
    page.locator(".viewer [data-field=k]").select_option("2")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    right = "all => Math.max(...all.map(x => x.getBoundingClientRect().right))"
    assert page.locator(".viewer *").evaluate_all(right) <= 360
    light = """all => all.map(x => {
        const parts = getComputedStyle(x).backgroundColor.match(/[\\d.]+/g).map(Number);
        return (Math.max(...parts) <= 1 ? 255 : 1) * (parts[0] + parts[1] + parts[2]) / 3;
    })"""
    ground, *_ = page.locator("body").evaluate_all(light)
    assert (ground > 200) == (scheme == "light")
    # Text stays readable on the strongest heat.
    ratio = """all => {
        const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const bright = (colour) => {
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((v) => {
                v /= 255;
                return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
            });
            return .2126 * r + .7152 * g + .0722 * b + .05;
        };
        return Math.min(...all.map((x) => {
            const style = getComputedStyle(x);
            const pair = [bright(style.color), bright(style.backgroundColor)];
            return Math.max(...pair) / Math.min(...pair);
        }));
    }"""
    assert page.locator(".cell:not(.end)").evaluate_all(ratio) > 4.5


def test_everything_has_a_name(opened, tmp_path):
    page = opened(report(tmp_path, replays()))
    for control in page.locator(".viewer :is(button, input, select)").all():
        name = "x => x.getAttribute('aria-label') || x.labels?.[0]?.textContent || x.textContent"
        assert control.evaluate(name).strip()
    assert page.get_by_role("button", name="Next step").count() == 1
    assert (
        page.get_by_role("slider", name="Step").get_attribute("aria-valuetext").startswith("model")
    )
    assert page.get_by_role("group", name="Trajectory viewer").count() == 1
    assert page.get_by_label("family").first.count() == 1
    assert page.locator(".viewer [role=img]:not([aria-label]):visible").count() == 0


def test_hostile_strings_are_text(opened, tmp_path):
    """In the names of a run's arms, families and splits, in its config, and in its pictures."""
    assert len(HOSTILE) == len({*HOSTILE}) == 40
    content = replays(arms=("bursty",), families=tuple(HOSTILE))
    more = [
        copy.deepcopy(content["episodes"][0]) | {"arm": text, "split": text} for text in HOSTILE
    ]
    content["episodes"] += [one | {"demonstrations": one["arm"]} for one in more]
    content["tiles"]["names"][2], content["pictures"][1] = HOSTILE[0], HOSTILE[6]
    content["contexts"][0]["observations"] = content["episodes"][0]["observations"] = HOSTILE[:4]
    config = dict(zip(HOSTILE, reversed(HOSTILE))) | {
        "command_line": HOSTILE[1],
        "preset": HOSTILE[2],
    }
    path = report(tmp_path, content, config=config, environment={HOSTILE[3]: HOSTILE[4]})
    page = opened(path)

    def plain(texts: list[str]) -> list[str]:
        """As an option shows them: white space is one blank."""
        return [" ".join(text.split()) for text in texts]

    assert plain(options(page, "family")) == plain(HOSTILE)
    assert plain(options(page, "arm")) == plain(["bursty", *HOSTILE])
    for field in ("family", "arm"):
        for index in range(len(HOSTILE)):
            page.locator(f".viewer [data-field={field}]").select_option(index=index)
            page.locator(".viewer").focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("End")
    assert_harmless(page, path.read_text("utf-8"))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 2}', "elsewhere", "none"])
def test_a_run_without_replays_has_a_report_without_viewer(opened, tmp_path, content):
    (tmp_path / "results.json").write_text('{"schema": 1}', encoding="utf-8")
    whole = replays()
    if content == "elsewhere":
        whole["tiles"]["atlas"] = "https://example.org/a.png"
    elif content == "none":
        whole["episodes"] = []
    if content is not None:
        text = json.dumps(whole) if content.isalpha() else content
        (tmp_path / "replays.json").write_text(text, encoding="utf-8")
    page = opened(write_report(tmp_path))
    assert page.locator(".viewer").count() == 0 and page.locator("h1").count() == 1


def test_a_script_that_runs_would_be_found(chromium, tmp_path):
    """The checks above see what they are there to see."""
    page = chromium.new_page()
    heard = []
    page.on("dialog", lambda dialog: (heard.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: heard.append(request.url))
    path = tmp_path / "page.html"
    path.write_text(f"<p>{HOSTILE[0]}<img src=http://127.0.0.1:9/x>", encoding="utf-8")
    page.goto(path.as_uri())
    assert page.evaluate("window.hit") == 1
    assert "dialog" in heard and "http://127.0.0.1:9/x" in heard
    page.close()
