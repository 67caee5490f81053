"""Folders that somebody else wrote: no code of theirs runs, nothing outside is touched, and whoever
opens one hears of it in one line. Stores and data sets: test_store_hostile.py."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents import checkpoint
from envs import manifest
from envs.manifest import Damaged
from experiments import cli, jsonfile, sweep_file
from experiments.creation import stored
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.sweep_folder import SweepFolder, Trial
from tests.faults.runs import TINY

MOST = 512 * 2**20  # bytes of memory


class Payload:
    """Makes a file where it is loaded as a pickle."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def of(text: str | bytes):
    """Writes that into the file."""
    return lambda path: path.write_bytes(text.encode() if isinstance(text, str) else text)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def instead(make):
    """Something that is no file in the file's place."""

    def replace(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return replace


NO_JSON = {
    "pickle": lambda path: path.write_bytes(pickle.dumps(Payload(path.with_name("ran")))),
    "old pickle": lambda path: path.write_bytes(pickle.dumps(Payload(path.with_name("ran")), 0)),
    "not UTF-8": of(b"\xff\xfe{}"),
    "empty": of(""),
    "a script": of("import os; os.system('touch ran')"),
    "nested": of("[" * 500_000),
    "nested objects": of('{"a":' * 200_000),
    "many values": of("[" + "[]," * (jsonfile.VALUES // 2) + "[]]"),
    "a long number": of("1" * 1_000_000),
    "ten gigabytes": sparse,
    "zeros": of(b"\0" * 4096),
    "a folder": instead(Path.mkdir),
    "a pipe": instead(os.mkfifo),
    "a link to nothing": instead(lambda path: path.symlink_to("/nowhere/at/all")),
    "a link to a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to a list of users": instead(lambda path: path.symlink_to("/etc/passwd")),
}
OTHER = {  # JSON, but not what was written there
    "null": of("null"),
    "a number": of("3"),
    "not a number": of("NaN"),
    "a list": of("[1, 2]"),
    "a text": of('"../../etc/passwd"'),
    "an empty object": of("{}"),
    "another command": of('{"command": "rm -rf", "schema": 1}'),
}
LINES = {  # of results.json: fields of other kinds
    "rows of numbers": {"rows": [1, 2]},
    "rows as a number": {"rows": 3},
    "rows of lists": {"rows": [[]]},
    "a row of lists": {"rows": [{"arm": [], "family": {}, "score": []}]},
    "verdicts as a text": {"verdicts": "../"},
    "verdicts of numbers": {"verdicts": [1]},
    "no config": {"config": None},
    "config as a list": {"config": [["../"]]},
    "environment as a number": {"environment": 1},
    "another schema": {"schema": {"$ref": "../"}},
}


@pytest.fixture
def run(tmp_path) -> Path:
    """A run that was cut short before anything was finished, and a neighbour."""
    path = tmp_path / "here" / "run"
    path.mkdir(parents=True)
    config = {"command": "compare", "command_line": "levelburst compare"} | stored(TINY)
    (path / "config.json").write_text(json.dumps(config))
    (tmp_path / "thesis.tex").write_text("all of it")
    return path


def outside(run: Path) -> dict[str, bytes]:
    """Every file that is not in the run's folder."""
    root = run.parents[1]
    files = [x for x in root.rglob("*") if run not in x.parents and x.is_file()]
    return {str(x.relative_to(root)): x.read_bytes() for x in files}


def refused(run: Path, capsys, *words: object, told: str = "") -> None:
    """A command line that ends in one line, has run nothing and written nothing outside."""
    before = outside(run)
    assert cli.run([str(word) for word in words]) in (1, 2)
    _, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("levelburst: ") and told in err, err
    assert outside(run) == before and not list(run.parents[1].rglob("ran"))


@pytest.mark.parametrize("content", [*NO_JSON, *OTHER])
@pytest.mark.parametrize("reader", ["resume", "evaluate"])
def test_a_hostile_config_is_refused(run, capsys, reader, content):
    (NO_JSON | OTHER)[content](run / "config.json")
    refused(run, capsys, reader, run)


@pytest.mark.parametrize("field", ["arms", "families", "log", "store", "horizon", "presets"])
@pytest.mark.parametrize(
    "value", ["../../../x", ["../../x"], {"a": 1}, -1, 1e308, None, [[[]]]], ids=str
)
def test_a_config_with_hostile_fields_is_refused(run, capsys, field, value):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {field: value}))
    refused(run, capsys, "resume", run)


@pytest.mark.parametrize("content", [*NO_JSON, *OTHER])
def test_hostile_results_are_refused(run, capsys, content):
    (NO_JSON | OTHER)[content](run / "results.json")
    refused(run, capsys, "report", run)


@pytest.mark.parametrize("fields", LINES)
def test_results_with_hostile_fields_are_refused_or_ignored(run, capsys, fields):
    whole = {"schema": 1, "config": stored(TINY), "environment": {}, "rows": [], "verdicts": []}
    (run / "results.json").write_text(json.dumps(whole | LINES[fields]))
    before = outside(run)
    code = cli.run(["report", str(run)])
    _, err = capsys.readouterr()
    assert code == 0 or (err.count("\n") == 1 and err.startswith("levelburst: ")), err
    assert outside(run) == before


@pytest.mark.parametrize("content", [*NO_JSON, *OTHER])
@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_list_of_runs_survives_a_hostile_one(run, capsys, name, content):
    (NO_JSON | OTHER)[content](run / name)
    before = outside(run)
    assert cli.run(["runs", str(run.parent)]) in (0, 1, 2)
    _, err = capsys.readouterr()
    assert err.count("\n") <= 1 and "Traceback" not in err
    assert outside(run) == before and not list(run.parents[1].rglob("ran"))


@pytest.mark.parametrize("content", [*NO_JSON, *OTHER])
@pytest.mark.parametrize("name", ["sweep.json", "trials.json"])
def test_a_hostile_sweep_is_refused(run, capsys, name, content):
    spec = run.parent / "toy.toml"
    spec.write_text('preset = "smoke"\n[search]\nzipf = [0.0, 1.0]\n')
    sweep = SweepFolder.create(run.parent / "sweep", overwrite=False)
    sweep.begin(sweep_file.read(spec), "levelburst sweep toy.toml")
    (NO_JSON | OTHER)[content](sweep.path / name)
    words = ("sweep", spec, "--out", sweep.path, "--resume")
    refused(sweep.path, capsys, *words, told="sweep" if name == "sweep.json" else name)


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "trial-000/../..", "trial-1", "", 3, None])
def test_a_trial_with_a_hostile_name_is_refused(run, capsys, name):
    spec = run.parent / "toy.toml"
    spec.write_text('preset = "smoke"\n[search]\nzipf = [0.0, 1.0]\n')
    sweep = SweepFolder.create(run.parent / "sweep", overwrite=False)
    sweep.begin(sweep_file.read(spec), "levelburst sweep toy.toml")
    sweep.save([Trial("trial-000", {}), Trial(name, {})])
    told = "trials.json cannot be read"
    refused(sweep.path, capsys, "sweep", spec, "--out", sweep.path, "--resume", told=told)


