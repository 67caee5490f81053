"""A sweep's file: what it means, and what a person may get wrong in it. No JAX, no Ray."""

import dataclasses
import sys
from pathlib import Path

import pytest

from experiments import cli, cli_sweep, config, presets, sweep_cluster, sweep_file
from experiments.errors import ConfigError
from experiments.objective import Objective
from experiments.sweep_spec import Asha, Range, flags, words

EXAMPLE = Path(__file__).resolve().parents[2] / "experiments" / "cloud" / "sweep.toml"
RATES = "preset = 'smoke'\n[search]\nlearning_rate = [0.003, 0.01]\n"
SEARCH = (
    "preset = 'smoke'\n[search]\nlearning_rate = { low = 0.001, high = 0.1 }\n"
    "[sweep]\nmethod = 'optuna'\ntrials = 4\n"
)
COURSE = "preset = 'smoke'\n[fixed]\ncurve = 2\n[search]\n%s\n[sweep]\nasha = {}\n"

# (the file, what the message must hold: where, what was given, what was expected or what to try)
MISTAKES = {
    "no TOML": ("[search", "s.toml is no TOML", "at end of document"),
    "table": ("[serch]\nseed = [0, 1]", "'serch'", "did you mean 'search'?"),
    "no table": ("search = 3", "search is 3", "expected a table [search]"),
    "name": ("name = 'a/b'\n" + RATES, "name 'a/b'", "letters, digits"),
    "no name": ("name = 3\n" + RATES, "name is 3", "in quotes"),
    "preset": (RATES.replace("smoke", "smokey"), "preset 'smokey'", "did you mean 'smoke'?"),
    "field": ("[search]\nlearning_rat = [0.1]", "'learning_rat'", "did you mean 'learning_rate'?"),
    "fixed field": (RATES + "[fixed]\nwidht = 32", "[fixed]", "'widht'", "did you mean 'width'?"),
    "fixed type": (RATES + "[fixed]\nwidth = 'wide'", "[fixed]", "width is 'wide'", "int"),
    "type": ("[search]\nseeds = [1, 2.5]", "seeds is 2.5", "expected int"),
    "names": ("[search]\narms = ['bursty', 'single']", "arms is 'bursty'", "a list of names"),
    "out": (RATES + "[fixed]\nout = 'here'", "out is no setting of a trial", "leave it out"),
    "own preset": ("[search]\npreset = ['smoke']", "preset", "at the top of the file"),
    "nothing": ("preset = 'smoke'", "[search] is empty", "at least one field"),
    "empty grid": ("[search]\nseed = []", "seed is an empty list", "at least one value"),
    "one value": ("[search]\nseed = 3", "seed is 3", "a list of values or a range", "[fixed]"),
    "twice": ("[search]\nseed = [1, 2, 1]", "seed has 1 twice", "once"),
    "both": (RATES + "[fixed]\nlearning_rate = 0.1", "learning_rate", "[fixed] and in [search]"),
    "invalid point": ("[search]\nchunk = [4, 3]", "no trial with chunk = 3", "[1, 2, 4, 8, 16]"),
    "pair": (
        "[search]\nheads = [2, 4]\nwidth = [64, 12]",
        "no trial with heads = 4, width = 12", "width 12 over 4 heads",
    ),
    "many": (
        "[search]\nseed = [%s]\nseeds = [%s]" % ((", ".join(map(str, range(1, 71))),) * 2),
        "4900 points", "4096 at most",
    ),
    "range in a grid": (RATES + "zipf = { low = 0.0, high = 1.0 }", "zipf is a range", "'optuna'"),
    "corner": (
        SEARCH.replace("[sweep]", "stickiness = { low = 0.0, high = 1.0 }\n[sweep]"),
        "stickiness = 1", "from 0 up to 1",
    ),
    "half a range": (SEARCH.replace(", high = 0.1", ""), "high is missing"),
    "odd range": (SEARCH.replace("low", "least"), "'least'", "low"),
    "backwards": (SEARCH.replace("0.001", "0.2"), "low 0.2 must be below high 0.1"),
    "log of 0": (SEARCH.replace("0.001", "0, log = true"), "log needs a low above 0"),
    "endless step": (SEARCH.replace("0.001", "0.01, step = inf"), "step inf is no distance"),
    "step of nothing": (
        SEARCH.replace("learning_rate", "width").replace("0.001", "8, step = nan").replace(
            "0.1", "64"
        ),
        "step nan is no distance",
    ),
    "coordinator": (RATES + "[fixed]\ncoordinator = 'auto'", "coordinator is no setting"),
    "groups with asha": (
        COURSE % "zipf = [0.0, 1.0]" + "gpus = 1", "runs_per_device 0", "1 or more in [fixed]",
    ),
    "mesh with asha": (COURSE % "data = [1, 2]", "data must be the same in all"),
    "long step": (SEARCH.replace("0.001", "0.01, step = 1.0"), "step 1 does not fit"),
    "names in a range": (
        SEARCH.replace("learning_rate", "dtype"), "dtype is 0.001", "expected str"
    ),
    "yes or no in a range": (
        SEARCH.replace("learning_rate", "remat"), "remat is 0.001", "expected bool"
    ),
    "fraction in a range": (
        SEARCH.replace("learning_rate", "layers"), "layers is 0.001", "expected int"
    ),
    "method": (RATES + "[sweep]\nmethod = 'optna'", "'optna'", "did you mean 'optuna'?"),
    "no count": (SEARCH.replace("trials = 4", ""), "trials is 0", "trials = 24"),
    "count of a grid": (RATES + "[sweep]\ntrials = 3", "trials is 3", "leave it out"),
    "sweep field": (RATES + "[sweep]\nretry = 3", "[sweep]", "'retry'", "'retries'"),
    "sweep type": (RATES + "[sweep]\ncpus = 1.5", "[sweep]", "cpus is 1.5", "expected int"),
    "no cpu": (RATES + "[sweep]\ncpus = 0", "cpus is 0", "1 or more"),
    "gpus": (RATES + "[sweep]\ngpus = 1.5", "gpus is 1.5", "whole ones"),
    "many cpus": (RATES + "[sweep]\ncpus = 4096", "cpus is 4096", "this machine has", "--address"),
    "resource": (RATES + "[sweep]\nresources = { GPU = 1 }", "resources has GPU", "field gpus"),
    "no amount": (RATES + "[sweep]\nresources = { big = 0 }", "big = 0", "above 0"),
    "odd amount": (RATES + "[sweep]\nresources = { big = 'x' }", "resources", "a table of numbers"),
    "arm": (RATES + "[objective]\narm = 'single'", "objective.arm 'single'", "known: bursty"),
    "lead of itself": (RATES + "[objective]\nminus = 'bursty'", "minus is 'bursty'", "another"),
    "split": (RATES + "[objective]\nsplit = 'unseen'", "objective.split 'unseen'", "did you mean"),
    "mode": (RATES + "[objective]\nmode = 'most'", "objective.mode 'most'", "max"),
    "demos": (RATES + "[objective]\ndemos = 4", "demos is 4", "0 to 3"),
    "no family": (
        RATES + "[fixed]\ntest_families = []\n[objective]\nsplit = 'unseen-family'",
        "'unseen-family'", "test_families",
    ),
    "course": (COURSE % "seeds = [1, 2]", "seeds must be the same", "leave asha out"),
    "no tests": (COURSE.replace("curve = 2", "") % "seed = [0, 1]", "curve is 0", "2 or more"),
    "asha": (
        (COURSE % "seed = [0, 1]").replace("{}", "{ grace = 2.0 }"), "grace is 2.0", "between 0"
    ),
    "rung": (
        (COURSE % "seed = [0, 1]").replace("{}", "{ reduction = 1 }"), "reduction is 1", "2 or more"
    ),
    "no asha": ((COURSE % "seed = [0, 1]").replace("{}", "3"), "asha is 3", "expected a table"),
    "reader": (
        COURSE % "seed = [0, 1]" + "[objective]\nminus = 'hash-map'", "hash-map is only read"
    ),
}  # fmt: skip


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """refused(words) -> the one line on standard error; nothing is created, nothing started."""

    def reached(*_):
        raise AssertionError("the sweep was started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_sweep, "_run", reached)

    def call(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        code = cli.run(["sweep", *arguments])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert sorted(tmp_path.rglob("*")) == before
        assert err.count("\n") == 1 and err.startswith("levelburst: "), err
        return err

    return call


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_file_is_one_helpful_line(refused, tmp_path, name):
    text, *parts = MISTAKES[name]
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    message = refused("s.toml")
    assert "s.toml" in message
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("t.toml", ["no file t.toml", "TOML"]),
        (".", [". cannot be read"]),
        ("s.toml --resume", ["no sweep at runs/sweep-s", "leave --resume out"]),
        ("s.toml --resume --overwrite", ["--resume", "--overwrite", "say one"]),
        ("s.toml --out full", ["--out full is not empty", "--overwrite"]),
        ("s.toml --out full --overwrite", ["--out full is not empty and no run"]),
        ("s.toml --out full --resume", ["no sweep at full", "sweep.json is missing"]),
        ("s.toml --address here", ["--address here", "HOST:PORT"]),
        ("s.toml --address ray://127.0.0.1:1", ["--address ray://", "HOST:PORT"]),
        ("s.toml --address 127.0.0.1:99999", ["--address 127.0.0.1:99999", "HOST:PORT"]),
        ("s.toml --address 127.0.0.1:1", ["127.0.0.1:1: nothing answers", "refused", "ray start"]),
        ("s.toml --address 127.0.0.1:1 --dashboard", ["--dashboard", "has its own"]),
        ("s.toml --adress 127.0.0.1:1", ["--adress", "--help"]),
        ("", ["--spec"]),
    ],
)
def test_a_mistake_on_the_command_line_is_too(refused, tmp_path, arguments, parts):
    (tmp_path / "s.toml").write_text(RATES, encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    message = refused(*arguments.split())
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("package", "text", "said"),
    [
        ("ray", RATES, "pip install 'levelburst[sweep]'"),
        ("optuna", SEARCH, "pip install -e '.[sweep]'"),
        ("aiohttp", RATES, "pip install 'ray[default]'"),
    ],
)
def test_a_missing_extra_is_named(refused, tmp_path, monkeypatch, package, text, said):
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    find = sweep_cluster.importlib.util.find_spec
    monkeypatch.setattr(
        sweep_cluster.importlib.util, "find_spec", lambda n: None if n == package else find(n)
    )
    assert said in refused("s.toml", "--dashboard")


