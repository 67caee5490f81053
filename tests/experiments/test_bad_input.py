"""Wrong input: exit code 2, one line that helps, no traceback, nothing created."""

import json

import pytest

from experiments import cli
from experiments.config import check
from experiments.errors import ConfigError
from experiments.presets import PRESETS, refuse_on_cpu


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """refused(*words) -> the one line on standard error; JAX is not reached, nothing created."""

    def reached(*_):
        raise AssertionError("JAX was reached before the arguments were checked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_quiet_jax", reached)

    def call(*words: object) -> str:
        before = listing(tmp_path)
        code = cli.run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert listing(tmp_path) == before
        return one_line(err)

    return call


def listing(folder) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def one_line(err: str) -> str:
    assert err.count("\n") == 1 and err.endswith("\n") and err.startswith("levelburst: "), err
    return err


# (words, what the message must hold: what was given, what was expected or what to try)
MISTAKES = {
    "command": ("comparre", "'comparre'", "compare, collect, store, resume, evaluate, report"),
    "family": ("compare --families dark-rom", "family 'dark-rom'", "did you mean 'dark-room'?"),
    "test family": ("compare --test-families key", "family 'key'", "'key-door'?"),
    "far family": ("compare --families qqq", "'qqq'", "known: bandit, boulders"),
    "listed family": ("envs --families dark-rom", "'dark-rom'", "did you mean 'dark-room'?"),
    "arm": ("compare --arms burstee", "arm 'burstee'", "did you mean 'bursty'?"),
    "second arm": ("compare --arms bursty singel", "'singel'", "did you mean 'single'?"),
    "preset": ("compare --preset quik", "preset 'quik'", "did you mean 'quick'?"),
    "preset with =": ("compare --preset=smokee", "'smokee'", "did you mean 'smoke'?"),
    "reader": ("compare --readers hash-mup", "reader 'hash-mup'", "did you mean 'hash-map'?"),
    "tracker": ("compare --log wandbb", "tracker 'wandbb'", "did you mean 'wandb'?"),
    "far tracker": ("compare --log mlflow", "'mlflow'", "known: wandb, trackio, tensorboard"),
    "tracker twice": ("compare --log wandb wandb", "log wandb wandb", "twice", "once"),
    "no runs": ("runs nowhere", "no folder nowhere", "name a run's folder"),
    "field to sort by": ("runs --sort scroe", "'scroe'", "did you mean 'score'?"),
    "one to compare": ("runs --compare one", "two runs or more", "got one"),
    "no run to compare": ("runs --compare one two", "no run at one", "levelburst runs"),
    "chunk": ("compare --chunk 3", "chunk 3", "horizon 16", "[1, 2, 4, 8, 16]"),
    "chunk in a name": ("compare --arms bursty-chunks:5", "chunk 5", "[1, 2, 4, 8, 16]"),
    "no chunk": ("compare --arms bursty:2", "arm 'bursty:2'", "as in 'isolated-chunks:1'"),
    "empty chunk": ("compare --arms bursty-chunks:0", "'bursty-chunks:0'", "1 or more"),
    "demos": ("compare --demos 4", "demos 4", "4 slots", "at most 3", "lower demos"),
    "overlap": ("compare --test-families dark-room", "dark-room", "--allow-overlap"),
    "twice": ("compare --arms bursty bursty", "bursty bursty", "twice", "once"),
    "no arms": ("compare --arms", "arms is empty", "at least one"),
    "int": ("compare --seeds five", "--seeds", "'five'", "INT"),
    "float for int": ("compare --updates 2.5", "--updates", "'2.5'", "INT"),
    "float": ("compare --learning-rate fast", "--learning-rate", "'fast'", "FLOAT"),
    "bool": ("compare --remat maybe", "maybe", "levelburst compare --help"),
    "flag": ("compare --sede 3", "--sede", "--seed"),
    "odd flag": ("compare --qqq", "--qqq", "levelburst compare --help"),
    "stray word": ("compare smoke", "smoke", "levelburst compare --help"),
    "no value": ("compare --seed", "'--seed'", "levelburst compare --help"),
    "negative": ("compare --seed -1", "seed -1", "0 or more"),
    "no update": ("compare --updates 0", "updates 0", "1 or more"),
    "huge seed": ("compare --seed 4294967296", "seed 4294967296", "2**32"),
    "nan": ("compare --learning-rate nan", "learning_rate nan", "above 0"),
    "infinite": ("compare --zipf inf", "zipf inf", "use a number"),
    "probability": ("compare --stickiness 1.5", "stickiness 1.5", "from 0 up to 1"),
    "dtype": ("compare --dtype float16", "'float16'", "float32 or bfloat16"),
    "heads": ("compare --heads 3", "width 64", "3 heads", "change width or heads"),
    "pool": ("compare --arms isolated-chunks:2", "pool too small", "16", "raise pool or contexts"),
    "lone level": (
        "compare --arms isolated-chunks:1 --contexts 4", "pool too small", "has 1", "raise pool"
    ),
    "levels": ("compare --levels 40", "levels 40", "multiple of 16", "16, 32, 48"),
    "seen levels": ("compare --train-levels 32", "levels 64", "32", "raise train_levels"),
    "shares": ("compare --contexts 63", "contexts 63", "4 families", "multiple of 4"),
    "few levels": (
        "compare --preset smoke --contexts 512", "train_levels 256", "512", "lower contexts"
    ),
    "chunks": ("compare --updates 75", "updates 75", "multiple of report_every 50"),
    "lines": ("compare --updates 1600000 --report-every 50", "report_every 50", "32000 lines"),
    "all lines": ("compare --updates 750000 --seeds 20", "report_every 50", "60 runs", "900000"),
    "curve": ("compare --curve 3", "curve 3", "16 chunks", "divisor"),
    "method": ("compare --method distilation", "'distilation'", "did you mean 'distillation'?"),
    "query of none": ("compare --method pretraining --arms single", "single", "--arms bursty"),
    "no returns": ("compare --method return-conditioned --no-rewards", "leave out --no-rewards"),
    "asked again": ("compare --method pretraining --attempts 2", "attempts", "leave them out"),
    "one rule": (
        "compare --method reinforcement --head-start 0", "arms bursty", "use --arms bursty"
    ),
    "head start": ("compare --head-start 2", "head_start 2", "share from 0 to 1"),
    "all it does": ("compare --method reinforcement --query-loss", "leave out query_loss"),
    "short history": ("compare --method distillation --history 3", "history 3", "4 attempts"),
    "shared rival": ("compare --method distillation --data 2", "distillation", "leave out data"),
    "attempts": ("compare --attempts 5", "attempts 5", "4 slots", "raise slots"),
    "module": ("compare --families nowhere:Thing", "'nowhere:Thing'", "'nowhere'", "PYTHONPATH"),
    "no run": ("resume nowhere", "no run at nowhere", "config.json", "name a run's folder"),
    "nothing to test": ("evaluate nowhere", "no run at nowhere", "name a run's folder"),
    "nothing to draw": ("report nowhere", "no run at nowhere", "name a run's folder"),
    "no folder": ("resume", "--run", "levelburst resume --help"),
    "two folders": ("report here there", "no run at here", "name a run's folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_helpful_line(refused, name):
    words, *parts = MISTAKES[name]
    message = refused(*words.split())
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize("more", [("--preset", "smoke"), ()])
def test_a_full_folder_is_left_alone(refused, tmp_path, more):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    message = refused("compare", *more, "--out", "mine")
    assert "--out mine is not empty" in message and "--overwrite" in message


@pytest.mark.parametrize("content", [None, "{}", "{", "[1]", '{"command": "train"}'])
def test_overwriting_what_is_no_run_is_refused(refused, tmp_path, content):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    if content:
        (tmp_path / "mine" / "config.json").write_text(content)
    message = refused("compare", "--out", "mine", "--overwrite")
    assert "--out mine is not empty and no run" in message


@pytest.mark.parametrize("name", ["file", "file/run", "file/far/run"])
def test_a_file_is_no_place_for_a_run(refused, tmp_path, name):
    (tmp_path / "file").write_text("text")
    message = refused("compare", "--out", name, "--overwrite")
    assert f"--out {name}" in message and "name a folder" in message


@pytest.mark.parametrize("command", ["resume", "evaluate", "report"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "no run at mine"),
        ({"command": "train"}, "no run at mine"),
        ({"sedes": 3}, "unknown field 'sedes'; did you mean 'seeds'?"),
        ({"seed": "0"}, "seed is '0', expected int"),
        ({"seed": True}, "seed is True, expected int"),
        ({"seeds": 1.0}, "seeds is 1.0, expected int"),
        ({"remat": 1}, "remat is 1, expected bool"),
        ({"margin": None}, "margin is None, expected float"),
        ({"dtype": 32}, "dtype is 32, expected str"),
        ({"arms": "bursty"}, "arms is 'bursty', expected a list of names"),
        ({"arms": ["bursty", 1]}, "expected a list of names"),
        ({"updates": -1}, "updates -1: use a number of 1 or more"),
        ({"families": ["dark-rom"]}, "did you mean 'dark-room'?"),
    ],
)
def test_a_damaged_config_is_named(refused, tmp_path, command, content, said):
    (tmp_path / "mine").mkdir()
    text = content if isinstance(content, str) else json.dumps({"command": "compare"} | content)
    (tmp_path / "mine" / "config.json").write_text(text)
    assert said in refused(command, "mine")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"schema": 9}'])