@pytest.mark.parametrize("content", NO_JSON)
def test_a_hostile_spec_is_refused(run, capsys, content):
    NO_JSON[content](run / "toy.toml")
    refused(run, capsys, "sweep", run / "toy.toml", "--out", run / "out")
    assert not (run / "out").exists()


# Checkpoints whose manifest vouches for them: anybody can write one. ---------------------------
def saved(path: Path) -> Path:
    checkpoint.save(path, {"x": np.arange(6, dtype=np.float32)}, {"update": 1})
    return path


NOTES = {
    "pickle": pickle.dumps(Payload(Path("ran"))),
    "nested": b"[" * 500_000,
    "null": b"null",
    "a list": b"[1]",
    "no arrays": b'{"notes": {}}',
    "arrays as a text": b'{"arrays": "../../x", "sha256": "", "notes": {}}',
    "arrays of numbers": b'{"arrays": [1, 2], "sha256": "", "notes": {}}',
    "a shape as a text": b'{"arrays": [["x", "float32", "9"]], "sha256": "", "notes": {}}',
    "a dtype as a list": b'{"arrays": [["x", ["O"], [6]]], "sha256": "", "notes": {}}',
    "notes as a list": b'{"arrays": null, "sha256": null, "notes": []}',
    "large": b'{"arrays": null, "sha256": null, "notes": {"x": [' + b"[]," * 6_000_000 + b"0]}}",
}


