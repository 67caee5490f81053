"""The report: self-contained, escaped, true to its rows; the figure: the same bytes twice."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from experiments import figures
from experiments.report import POINTS, cells, curves, write_figure, write_report
from icl.statistics import interval

ROOT = Path(__file__).parents[2]
EVIL = "</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
ARMS = {"bursty": 0.6, "isolated-chunks": 0.1, "hash-map": 0.3}


def row(arm: str, seed: int, split: str, demos: int, **fields: object) -> dict:
    score = ARMS.get(arm, 0.2) * min(demos, 1) + 0.013 * seed**1.5 - 0.01
    return {
        "arm": arm,
        "chunk": 4 if "chunks" in arm else None,
        "p_b": 1.0,
        "seed": seed,
        "split": split,
        "family": "all",
        "demos": demos,
        "demonstrations": "whole",
        "acting": "sampled",
        "levels": 8,
        "episodes": 16,
        "score": score,
        "success": abs(score),
        "return": score,
    } | fields


def results(seeds: int = 3, **parts: object) -> dict:
    """A small results.json; parts replace its own."""
    measured = [row(*key) for key in product(ARMS, range(seeds), figures.SPLITS, (0, 1, 3))]
    verdict = {"claim": "bursty is ahead", "estimate": 0.5, "low": 0.4, "high": 0.6}
    verdicts = [verdict | {"level": 0.95, "seeds": seeds, "holds": True}]
    config = {"preset": "quick", "command_line": "levelburst compare --preset quick"}
    environment = {"python": "3.11", "device": "cpu"}
    whole = {"schema": 1, "config": config, "environment": environment, "verdicts": verdicts}
    return whole | {"rows": measured} | parts


def save(folder: Path, content: object, metrics: str | None = None) -> Path:
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    if metrics is not None:
        (folder / "metrics.jsonl").write_text(metrics, encoding="utf-8")
    return folder


def metrics(arm: str = "bursty", updates: int = 5) -> str:
    lines = []
    for seed, update in product(range(2), range(1, updates + 1)):
        record = {"arm": arm, "seed": seed, "update": update}
        number = {"loss": 1 / update, "accuracy": 0.5, "gradient": 1, "tokens_per_second": 9}
        lines.append({"kind": "train", **record, **number})
        grade = {"split": "unseen-level", "demos": 1, "score": update / 9}
        lines.append({"kind": "evaluation", **record, **grade})
    return "".join(json.dumps(line) + "\n" for line in lines)


class Page(HTMLParser):
    """What a browser would see: tags with attributes, table rows, text and embedded data."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text, self.data, self._inside = "", "", ""
        self.feed(path.read_text(encoding="utf-8"))
        self.figures = json.loads(self.data) if self.data else []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = f"{tag}#{dict(attrs).get('id')}"
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script#figures":
            self.data += data
        elif not self._inside.startswith(("script", "style")):
            self.text += data
            if self._inside.startswith("td"):
                self.rows[-1][-1] += data


def test_the_page_loads_nothing(tmp_path):
    page = Page(write_report(save(tmp_path, results(), metrics())))
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action")
    ]
    assert addresses == []
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy[0].startswith("default-src 'none'")
    assert [group["name"] for group in page.figures] == [
        "Score against demonstrations",
        "Learning curves",
        "Score while learning",
    ]


def test_it_opens_in_a_browser(tmp_path, opened):
    page = opened(write_report(save(tmp_path, results(), metrics())))
    page.wait_for_selector(".chart svg.main-svg")
    assert page.locator("tbody tr:visible").count() == 27
    page.locator("[data-field=split]").select_option("unseen-level")
    assert page.locator("tbody tr:visible").count() == 9


