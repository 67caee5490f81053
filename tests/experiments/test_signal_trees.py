"""Trees of lanes on the page of graded signals: what is drawn is what was graded, in a browser."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.folder import RunFolder
from experiments.signals import cells, growth
from experiments.signals.config import SignalsConfig
from experiments.signals.page import write_signals
from icl.signals import truth
from tests.experiments.hostile import HOSTILE, assert_harmless
from tests.experiments.test_viewer import ATLAS, until

METHODS = ("grpo", "tree-grpo-move")
CONFIG = SignalsConfig(
    method=METHODS, set=("moments=5", "horizon=8"), skill=1.5, budget=50, levels=2, repetitions=1,
    seeds=1, seed=3,
)  # fmt: skip
COLUMNS = ("actions", "probabilities", "credit", "advantage", "value", "reward", "leaves")
SHOWN = ("action", "probability", "credit received", "exact advantage", "exact value")


def numbers(text: str) -> list[float]:
    return [float(x) for x in text.split()]


def results(folder: Path, methods=METHODS, **fields: object) -> None:
    grades = dict.fromkeys(
        ("correlation", "sign", "located", "idle", "cosine", "variance", "actions"), 0.5
    )
    config = {"family": "gauntlet", "seeds": 1, "levels": 2, "budget": 50}
    found = {
        "schema": 1, "command": "signals grade", "command_line": "levelburst signals grade",
        "config": config, "environment": {"device": "1 x cpu"},
        "rows": [{"method": method, "seed": 0} | grades for method in methods],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found | fields), encoding="utf-8")


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """The folder of a grade with its trees."""
    folder = RunFolder(tmp_path_factory.mktemp("signals"))
    growth.write(folder, CONFIG)
    results(folder.path / "grade")
    write_signals(folder.path / "grade")
    return folder.path / "grade"


@pytest.fixture(scope="module")
def trees(grown) -> list[dict]:
    return json.loads((grown / "trees.json").read_text(encoding="utf-8"))["trees"]


def columns(tree: dict) -> dict[str, np.ndarray]:
    """Every generated step of a tree, once."""
    lanes = tree["lanes"]
    return {name: np.concatenate([numbers(one[name]) for one in lanes]) for name in COLUMNS}


def path(tree: dict, lane: int) -> list[tuple[int, int]]:
    """(lane that owns it, step) of each step from the root to the end of a lane."""
    one = tree["lanes"][lane]
    before = path(tree, one["from"])[: one["fork"]] if one["from"] >= 0 else []
    own = len(numbers(one["actions"]))
    return before + [(lane, one["fork"] + step) for step in range(own)]


# What stands in the file. --------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_group_that_was_graded(trees, method):
    """One group in two levels was graded, and all of it is shown."""
    mine = [tree for tree in trees if tree["method"] == method]
    assert [tree["level"] for tree in mine] == [0, 1]
    assert all(tree["count"] == len(tree["lanes"]) > 5 for tree in mine)
    found = cells.grade(CONFIG, method, CONFIG.seed)
    credit, advantage = (
        np.concatenate([columns(tree)[name] for tree in mine]) for name in ("credit", "advantage")
    )
    assert len(credit) / 2 == found["actions"]
    assert np.ptp(credit) > 0.1 and np.ptp(advantage) > 0.1
    assert np.corrcoef(credit, advantage)[0, 1] == pytest.approx(found["correlation"], abs=1e-3)


def test_numbers_are_those_of_the_exact_oracle(trees):
    """Nothing is drawn by lot in these levels, so values tell advantages, step by step; the first
    is the policy's exact return."""
    place, policy = cells._place(CONFIG, CONFIG.seed)
    returns = jax.device_get(truth.success(place.env, place.dynamics, policy.scores))
    for tree in trees:
        for lane, one in enumerate(tree["lanes"]):
            steps = path(tree, lane)
            told = [
                {name: numbers(tree["lanes"][row][name])[time - tree["lanes"][row]["fork"]]
                 for name in COLUMNS}
                for row, time in steps
            ]  # fmt: skip
            assert [time for _, time in steps] == [*range(len(steps))]
            assert told[0]["value"] == pytest.approx(returns[tree["level"]], abs=1e-5)
            assert sum(step["reward"] for step in told) == one["return"]
            after = [step["value"] for step in told[1:]] + [0.0]
            for step, later in zip(told, after, strict=True):
                gain = step["reward"] + later - step["value"]
                assert step["advantage"] == pytest.approx(gain, abs=1e-4)
            if one["fatal"] >= 0:
                assert told[one["fatal"]]["value"] > 0 and one["return"] == 0
                assert not any(step["value"] for step in told[one["fatal"] + 1 :])