def parse(text: str):
    return sweep_file.parse(sweep_file.tomllib.loads(text), "s")


def test_a_file_is_read_as_it_stands():
    spec = parse(
        SEARCH.replace("{ low = 0.001, high = 0.1 }", "{ low = 1, high = 9, log = true }")
        + "asha = { grace = 0.5 }\nresources = { big = 1 }\n[fixed]\nfamilies = ['maze']\nzipf = 1"
        + "\n[objective]\nminus = 'single'\n"
    )
    assert (spec.name, spec.preset) == ("s", "smoke")
    assert spec.fixed == {"families": ("maze",), "zipf": 1.0}
    assert spec.search == {"learning_rate": Range(1.0, 9.0, log=True)}
    assert spec.sweep.asha == Asha(0.5, 3) and spec.sweep.resources == {"big": 1}
    assert spec.objective == Objective(minus="single")
    assert type(spec.search["learning_rate"].low) is float  # a field that is a number, not whole


def test_a_grid_is_every_combination_in_order():
    spec = parse("[search]\nseed = [5, 6]\narms = [['bursty'], ['bursty', 'single']]")
    assert [tuple(point.values()) for point in spec.points()] == [
        (5, ("bursty",)), (5, ("bursty", "single")), (6, ("bursty",)), (6, ("bursty", "single")),
    ]  # fmt: skip
    trial = spec.config(spec.points()[3])
    assert (trial.seed, trial.arms) == (6, ("bursty", "single"))


