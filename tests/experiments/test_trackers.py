"""Trackers hear what metrics.jsonl holds, as it comes."""

import json
import math
import struct
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import log as log_lib
from experiments import trackers
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.log import Log, run_name

CONFIG = {"command": "compare", "arms": ["bursty", "isolated-chunks:1"], "width": 64}
FOUND = {
    "config": {"updates": 40},
    "rows": [
        {"arm": "isolated-chunks:1", "seed": seed, "split": "unseen-level", "family": family,
         "demos": 1, "demonstrations": "whole", "acting": acting, "score": score}
        for family, acting, seed, score in (
            ("all", "sampled", 0, 0.25), ("all", "sampled", 1, 0.75),
            ("all", "greedy", 0, 9.0), ("dark-room", "sampled", 0, 9.0),
        )
    ],
    "verdicts": [
        {"claim": "it learns", "estimate": 0.5, "low": 0.25, "high": 0.75, "holds": True},
        {"claim": "it sings", "estimate": 0.5, "low": math.nan, "high": math.nan, "holds": None},
    ],
}  # fmt: skip
WORDS = "holds: it learns: 0.50 [0.25, 0.75]\nundecided: it sings: 0.50"


def train(arm: str, seed: int, update: int, **fields: object) -> dict:
    head = {"kind": "train", "arm": arm, "seed": seed, "update": update}
    return head | {"loss": 1 / update, "accuracy": update / 64} | fields


def graded(arm: str, seed: int, update: int, score: float) -> dict:
    head = {"kind": "evaluation", "update": update, "arm": arm, "seed": seed}
    return head | {"split": "unseen-level", "demos": 1, "score": score}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder.create(tmp_path / "mine", overwrite=False)
    made.write("config.json", CONFIG)
    return made


@pytest.fixture
def open_log(folder):
    """open_log(*trackers) -> a Log of the folder; ``said`` holds the lines for people."""

    def make(*names: str) -> Log:
        said: list[str] = []
        made = Log(CompareConfig(log=names), RunFolder(folder.path), said.append, leads=True)
        made.said = said  # type: ignore[attr-defined]
        return made

    return make