def test_leaves_are_the_lanes_that_hold_a_step(trees):
    for tree in trees:
        held = [step for lane in range(tree["count"]) for step in path(tree, lane)]
        for row, one in enumerate(tree["lanes"]):
            for step, leaves in enumerate(numbers(one["leaves"]), one["fork"]):
                assert held.count((row, step)) == leaves
        forked = [one for one in tree["lanes"] if one["from"] >= 0]
        assert bool(forked) == (tree["method"] != "grpo")
        assert len({one["tree"] for one in tree["lanes"]}) == tree["count"] - len(forked)


def test_it_is_drawn_once(grown, monkeypatch):
    """What is there of the same settings stays, what is damaged or of others is drawn anew."""
    folder, before = RunFolder(grown.parent), (grown / "trees.json").read_bytes()
    monkeypatch.setattr(growth, "first_group", None)
    growth.write(folder, CONFIG)
    assert (grown / "trees.json").read_bytes() == before
    for other in ("{", "[]", '{"of": "another"}'):
        folder.replace(growth.FILE, other)
        with pytest.raises(TypeError):
            growth.write(folder, CONFIG)
    folder.replace(growth.FILE, before.decode())


def test_no_line_crosses_another():
    """After a lane the ones that left it, the latest first; trees one below the other."""
    assert growth.order([0, 1, 0, 0, 2, 1], [0, 0, 2, 5, 3, 0]) == [0, 3, 2, 4, 1, 5]


def test_the_levels_shown_are_those_that_tell_most():
    lost, won, both = [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]
    returns = [np.array([lost, both, won, both, both]), np.array([both, lost, won, both, both])]
    assert growth.telling(returns) == [3, 4]
    assert growth.telling([np.array([lost, won, lost])]) == [0, 1]
    assert growth.telling([np.array([lost])]) == [0]


# The page. -----------------------------------------------------------------------------------


def shown(page) -> dict[str, float]:
    """The numbers beside the tree."""
    names = page.locator(".grown dt").all_text_contents()
    values = page.locator(".grown dd").all_text_contents()
    return {n: float(v.replace("−", "-")) for n, v in zip(names, values, strict=True)}


def choose(page, method: str, level: int = 0) -> None:
    page.locator(".grown [data-field=method]").select_option(method)
    page.locator(".grown [data-field=level]").select_option(str(level))
    page.locator(".grown").focus()


def test_every_lane_and_step_is_there_with_its_numbers(opened, grown, trees):
    page = opened(grown / "report.html")
    for tree in trees:
        choose(page, tree["method"], tree["level"])
        every = columns(tree)
        assert page.locator(".leaf").count() == page.locator(".branch").count() == tree["count"]
        assert page.locator(".node").count() == len(every["credit"])
        won = page.locator(".leaf").evaluate_all("all => all.map(x => x.textContent === '★')")
        assert won == [one["return"] > 0 for one in tree["lanes"]]
        marks = sum(one["fatal"] >= 0 for one in tree["lanes"])
        assert page.locator(".mark").count() == marks
        # A colour is the sign and the size of a number.
        for mark, name in (("disc", "credit"), ("ring", "advantage")):
            tones = page.locator(f".grown .{mark}").evaluate_all(
                "all => all.map(x => (x.classList.contains('more') - x.classList.contains('less'))"
                " * x.style.getPropertyValue('--strength'))"
            )
            part = every[name] / (np.abs(every[name]).max() or 1)
            np.testing.assert_allclose(tones, np.sign(part) * np.sqrt(np.abs(part)), atol=1e-3)
        for index in range(0, len(every["credit"]), 7):
            page.locator(".node").nth(index).evaluate("x => x.dispatchEvent(new Event('click'))")
            fields = ("actions", "probabilities", "credit", "advantage", "value")
            told = dict(zip(SHOWN, (every[name][index] for name in fields), strict=True))
            assert shown(page) == pytest.approx(told | {"leaves below": every["leaves"][index]},
                                                abs=6e-4)  # fmt: skip
    drawn = """canvas => {
        const picture = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(picture.data).size;
    }"""
    assert page.locator(".grown canvas").evaluate(drawn) > 8
    said = page.locator(".grown canvas").get_attribute("aria-label")
    assert said.startswith("gauntlet, level 1: 2 by 6 tiles. start: row 1 column 1; agent: row 1")