def test_suites_are_families_in_a_trial():
    spec = parse("[fixed]\nfamilies = ['suite.objects']\n[search]\nseed = [0]")
    assert spec.config(spec.points()[0]).families == ("heist", "key-door", "memory")


def test_the_example_is_a_sweep():
    spec = sweep_file.read(EXAMPLE)
    assert (len(spec.points()), spec.objective.minus) == (4, "isolated-chunks")
    assert parse(EXAMPLE.read_text().replace("# asha", "asha")).sweep.asha == Asha()


def test_the_plan_names_every_trial_and_starts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(RATES, encoding="utf-8")
    assert cli.run(["sweep", "s.toml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "trial-000  learning_rate = 0.003\ntrial-001  learning_rate = 0.01\n" in out
    (tmp_path / "s.toml").write_text(SEARCH, encoding="utf-8")
    assert cli.run(["sweep", "s.toml", "--dry-run"]) == 0
    assert "learning_rate: 0.001 to 0.1" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"learning_rate": 0.1 + 0.2, "seed": 7, "readers": ()},
        {"remat": True, "scramble_actions": False, "arms": ("bursty", "isolated-chunks:1")},
    ],
)
@pytest.mark.parametrize("preset", ["smoke", "ladder"])
def test_flags_make_the_config_again(preset, changes):
    wanted = dataclasses.replace(presets.preset(preset), **changes)
    found = cli._parse(config.CompareConfig, "compare", flags(wanted), presets.preset(preset))
    assert found == wanted