@pytest.mark.parametrize("name", NOTES)
def test_hostile_notes_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "cell")
    (path / "notes.json").write_bytes(NOTES[name])
    (path / manifest.MANIFEST).unlink()
    manifest.seal_folder(path)
    with pytest.raises((Damaged, ValueError)) as raised:
        checkpoint.restore(path, {"x": np.zeros(6, np.float32)})
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    assert not (tmp_path / "ran").exists()


def test_notes_that_are_too_large_are_not_written(tmp_path):
    with pytest.raises(OSError, match="are the most"):
        checkpoint.save(tmp_path / "cell", {"x": np.zeros(1)}, {"x": "x" * manifest.LARGEST})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../../thesis.tex", "/etc/passwd", "arrays/../../thesis.tex"])
def test_a_manifest_that_leads_out_is_refused(tmp_path, name):
    path = saved(tmp_path / "a" / "cell")
    (tmp_path / "thesis.tex").write_text("all of it")
    body = manifest.unseal(path / manifest.MANIFEST)
    body["files"][name] = {"bytes": 9, "sha256": manifest.File.of(b"all of it").sha256}
    (path / manifest.MANIFEST).write_bytes(manifest.seal(body, path))
    with pytest.raises(Damaged, match="is missing"):
        checkpoint.verify(path)


@pytest.mark.parametrize(
    "body", [None, [], {"files": 3}, {"files": {"x": 1}}, {"files": {"x": {"bytes": 1}}}], ids=str
)
def test_a_manifest_of_something_else_is_refused(tmp_path, body):
    path = saved(tmp_path / "cell")
    (path / manifest.MANIFEST).write_bytes(manifest.seal(body, path))
    with pytest.raises(Damaged, match=r"manifest\.json lists no files"):
        checkpoint.verify(path)


# The most that the process held; getrusage would say it of who forked it, too.
HELD = """
text = open("/proc/self/status").read()
held = int(text.partition("VmHWM:")[2].split()[0]) * 1024
"""
WEIGH = """
import sys
from experiments import cli
code = cli.run(sys.argv[1:])
{held}
print(held, code)
"""


