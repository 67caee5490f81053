"""levelburst signals: graded, learned from, asked; kept, gone on with, and refused."""

import dataclasses
import importlib
import json
import re
import sys
import types
from pathlib import Path

import pytest

from envs.families.combination_lock import CombinationLock
from experiments import cli
from experiments.errors import ConfigError
from experiments.signals import cells, questions
from experiments.signals.answers import answer
from experiments.signals.config import PRESETS, SignalsConfig, check
from experiments.signals.question import Answers, Question, Spot
from experiments.signals.question_page import measured, write_question
from experiments.signals.ready import refuse
from experiments.signals.taught import planned, teach
from experiments.study import ABOVE, claim, difference, level
from icl.signals.registry import entries

SMALL = (
    "--set", "moments=4", "horizon=5", "density=0.5", "--levels", "2", "--repetitions", "2",
    "--seeds", "2", "--budget", "20", "--total", "60",
)  # fmt: skip


PATHS = ("train", "teach", "tools", "foldless-tools", "flaky-tools", "reinforce")
"""Kinds of cells whose values are the course of a training."""

LEADS = re.compile(r"\b(beats?|leads?|is above|ends above|is ahead of)\b")
TIES = re.compile(r"\b(no lead|ties?|no more than|at most|as good)\b")


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """ran(*words) -> (exit code, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_quiet_jax", lambda: None)

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.run(["signals", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


class Unknown(CombinationLock):
    """A family whose states cannot be enumerated."""

    @property
    def num_states(self) -> int:
        return 0


def results(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_it_lists_methods_and_questions(ran):
    code, out, _ = ran()
    assert code == 0
    for name in (*entries(), *questions.QUESTIONS):
        assert f"\n  {name} " in out


def test_grades_are_kept_and_made_once(ran, tmp_path, monkeypatch):
    code, out, _ = ran("grade", "--method", "grpo", *SMALL, "--out", "found")
    assert code == 0 and "grpo" in out and "correlation" in out
    first = results(tmp_path / "found/grade")
    assert [row["seed"] for row in first["rows"]] == [0, 1]
    assert 16 <= first["rows"][0]["actions"] <= 24
    page = tmp_path / "found/grade/report.html"
    first_page = page.read_bytes()
    assert len(first_page) > 1e6
    page.unlink()
    assert cli.run(["report", "found/grade"]) == 0 and page.read_bytes() == first_page

    def again(*_):
        raise AssertionError("measured again")

    known = {name: dataclasses.replace(kind, measure=again) for name, kind in cells.KINDS.items()}
    monkeypatch.setattr(cells, "KINDS", known)
    monkeypatch.setattr("experiments.signals.growth.write", lambda *_: None)
    assert ran("grade", "--method", "grpo", *SMALL, "--out", "found")[0] == 0
    assert results(tmp_path / "found/grade")["rows"] == first["rows"]
    with pytest.raises(AssertionError, match="measured again"):
        ran("grade", "--method", "grpo", *SMALL, "--skill", "1", "--out", "found")


def test_a_training_keeps_its_budget_and_tells_its_course(ran, tmp_path):
    code, out, _ = ran("train", "--method", "grpo", *SMALL, "--skill", "1", "--out", "found")
    assert code == 0 and "updates" in out
    for row in results(tmp_path / "found/train")["rows"]:
        assert len(row["success"]) == len(row["entropy"]) == 11
        assert 0 < row["success"][0] < 1 and row["updates"] == 3


def test_the_documents_own_method_is_graded(ran, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs/signals.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mymodule.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert ran("grade", "--method", "mymodule:make", *SMALL, "--out", "found")[0] == 0
    assert 16 <= results(tmp_path / "found/grade")["rows"][0]["actions"] <= 24
    code, _, err = ran("grade", "--method", "mymodule:none", *SMALL)
    assert code == 2 and "cannot be loaded" in err


def test_a_method_of_ones_own_that_was_changed_is_graded_again(ran, tmp_path, monkeypatch):
    text = (
        "from icl.signals.methods import Chains\ndef make(budget, costs):\n    return Chains({})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    taken = []
    for runs in (2, 3, 3):
        (tmp_path / "edited_signal.py").write_text(text.format(runs))
        sys.modules.pop("edited_signal", None)
        importlib.invalidate_caches()
        code, out, _ = ran("grade", "--method", "edited_signal:make", *SMALL, "--out", "found")
        assert code == 0 and "not compared at equal actions" in out
        taken.append(results(tmp_path / "found/grade")["rows"][0]["actions"])
    assert taken[0] < taken[1] == taken[2]
    assert len(list((tmp_path / "found/cells").iterdir())) == 4


def test_a_question_is_answered_and_gone_on_with(tmp_path, monkeypatch):
    base = SignalsConfig(levels=2, repetitions=2, seeds=2, set=("moments=4", "horizon=5"))

    def spots(base: SignalsConfig) -> list[Spot]:
        return [
            Spot({"budget": budget, "method": "grpo"}, "grade", base, f"grpo@runs={budget}")
            for budget in (2, 4)
        ]

    def claims(found: Answers) -> list:
        more, less = (found("actions", budget=budget) for budget in (4, 2))
        return [claim("", "more runs take more actions", difference(more, less), ABOVE)]

    question = Question("runs", "Do more runs cost more?", ("budget", "method"), spots, claims, "")
    said: list[str] = []
    first = answer(question, base, tmp_path, "levelburst signals plot runs", said.append)
    assert len(said) == 2 and first["verdicts"][0]["estimate"] > 0
    assert len(first["rows"]) == 4 and first["rows"] == results(tmp_path / "runs")["rows"]
    page = write_question(tmp_path / "runs").read_text(encoding="utf-8")
    assert "Do more runs cost more?" in page and "more runs take more actions" in page
    (tmp_path / "runs/report.html").unlink()
    assert cli.run(["report", str(tmp_path / "runs")]) == 0
    assert (tmp_path / "runs/report.html").read_text(encoding="utf-8") == page
    lost = sorted((tmp_path / "cells").iterdir())[0]
    lost.unlink()
    said.clear()
    second = answer(question, base, tmp_path, "", said.append)
    assert len(said) == 1 and second["rows"] == first["rows"]


def test_runs_vote_as_they_are_told(ran, tmp_path):
    words = ("--set", "size=8", "horizon=20", "--nearest", "5", "--farthest", "12", "--levels", "4",
             "--seeds", "2", "--budget", "12", "--warmup", "4", "--out", "found")  # fmt: skip
    code, out, _ = ran("vote", *words, "--regime", "late", "late@slump=10,muddled=0")
    assert code == 0 and "majority" in out and "online-low" in out
    rows = results(tmp_path / "found/vote")["rows"]
    right = {(row["regime"], row["way"], row["seed"]): row["right"] for row in rows}
    # Without trouble all runs answer right.
    assert right["late@slump=10,muddled=0", "majority", 0] == 1
    assert all(row["saved"] == 0 for row in rows if row["way"] == "majority")
    assert (tmp_path / "found/vote/report.html").stat().st_size > 1e5


@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_claims_are_about_spots_that_there_are(name):
    """On made-up values that are the same everywhere every claim finds what it speaks of."""
    question = questions.QUESTIONS[name]
    fields = ("correlation", "auroc", "ratio", "right", "saved", "sign", "located", "cosine",
              "padding", "idle",
              "executes", "improves", "matches", "queries", "queries-before",
              "tells", "solves", "imitated",
              "reached", "spearman", "standing", "average", "highest", "alike",
              "shift", "mean", "nats", "gap", "own", "order", "additive")  # fmt: skip
    paths = {"success": [0.1, 0.5], "idle": [0.1, 0.1], "updates": [0, 9]}
    rows = [
        dict(spot.at)
        | {"seed": seed, **dict.fromkeys(fields, 0.5)}
        | (paths if spot.kind in PATHS else {})
        for spot in question.spots(PRESETS["quick"])
        for seed in range(5)
    ]
    places = {tuple(sorted(spot.at.items())) for spot in question.spots(PRESETS["quick"])}
    assert len(places) * 5 == len(rows)
    verdicts = question.claims(Answers(rows))
    assert verdicts and all(verdict["seeds"] == 5 for verdict in verdicts)
    # Where nobody differs nobody leads.
    leads = [v for v in verdicts if LEADS.search(v["claim"]) and not TIES.search(v["claim"])]
    assert not any(verdict["holds"] for verdict in leads)
    assert leads or name not in ("forks", "density", "aggregators", "expert", "tools", "selection")


WAYS = ("srl@last=1", "bc@last=1")
HARD = SignalsConfig(
    method=(), set=("moments=5", "density=1", "horizon=5"), skill=9.0, levels=2, total=900,
    learning_rate=0.1, seeds=2, preset="smoke",
)  # fmt: skip


def test_a_policy_learns_from_an_expert_in_levels_that_it_never_wins(tmp_path):
    """Every way to teach, through a question and its page, on levels of five moves."""
    base = dataclasses.replace(HARD, skill=0.0)

    def spots(base: SignalsConfig) -> list[Spot]:
        return [Spot({"part": "a", "method": way}, "teach", base, way) for way in WAYS]

    def claims(found: Answers) -> list:
        srl, bc = ({w: found(w, method=way) for w in ("success", "updates")} for way in WAYS)
        assert srl["updates"] == bc["updates"]
        learned = {seed: path[-1] - path[0] for seed, path in bc["success"].items()}
        return [claim("", "it learns", level(learned), ABOVE)]

    question = Question("teach", "Who learns?", ("training", "method"), spots, claims, "")
    found = answer(question, base, tmp_path, "", lambda _: None)
    kept = {row["method"]: row["kept"] for row in found["rows"]}
    assert 0 < kept["srl@last=1"] <= 1 and kept["bc@last=1"] == 0
    assert found["verdicts"][0]["estimate"] > 0
    assert measured(found) == ["success", "final", "kept"]
    assert "Who learns?" in write_question(tmp_path / "teach").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["slr", "srl@speed=1", "srl@moves"])
def test_a_teacher_that_there_is_not_is_refused(text):
    with pytest.raises(ConfigError, match="as in srl@moves=2"):
        planned(text)


def test_levels_that_are_won_too_easily_are_refused():
    with pytest.raises(ConfigError, match="not won in 64 runs, 2 are wanted: lower --skill"):
        teach(HARD, "rl", 0)


def test_answers_refuse_what_is_not_one_spot():
    rows = [{"method": "a", "seed": 0, "x": 1.0}, {"method": "b", "seed": 0, "x": 2.0}]
    assert Answers(rows)("x", method="b") == {0: 2.0}
    with pytest.raises(LookupError, match="2 rows for 1 seeds"):
        Answers(rows)("x")
    with pytest.raises(LookupError, match="0 rows"):
        Answers(rows)("x", method="c")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("paint",), "use grade, train, vote or plot"),
        (("vote", "--budget", "12"), "the first 16 runs only set the threshold"),
        (("vote", "--regime", "lat"), "unknown regime 'lat'"),
        (("vote", "--regime", "late", "lat"), "unknown regime 'lat'"),
        (("vote", "--regime", "late@early=3"), "use name=number of sharpness"),
        (("vote", "--regime", "late@earliest=1.5"), "use a number from 0 to 0.99"),
        (("vote", "--family", "gauntlet"), "has no answers that end an episode"),
        (("vote", "--family", "dark-room"), "has no answers that end an episode"),
        (("vote", "--nearest", "40"), "farthest 36 is below nearest 40"),
        (("grade", "--method", "grop"), "did you mean 'grpo'"),
        (("grade", "--budget", "20"), "budget 20"),
        (("grade", "--method", "grpo", "tree-grpo-inside"), "gauntlet with spelling=2"),
        (("grade", "--method", "grpo", "toolpo-improves"), "a family such as workshop"),
        (("grade", "--method", "math:pi"), "pi is of type float"),
        (("grade", "--method", "math:fsum"), "cannot be made: TypeError"),
        (("train", "--total", "100"), "total 100 is below budget 384"),
        (("grade", "--method", "grpo@runs=0"), "numbers of 1 or more"),
        (("grade", "--method", "grpo@trees=2"), "of runs"),
        (("grade", "--family", "gantlet"), "did you mean 'gauntlet'"),
        (("grade", "--family", "tests.experiments.test_signals:Unknown"), "has no oracle"),
        (
            ("grade", "--family", "dark-room", "--method", "tree-grpo-sub-goal"),
            "tells its sub-goals",
        ),
        (("grade", "--set", "moments"), "name=value"),
        (("grade", "--stickiness", "1"), "from 0 up to 1"),
        (("grade", "--levels", "0"), "levels 0"),
        (("grade", "--method", "grpo", "grpo"), "a name stands twice"),
        (("grade", "--preset", "quik"), "did you mean 'quick'"),
        (("plot",), "name a question"),
        (("plot", "densty"), "did you mean 'density'"),
        (("plot", "votes", "densty", "all"), "did you mean 'density'"),
        (("plot", "density", "--seeds", "-1"), "seeds -1"),
    ],
)
def test_wrong_input_gets_one_line_and_leaves_nothing(ran, tmp_path, words, told):
    code, _, err = ran(*words)
    assert code == 2 and told in err and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_what_memory_lacks_for_is_refused():
    asked = types.SimpleNamespace(temp_size_in_bytes=3 * 2**30, output_size_in_bytes=2**30)
    refuse(asked, free=5 * 2**30)
    with pytest.raises(ConfigError, match=r"needs 4\.0 GiB of memory, 2\.0 are free: lower"):
        refuse(asked, free=2 * 2**30)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_make_sense(name):
    check(PRESETS[name])
    assert PRESETS[name].preset == name