def test_words_are_for_people():
    settings = {"remat": True, "learning_rate": 0.0123456, "arms": ("a", "b"), "readers": ()}
    assert words(settings) == "remat = true, learning_rate = 0.01235, arms = a b, readers = none"


def test_nothing_heavy_was_needed():
    """The checks above ran without Ray; another file of this worker may have imported it."""
    if "experiments.sweep" not in sys.modules:
        assert "ray" not in sys.modules


def scores(**arms):
    return {arm.replace("_", "-"): dict(enumerate(values)) for arm, values in arms.items()}


def test_an_objective_is_a_mean_over_seeds_or_a_paired_lead():
    found = scores(bursty=[0.5, 0.7, 0.9], isolated_chunks=[0.1, 0.5])
    alone = Objective().measure(found)
    assert alone.estimate == pytest.approx(0.7) and alone.seeds == 3
    lead = Objective(minus="isolated-chunks").measure(found)
    assert lead.estimate == pytest.approx(0.3) and lead.seeds == 2  # of the seeds that both have
    assert Objective(minus="single").measure(found) is None
    assert Objective(arm="single").measure(found) is None


def test_an_objective_takes_its_own_lines():
    def line(arm="bursty", seed=0, split="unseen-level", demos=1, score=0.5):
        return {"arm": arm, "seed": seed, "split": split, "demos": demos, "score": score}

    lines = [
        line(score=0.1), line(score=0.2), line(demos=2, score=0.9), line("single", score=0.9),
        line(split="seen-level", score=0.9), line(seed=1, score=0.4),
    ]  # fmt: skip
    assert Objective().of_lines(lines) == {"bursty": {0: 0.2, 1: 0.4}}


def test_a_spec_is_checked_before_it_is_used():
    with pytest.raises(ConfigError, match="empty"):
        sweep_file.check(parse("preset = 'smoke'"))