def weigh(env: dict[str, str], *words: object) -> tuple[int, int]:
    """Bytes of memory that a command line takes, and its exit code."""
    command = [sys.executable, "-c", WEIGH.replace("{held}", HELD), *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert "Traceback" not in done.stderr, done.stderr
    size, code = done.stdout.split()[-2:]
    return int(size), int(code)


WIDE = "{" + ",".join(f'"{index:02}":{index}.5' for index in range(86)) + "}"
FEW = jsonfile.VALUES // 3 - 2
LARGE = {name: NO_JSON[name] for name in ("ten gigabytes", "many values", "nested")} | {
    "as many objects as are read": of("[" + '{"a":1},' * FEW + "0]"),
    "as many texts as are read": of("[" + '"ab",' * 3 * FEW + "0]"),
    "as many wide objects as are read": of(
        "[" + f"{WIDE}," * (jsonfile.VALUES // (jsonfile._values(WIDE.encode()) + 1)) + "0]"
    ),
}


@pytest.mark.parametrize("content", LARGE)
def test_what_is_large_takes_little_memory(run, environment, content):
    for name in ("config.json", "results.json"):
        LARGE[content](run / name)
    for words in (("resume", run), ("report", run)):
        size, code = weigh(environment, *words)
        assert code in (1, 2) and size < MOST


@pytest.mark.parametrize("line", ['{"ab":1.5}', WIDE, '{"a":"%s"}'])
def test_many_lines_take_little_memory(run, environment, line):
    """As many as are read, and one more."""
    row = {
        "arm": "bursty", "chunk": 16, "p_b": 1.0, "seed": 0, "split": "unseen-level", "demos": 0,
        "family": "all", "demonstrations": "whole", "acting": "sampled", "score": 0.5,
        "success": 0.5,
    }  # fmt: skip
    whole = {"schema": 1, "config": {}, "environment": {}, "rows": [row], "verdicts": []}
    (run / "results.json").write_text(json.dumps(whole))
    long = line.replace("%s", "x" * (jsonfile.LARGEST - 9))
    most = jsonfile.VALUES // jsonfile._values(long.encode())
    count = min(most, jsonfile.ALL // (len(long) + 1))
    for lines, wanted in ((count, 0), (count + 1, 2)):
        with (run / "metrics.jsonl").open("w") as file:
            file.writelines(f"{long}\n" for _ in range(lines))
        size, code = weigh(environment, "report", run)
        assert size < MOST and code == wanted


def test_twin_that_reads_all_takes_too_much(run, environment):
    """As ``json.loads`` does with what ``jsonfile`` refuses."""
    NO_JSON["many values"](run / "results.json")
    twin = f"import json, sys\njson.loads(open(sys.argv[1]).read())\n{HELD}\nprint(held)"
    text = (run / "results.json").read_text()
    (run / "results.json").write_text("[" + ",".join([text] * 6) + "]")
    command = [sys.executable, "-c", twin, str(run / "results.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert int(done.stdout) > MOST
    assert weigh(environment, "report", run)[0] < MOST


@pytest.mark.parametrize("content", [*NO_JSON, *OTHER])
def test_hostile_rows_of_a_trial_are_refused(run, capsys, content):
    spec = run.parent / "toy.toml"
    spec.write_text('preset = "smoke"\n[search]\nzipf = [0.0]\n')
    sweep = SweepFolder.create(run.parent / "sweep", overwrite=False)
    sweep.begin(sweep_file.read(spec), "levelburst sweep toy.toml")
    sweep.save([Trial("trial-000", {"zipf": 0.0}, status="finished", objective=0.5)])
    path = sweep.runs / "trial-000" / "results.json"
    path.parent.mkdir(parents=True)
    (NO_JSON | OTHER)[content](path)
    if path.is_file() or path.is_symlink():
        refused(sweep.path, capsys, "sweep", spec, "--out", sweep.path, "--resume")


@pytest.mark.parametrize("content", NO_JSON)
def test_hostile_lines_are_refused_or_cut_off(run, content):
    NO_JSON[content](run / "metrics.jsonl")
    try:
        assert RunFolder(run).logged() == []
    except ConfigError as error:
        assert "metrics.jsonl" in str(error) and "\n" not in str(error)


def test_what_a_tracker_keeps_may_be_linked(run):
    (run / "wandb").mkdir()
    (run / "wandb" / "latest-run").symlink_to("run-1")
    RunFolder.open(run).refuse_links()
    (run / "wandb" / "latest-run").unlink()
    (run / "wandb").rmdir()
    (run / "wandb").symlink_to("/tmp")
    with pytest.raises(ConfigError, match="wandb is a link"):
        RunFolder.open(run).refuse_links()


def test_a_run_with_links_is_refused(run, capsys):
    """Whoever went on with it would write behind them."""
    there = run.parents[1] / "elsewhere"
    there.mkdir()
    for name in ("training", "checkpoints", "cells"):
        (run / name).symlink_to(there)
        refused(run, capsys, "resume", run, told="is a link")
        (run / name).unlink()
    shutil.rmtree(there)