def tree(method: str = "tree", level: int = 0) -> dict:
    """A lane of three steps; one that left it before its third, and earns; one before its first."""
    one = {
        "tree": 0, "from": -1, "fork": 0, "actions": "0 1 2", "probabilities": "0.5 0.25 1",
        "credit": "0.5 -2 0", "advantage": "0.25 0 -0.5", "value": "0.5 0.75 0.5",
        "reward": "0 0 0", "leaves": "2 2 1", "pictures": "0 1 0 1", "fatal": 2, "return": 0.0,
        "terminated": True,
    }  # fmt: skip
    short = {"actions": "1", "probabilities": "0.1", "credit": "1", "advantage": "0.5"}
    short |= {"value": "0.5", "reward": "1", "leaves": "1", "pictures": "0 1", "fatal": -1}
    second = one | short | {"from": 0, "fork": 2, "return": 1.0}
    third = one | short | {"from": 0, "reward": "0", "return": 0.0, "terminated": False}
    return {"method": method, "level": level, "count": 4, "lanes": [one, second, third]}


def made(folder: Path, methods=("tree", "other"), content=None, **fields: object) -> Path:
    """The page of a made-up grade."""
    results(folder, methods)
    legend = {"characters": ".#@", "names": ["floor", "wall", "agent"], "atlas": ATLAS}
    whole = {
        "schema": 1, "seed": 0, "family": "maze", "tiles": legend, "pictures": ["#@.", "#.@"],
        "trees": [tree(method, level) for method in methods for level in (0, 3)],
    } | fields  # fmt: skip
    text = json.dumps(whole) if content is None else content
    (folder / "trees.json").write_text(text, encoding="utf-8")
    return write_signals(folder)


def now(page) -> str:
    return page.locator(".grown .now").text_content()


def test_keys_move_in_time_and_between_lanes(opened, tmp_path):
    page = opened(made(tmp_path))
    page.locator(".grown").focus()
    told = page.locator(".grown .told")
    assert (
        now(page) == "Lane 1, step 1 of 3" and told.text_content() == "Before it, lane 3 forks off."
    )
    for key, where in (
        ("ArrowRight", "Lane 1, step 2 of 3"),
        ("ArrowDown", "Lane 2, step 2 of 3"),
        ("ArrowRight", "Lane 2, step 3 of 3"),
        ("ArrowUp", "Lane 1, step 3 of 3"),
        ("ArrowUp", "Lane 1, step 3 of 3"),
        ("End", "Lane 1, at its end"),
        ("ArrowRight", "Lane 1, at its end"),
        ("ArrowDown", "Lane 2, at its end"),
        ("ArrowDown", "Lane 3, at its end"),
        ("Home", "Lane 3, step 1 of 1"),
        ("ArrowLeft", "Lane 3, step 1 of 1"),
    ):
        page.keyboard.press(key)
        assert now(page) == where, key
        assert page.locator(".grown [aria-current=step]").count() == 1
    # A step that lanes share is one node, and the trail goes on along the lane that is played.
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert told.text_content() == "Shared: generated for lane 1."
    current = page.locator(".grown [aria-current=step]").get_attribute("aria-label")
    assert current == "lane 1, step 2, action 1, credit −2.000, advantage 0.000"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert told.text_content() == (
        "Before it, lane 2 forks off. After this step nothing can be earned any more."
    )
    page.keyboard.press("ArrowDown")
    assert told.text_content() == "Reward 1.00." and shown(page)["probability"] == 0.1
    page.keyboard.press("End")
    assert shown(page) == {"return": 1} and told.text_content() == "It earned something."
    page.keyboard.press("ArrowDown")
    assert told.text_content() == "It earned nothing. The horizon cut it off."
    # Buttons do the same.
    page.locator("[data-lane='-1']").click()
    page.locator("[data-lane='-1']").click()
    page.locator("[data-to=fatal]").click()
    assert now(page) == "Lane 1, step 3 of 3"
    assert page.locator("[data-lane='-1']").is_disabled()
    page.locator(".node").nth(3).click()
    assert now(page) == "Lane 2, step 3 of 3" and page.locator("[data-to=fatal]").is_disabled()