def test_damaged_results_are_named(refused, tmp_path, content):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"command": "compare"}')
    if content:
        (tmp_path / "mine" / "results.json").write_text(content)
    assert "mine/results.json" in refused("report", "mine")


def test_results_without_rows_have_no_figure(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"command": "compare"}')
    (tmp_path / "results.json").write_text('{"schema": 1}')
    assert cli.run(["report", str(tmp_path)]) == 2
    message = one_line(capsys.readouterr().err)
    assert "nothing to draw" in message and f"levelburst resume {tmp_path}" in message
    assert not (tmp_path / "figure.svg").exists()


@pytest.mark.parametrize("change", [("levels", 24), ("demos", 7), ("episodes", -2)])
def test_other_sizes_of_a_test_are_checked(refused, tmp_path, change):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"command": "compare"}')
    field, value = change
    assert f"{field} {value}" in refused("evaluate", "mine", f"--{field}", value)


def test_days_on_a_cpu_are_refused():
    with pytest.raises(ConfigError, match=r"preset paper .* hours .* try --preset ladder"):
        refuse_on_cpu(PRESETS["paper"])
    for name in ("smoke", "quick", "ladder"):
        refuse_on_cpu(PRESETS[name])


def test_what_is_right_passes():
    for config in PRESETS.values():
        check(config)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("frobnicate", ["'frobnicate'", "use one of"]),
        ("compare --families dark-rom", ["'dark-rom'", "'dark-room'"]),
        ("compare --seed x", ["--seed", "'x'"]),
        ("resume nowhere", ["no run at nowhere"]),
        # These can only be told with JAX at hand.
        ("compare --symbols 10", ["too small", "10 symbols", "raise `symbols`"]),
        ("compare --families json:Thing", ["'json:Thing'", "module:Class"]),
        ("compare --families shapes:Round", ["'shapes:Round'", "envs.core.Env"]),
        ("envs --families shapes:Round", ["'shapes:Round'", "envs.core.Env"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(levelburst, tmp_path, words, parts):
    (tmp_path / "shapes.py").write_text("class Round:\n    pass\n")
    done = levelburst(*words.split())
    assert done.returncode == 2
    message = one_line(done.stderr)
    assert [part for part in parts if part not in message] == [], message
    assert {path.name for path in tmp_path.iterdir()} <= {"shapes.py", "__pycache__"}