def test_every_chart_has_words(tmp_path):
    page = Page(write_report(save(tmp_path, results(), metrics())))
    charts = [attributes for _, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(charts) == sum(len(group["panels"]) for group in page.figures) == 6
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "bursty 0.61 at k = 1" in charts[0]["aria-label"]


def test_hostile_strings_are_text(tmp_path):
    content = results(
        rows=[
            row(arm, s, "unseen-level", k)
            for arm in (EVIL, "bursty")
            for s in (0, 1)
            for k in (0, 1)
        ],
        config={"preset": EVIL, "command_line": EVIL, EVIL: [EVIL]},
        environment={EVIL: EVIL},
    )
    content["verdicts"][0]["claim"] = EVIL
    page = Page(write_report(save(tmp_path, content, metrics(EVIL))))
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(EVIL) >= 6
    names = {
        trace["name"]
        for group in page.figures
        for panel in group["panels"]
        for figure in panel["figures"].values()
        for trace in figure["data"]
    }
    assert len(names) == 2
    assert not any("<" in name for name in names)


@pytest.mark.parametrize(
    "lines", [None, "", "{\n", '{"kind": "train", "ar', '[1]\n{"kind": "x"}\n']
)
def test_without_metrics_there_are_no_curves(tmp_path, lines):
    page = Page(write_report(save(tmp_path, results(), lines)))
    assert [group["name"] for group in page.figures] == ["Score against demonstrations"]


def test_an_empty_run_still_has_a_page(tmp_path):
    page = Page(write_report(save(tmp_path, {"schema": 1})))
    assert page.rows == [] and page.figures == []
    assert "no verdicts" in page.text and "no scores" in page.text


def test_the_table_says_what_statistics_say(tmp_path):
    content = results()
    page = Page(write_report(save(tmp_path, content)))
    table = [line for line in page.rows if line]
    assert len(table) == 27
    for arm, _, _, split, family, demos, demonstrations, acting, *numbers in table:
        group = [
            r
            for r in content["rows"]
            if (r["arm"], r["split"], r["demos"]) == (arm, split, int(demos))
        ]
        want = interval([r["score"] for r in group])
        success = interval([r["success"] for r in group]).estimate
        ends = f"[{want.low:z.3f}, {want.high:z.3f}]"
        shown = [text.replace("−", "-") for text in numbers]
        assert shown == [f"{want.estimate:z.3f}", ends, f"{success:z.3f}", "3"]
        assert (family, demonstrations, acting) == ("all", "whole", "sampled")


def test_one_seed_has_points_without_bars(tmp_path):
    content = results(seeds=1)
    content["verdicts"][0] |= {"low": None, "high": None, "holds": None}
    page = Page(write_report(save(tmp_path, content)))
    traces = page.figures[0]["panels"][0]["figures"]["whole|sampled"]["data"]
    assert len(traces) == 3 and not any("error_y" in trace for trace in traces)
    assert "not decided" in page.text
    assert write_figure(tmp_path, tmp_path / "figure.svg").stat().st_size > 1000


def test_a_verdict_is_said_in_words(tmp_path):
    content = results()
    content["verdicts"].append(content["verdicts"][0] | {"claim": "it fails", "holds": False})
    text = " ".join(Page(write_report(save(tmp_path, content))).text.split())
    assert "✓ holds bursty is ahead 0.500 [0.400, 0.600]" in text
    assert "✗ does not hold it fails" in text


def test_what_is_not_exact_is_said(tmp_path):
    kinds = {"dark-room": "exact", "xland:Empty": "the return of a PPO expert, simulated"}
    families = {name: {"optimum": kind, "random": "exact"} for name, kind in kinds.items()}
    for found, said in ((results(), False), (results(families=families), True)):
        text = write_report(save(tmp_path, found)).read_text(encoding="utf-8")
        assert ("Not so for xland:Empty: their states" in text) == said


def test_seeds_are_the_replication():
    rows = [row("bursty", s, "unseen-level", 1, score=x) for s, x in [(0, 1), (0, 0), (1, 0.7)]]
    rows.append(row("bursty", 2, "unseen-level", 1, score=float("nan")))
    (cell,) = cells(rows)
    assert cell.score == interval([0.5, 0.7])


def test_namesakes_are_told_apart():
    rows = [row("bursty-chunks", 0, "unseen-level", 1, chunk=c) for c in (2, 8)]
    found = cells([*rows, row("hash-map", 0, "unseen-level", 1), row("new", 0, "unseen-level", 1)])
    names = {cell.label: cell.arm for cell in found}
    assert list(names) == ["bursty-chunks (c = 2)", "bursty-chunks (c = 8)", "new", "hash-map"]
    looks = figures.styles(names)
    assert list(looks) == list(names)
    assert len({look.colour for look in looks.values()}) == 4


def test_many_arms_look_different():
    looks = figures.styles({f"arm {n}": f"arm {n}" for n in range(20)}).values()
    assert len({(look.colour, look.marker) for look in looks}) == 20


def test_long_curves_are_thinned():
    records = [
        {"arm": "bursty", "seed": s, "update": u, "loss": float(u)}
        for s, u in product(range(2), range(1, 1001))
    ]
    (curve,) = curves(records, "loss", {}).values()
    assert len(curve) == POINTS
    assert all(update == pytest.approx(end.estimate) for update, end in curve)
    assert {end.seeds for _, end in curve} == {2}


def test_the_figure_is_the_same_twice(tmp_path):
    save(tmp_path, results())
    first, second = (write_figure(tmp_path, tmp_path / name) for name in ("a.svg", "b.svg"))
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_the_page_is_the_same_twice(tmp_path):
    save(tmp_path, results(), metrics())
    assert write_report(tmp_path).read_bytes() == write_report(tmp_path).read_bytes()


def test_nothing_to_draw_is_an_error_and_leaves_no_file(tmp_path):
    save(tmp_path, results(rows=[row("bursty", 0, "seen-level", 1)]))
    with pytest.raises(ValueError, match="nothing to draw"):
        write_figure(tmp_path, tmp_path / "figure.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("content", [{"schema": 2}, {}, []])
def test_another_schema_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="expected an object with schema 1"):
        write_report(save(tmp_path, content))


def test_a_report_needs_no_jax(tmp_path):
    save(tmp_path, results(), metrics())
    program = (
        "import sys; from pathlib import Path; from experiments.report import *;"
        "folder = Path(sys.argv[1]); write_report(folder); write_figure(folder, folder / 'f.svg');"
        "sys.exit('jax' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=900)