def test_it_plays_along_a_lane(opened, tmp_path):
    page = opened(made(tmp_path))
    page.locator(".grown .speed").select_option("fast")
    page.locator(".grown").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    until(page, lambda: "Play" in page.locator(".grown .play").text_content())
    assert now(page) == "Lane 2, at its end"
    assert page.locator("canvas").get_attribute("aria-label").endswith("agent: row 1 column 3")
    # A choice is kept where it can be, and begins anew.
    page.locator(".grown [data-field=level]").select_option("3")
    page.locator(".grown [data-field=method]").select_option("other")
    assert page.locator(".grown [data-field=level]").input_value() == "3"
    assert now(page) == "Lane 1, step 1 of 3"
    assert page.locator(".grown svg").get_attribute("aria-label") == (
        "other, level 3: 3 lanes, 2 forks; 1 earned something"
    )
    assert "the first 3 of 4 lanes" in page.locator(".scales").text_content()
    assert "disc) −2.0002.000" in page.locator(".scales").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_hold_it_in_both_schemes(opened, grown, scheme):
    page = opened(grown / "report.html", width=360, scheme=scheme)
    choose(page, METHODS[1])
    page.keyboard.press("End")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.locator(".grown .tree").bounding_box()
    leaf = page.locator(".grown [aria-current=step]").bounding_box()
    assert box["x"] <= leaf["x"] and leaf["x"] + leaf["width"] <= box["x"] + box["width"] <= 360
    tones = "all => new Set(all.map(x => getComputedStyle(x).fill)).size"
    assert page.locator(".disc").evaluate_all(tones) > 2


def test_everything_has_a_name(opened, tmp_path):
    page = opened(made(tmp_path))
    name = "x => x.getAttribute('aria-label') || x.labels?.[0]?.textContent || x.textContent"
    for control in page.locator(".grown :is(button, input, select, [role=button])").all():
        assert control.evaluate(name).strip()
    assert page.get_by_role("group", name="Tree viewer").count() == 1
    slider = page.get_by_role("slider", name="Step")
    assert slider.get_attribute("aria-valuetext").startswith("lane 1, step 1")
    assert page.locator(".grown [role=img]:not([aria-label]):visible").count() == 0


def test_a_family_without_pictures_shows_its_tree(opened, tmp_path):
    page = opened(made(tmp_path, pictures=["", ""]))
    assert page.locator(".undrawn").is_visible() and not page.locator("canvas").is_visible()
    assert page.locator(".node").count() == 5


def test_hostile_strings_are_text(opened, tmp_path):
    legend = {"characters": ".#@", "names": ["floor", "wall", HOSTILE[0]], "atlas": ATLAS}
    path = made(tmp_path, tuple(HOSTILE), family=HOSTILE[1], tiles=legend)
    page = opened(path)
    for index in range(len(HOSTILE)):
        page.locator(".grown [data-field=method]").select_option(index=index)
        page.locator(".grown").focus()
        for key in ("ArrowRight", "ArrowDown", "End"):
            page.keyboard.press(key)
    assert page.locator("canvas").get_attribute("aria-label").startswith(HOSTILE[1])
    assert_harmless(page, path.read_text("utf-8"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', "elsewhere"])
def test_pages_without_trees_still_open(opened, tmp_path, content):
    if content == "elsewhere":
        made(tmp_path)
        text = (tmp_path / "trees.json").read_text(encoding="utf-8")
        content = text.replace(ATLAS, "https://example.org/a.png")
    path = made(tmp_path, content=content)
    if not content:
        (tmp_path / "trees.json").unlink()
        path = write_signals(tmp_path)
    page = opened(path)
    assert page.locator(".grown").count() == 0 and page.locator("h1").count() == 1