def metrics(folder: RunFolder) -> set[tuple[str, int, float]]:
    """(key, update, number) of metrics.jsonl, worked out from its lines alone."""
    found = set()
    for text in (folder.path / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        head = f"{line['arm'].replace(':', '-')}/seed{line['seed']}"
        if line["kind"] == "evaluation":
            found.add((f"{head}/{line['split']}/k{line['demos']}/score", *pair(line, "score")))
        else:
            found |= {(f"{head}/{f}", *pair(line, f)) for f in ("loss", "accuracy") if f in line}
    return {(key, update, value) for key, update, value in found if value is not None}


def pair(line: dict, field: str) -> tuple[int, float | None]:
    value = line[field]
    return line["update"], None if value is None else single(value)


def single(value: float) -> float:
    """As a float32, which is what event files hold."""
    return struct.unpack("f", struct.pack("f", value))[0]


def events(folder: RunFolder) -> EventAccumulator:
    found = EventAccumulator(str(folder.path / "tensorboard"), size_guidance={"scalars": 0})
    return found.Reload()


def scalars(folder: RunFolder) -> list[tuple[str, int, float]]:
    found = events(folder)
    return [(tag, x.step, x.value) for tag in found.Tags()["scalars"] for x in found.Scalars(tag)]


def wait_for(what) -> None:
    end = time.monotonic() + 300
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


# What is sent. -----------------------------------------------------------------------------
def test_lines_become_numbers_by_update():
    lines = [
        train("isolated-chunks:1", 3, 20, loss=math.nan, accuracy=True),
        graded("bursty", 0, 10, 0.5),
        train("bursty", 0, 10, mean_row=None),
    ]
    assert trackers.by_update(lines) == [
        (10, {"bursty/seed0/unseen-level/k1/score": 0.5, "bursty/seed0/loss": 0.1,
              "bursty/seed0/accuracy": 10 / 64}),
        (20, {}),
    ]  # fmt: skip


def test_outcome_is_means_and_words():
    assert trackers.scores_of(FOUND) == {"final/isolated-chunks-1/unseen-level/k1": 0.5}
    assert trackers.words_of(FOUND) == WORDS


@pytest.mark.parametrize(
    ("path", "name"), [("runs/a", "a"), ("runs/sweep-x/trials/trial-001", "sweep-x-trial-001")]
)
def test_a_record_is_named_after_its_folder(path, name):
    assert run_name(Path(path)) == name


# TensorBoard. ------------------------------------------------------------------------------
def test_event_files_hold_what_metrics_hold(folder, open_log):
    with open_log("tensorboard") as log:
        for update in (10, 20, 30):
            log([train(arm, seed, update) for arm in CONFIG["arms"] for seed in (0, 1)])
        log([graded("bursty", 0, 30, 0.5), train("bursty", 7, 30, loss=math.nan)])
        wait_for(lambda: (folder.path / "tensorboard").is_dir())
        wait_for(lambda: set(scalars(folder)) == metrics(folder))  # while training goes on
        log.conclude(FOUND)
    own = scalars(folder)
    final = ("final/isolated-chunks-1/unseen-level/k1", 40, 0.5)
    assert set(own) == metrics(folder) | {final} and len(own) == len(set(own)) == 27
    texts = {tag: events(folder).Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in
             ("config", "verdicts")}  # fmt: skip
    assert "| width | 64 |" in texts["config"] and texts["verdicts"].split("\n\n") == [
        *WORDS.split("\n")
    ]
    assert log.said == [f"tensorboard: tensorboard --logdir {folder.path / 'tensorboard'}"]
    assert not (folder.path / log_lib.KEPT).exists()


def test_a_resumed_run_has_one_record(folder, open_log):
    """A cell that is trained again counts once, in metrics.jsonl and in event files."""
    with open_log("tensorboard") as log:
        log([train("bursty", 0, 10), train("bursty", 1, 10), train("bursty", 1, 20)])
    folder.write("cells/bursty-seed0.json", [])
    with open_log("tensorboard") as log:
        for update in (10, 20, 30):
            log([train("bursty", 1, update, loss=7.0 + update)])
        log.conclude(FOUND)
    own = [x for x in scalars(folder) if not x[0].startswith("final")]
    assert set(own) == metrics(folder) and len(own) == len(set(own)) == 2 + 3 * 2
    assert ("bursty/seed1/loss", 10, 17.0) in own


# wandb. ------------------------------------------------------------------------------------
@pytest.fixture
def offline(monkeypatch, tmp_path):
    for name in ("WANDB_PROJECT", "WANDB_DIR", "WANDB_API_KEY", "WANDB_NAME", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()  # it keeps what it read of the environment


def records(file: Path) -> list:
    """What a .wandb file holds: blocks of 32 KiB with pieces of records, as in LevelDB's logs."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, found, piece, at = file.read_bytes(), [], b"", 7
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # no room for a head: the block is padded
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        piece += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            found.append(Record.FromString(piece))
            piece = b""
    return found


def history(file: Path) -> list[tuple[str, int, float]]:
    """(key, update, number) of a .wandb file."""
    found = []
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            pairs = ((x.key or x.nested_key[0], x.value_json) for x in record.history.item)
            items = {key: json.loads(value) for key, value in pairs}
            update = items.pop("update")
            found += [(k, update, single(v)) for k, v in items.items() if not k.startswith("_")]
    return found


def test_wandb_offline_writes_the_run_folder(folder, open_log, offline, capfd):
    with open_log("wandb") as log:
        for update in (10, 20):
            log([train(arm, 0, update) for arm in CONFIG["arms"]])
        log([graded("bursty", 0, 20, 0.5)])
        log.conclude(FOUND)
    (file,) = folder.path.glob("wandb/offline-run-*/run-*.wandb")
    wait_for(lambda: set(history(file)) == metrics(folder))  # a process of wandb's own writes it
    kinds = {x.WhichOneof("record_type"): x for x in records(file)}
    sent = kinds["run"].run
    assert (sent.display_name, sent.project) == ("mine", "levelburst")
    config = {x.key: json.loads(x.value_json) for x in sent.config.update}
    assert {field: config[field] for field in CONFIG} == CONFIG
    updates = [x.summary.update for x in records(file) if x.WhichOneof("record_type") == "summary"]
    summary = {x.key: json.loads(x.value_json) for update in updates for x in update}
    assert summary["final/isolated-chunks-1/unseen-level/k1"] == 0.5
    assert summary["verdicts"] == WORDS
    # Of the machine, the person and the code, nothing.
    assert not (sent.git.remote_url or sent.git.commit) and sent.host == "unnamed"
    assert not {"output", "output_raw", "stats"} & kinds.keys()
    (line,) = log.said
    assert line.startswith(f"wandb: {file.parent}, which `wandb sync`")
    assert capfd.readouterr() == ("", "")


def test_wandb_goes_on_with_its_record(folder, open_log, offline):
    with open_log("wandb") as log:
        log([train("bursty", 0, 10), train("bursty", 0, 20)])
    (first,) = folder.path.glob("wandb/offline-run-*/run-*.wandb")
    identity = folder.read(log_lib.KEPT)["wandb"]
    assert first.name == f"run-{identity}.wandb"
    time.sleep(1.1)  # its folders are named by the second
    with open_log("wandb") as log:
        log([train("bursty", 0, 10), train("bursty", 0, 20), train("bursty", 0, 30)])
        log.conclude(FOUND)
    files = list(folder.path.glob(f"wandb/offline-run-*/run-{identity}.wandb"))
    own = [x for file in files for x in history(file)]
    assert len(files) == 2 and set(own) == metrics(folder) and len(own) == len(set(own))


def test_wandb_without_a_login_asks_nobody(folder, open_log, offline, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_MODE", "online")
    with open_log("wandb") as log:
        log([train("bursty", 0, 10)])
        assert log.conclude(FOUND) is FOUND
    (line,) = log.said
    assert line.startswith("levelburst: warning: wandb is left out from here on: ")
    assert "nobody is logged in" in line and "WANDB_MODE=offline" in line
    assert len(metrics(folder)) == 2 and capfd.readouterr() == ("", "")


# trackio, by its calls: the package itself needs an older Pillow than the other tests. ---------
class Fake(ModuleType):
    """A trackio that writes down what it is told."""

    def __init__(self):
        super().__init__("trackio")
        self.heard: list = []

    def init(self, **given):
        print("* Created new run")
        self.heard.append(("init", given))
        return SimpleNamespace(
            log=lambda numbers, step: self.heard.append((step, numbers)),
            finish=lambda: self.heard.append(("finish", print("* Run finished"))),
        )


def test_trackio_hears_the_same_and_keeps_standard_output(folder, open_log, monkeypatch, capsys):
    fake = Fake()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    with open_log("trackio") as log:
        log([train("bursty", 0, 10), train("bursty", 1, 10)])
        log.conclude(FOUND)
    (_, given), *rest = fake.heard
    identity = folder.read(log_lib.KEPT)["trackio"]
    assert (given["project"], given["name"]) == ("levelburst", f"mine-{identity}")
    assert (given["config"], given["resume"]) == (CONFIG, "never")
    assert not any(given.get(name) for name in ("space_id", "server_url", "embed"))
    told = {(key, step, single(x)) for step, numbers in rest[:1] for key, x in numbers.items()}
    assert told == metrics(folder)
    assert rest[1:] == [
        (40, {"final/isolated-chunks-1/unseen-level/k1": 0.5, "verdicts": WORDS}),
        ("finish", None),
    ]
    assert capsys.readouterr().out == ""

    with open_log("trackio") as log:  # resumed: what it has heard it is not told again
        log([train("bursty", 1, 10), train("bursty", 1, 20)])
    _, given = fake.heard[4]
    assert (given["name"], given["resume"]) == (f"mine-{identity}", "allow")
    assert [step for step, _ in fake.heard[5:]] == [20, "finish"]


# Packages. ---------------------------------------------------------------------------------
def test_a_missing_package_is_named(monkeypatch, tmp_path):
    trackers.need(("tensorboard", "wandb"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in trackers.TRACKERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / name).mkdir()  # as wandb itself leaves one: no package
        with pytest.raises(ConfigError, match=rf"--log {name} needs .* pip install 'levelburst\["):
            trackers.need(("tensorboard", name)[name == "tensorboard" :])


TRACKIO = """
import pathlib
def init(**given):
    print("on standard output")
    return Run()
class Run:
    def log(self, numbers, step):
        done = len(list(pathlib.Path("run/cells").glob("*")))
        whole = pathlib.Path("run/metrics.jsonl").read_text().count("\\n")
        with open("calls", "a") as file:
            print(step, len(numbers), done, whole, file=file)
    def finish(self):
        raise ConnectionError("the network is down")
"""


def test_a_missing_package_creates_nothing(levelburst, tmp_path, smoke_arguments):
    (tmp_path / "trackio").mkdir()
    done = levelburst(*smoke_arguments, "--out", "run", "--log", "trackio")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "levelburst: --log trackio needs a package: pip install 'levelburst[log]'\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("smoke")  # which leaves the compiled programs behind
def test_a_comparison_is_heard_while_it_trains(levelburst, tmp_path, smoke_arguments):
    """One tracker that works, one that fails at the end, one that nobody is logged in to."""
    (tmp_path / "trackio.py").write_text(TRACKIO)
    levelburst.env.update(WANDB_MODE="online", WANDB_API_KEY="", HOME=str(tmp_path / "home"))
    names = ("tensorboard", "trackio", "wandb")
    done = levelburst(*smoke_arguments, "--curve", 1, "--out", "run", "--log", *names)
    assert done.returncode == 0, done.stderr
    folder = RunFolder.open(tmp_path / "run")
    assert {x for x in scalars(folder) if x[0].rpartition("/")[2] in ("loss", "accuracy", "score")
            } == metrics(folder)  # fmt: skip
    assert (folder.path / "results.json").is_file() and "on standard output" not in done.stdout
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 2 and "Traceback" not in done.stderr
    assert any("trackio is left out" in x and "network is down" in x for x in warnings)
    assert any("wandb is left out" in x and "nobody is logged in" in x for x in warnings)
    calls = [tuple(map(int, x.split())) for x in (tmp_path / "calls").read_text().splitlines()]
    assert calls[0][0] == 2 and calls[0][2] == 0, calls  # before any cell was finished
    assert calls[0][3] < len(metrics(folder))
    assert folder.read("config.json")["log"] == [*names]
