"""Several processes on this machine that train together, and what becomes of them if one fails."""

import contextlib
import dataclasses
import json
import signal
import socket
import threading
import time

import jax
import pytest

from experiments import cli, processes
from experiments.config import check
from experiments.errors import ConfigError
from experiments.presets import PRESETS
from experiments.processes import Processes
from experiments.stopping import Terminated, Together
from tests.experiments.conftest import free_port

SMALL = ("--readers", "--test-families", "--demos", "1", "--devices", "1")


@pytest.fixture
def together(levelburst, smoke_arguments):
    """together(count, *more) -> the started processes of one comparison in the folder ``run``."""
    started = []

    def start(count: int, *more: object):
        words = (*smoke_arguments, *SMALL, "--out", "run", *more)
        started.extend(levelburst.together(count, *words))
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def losses(folder) -> dict:
    """(arm, seed, update) -> loss."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {(x["arm"], x["seed"], x["update"]): x["loss"] for x in lines if x["kind"] == "train"}


def test_four_processes_train_as_one_does(together, smoke, tmp_path):
    """Two runs, two processes each, which share its contexts and its parameters."""
    ended = [
        (*x.communicate(timeout=900), x.returncode) for x in together(4, "--data", 2, "--fsdp")
    ]
    assert [code for *_, code in ended] == [0] * 4, [err for _, err, _ in ended]
    wanted, found = losses(smoke), losses(tmp_path / "run")
    assert len(set(wanted.values())) == len(wanted) == 4
    assert found == pytest.approx(wanted, abs=1e-5)

    # Only process 0 speaks and writes; what it wrote is a whole run.
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["environment"]["processes"] == 4
    assert results["environment"]["device"].startswith("4 x ")
    assert (results["config"]["coordinator"], results["config"]["process"]) == ("", -1)
    assert {(row["arm"], row["seed"]) for row in results["rows"]} == {
        ("bursty", 0),
        ("isolated-chunks", 0),
    }
    assert "report.html" in ended[0][0]
    for out, err, _ in ended[1:]:
        told = [line for line in (out + err).splitlines() if not line.startswith("[Gloo]")]
        assert told == []


def test_a_signal_is_heard_before_training(together, tmp_path):
    """JAX would take SIGTERM for itself, once processes are joined."""
    (process,) = together(1, "--updates", 10**5, "--report-every", 50)
    while not (tmp_path / "run" / "config.json").exists():  # levels are drawn
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 143, (out, err)
    assert "levelburst: interrupted" in err and "Traceback" not in err


# The meeting, in threads: a process that is alone in the interpreter does no more than that. ------
def meet(count: int, digests: dict[int, str]) -> dict[int, str]:
    """What comes of processes with their digests that meet: an address, or an error."""
    port, found = free_port(), {}

    def one(index: int) -> None:
        own = Processes(coordinator=f"127.0.0.1:{port}", processes=count, process=index)
        try:
            found[index], lines = processes._meet(own, digests[index], anywhere=False)
            for line in lines.values():
                line.close()
        except ConfigError as error:
            found[index] = str(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_go_on_once_all_are_there():
    assert meet(3, dict.fromkeys(range(3), "same")) == dict.fromkeys(range(3), "127.0.0.1")


def test_other_arguments_are_refused_by_name():
    found = meet(2, {0: "these", 1: "those"})
    assert set(found.values()) == {
        "process 1 was started with other arguments than process 0; give all of them the same, "
        "but for --process"
    }


def test_who_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(processes, "WAIT", 1.0)
    found = meet(4, dict.fromkeys((0, 2), "same"))
    assert "of 4 processes, 1, 3 did not come within 1 s; start them" in found[0]
    assert found[2] == found[0]


def test_strangers_are_not_heard(monkeypatch):
    monkeypatch.setattr(processes, "WAIT", 1.0)
    port = free_port()
    own = Processes(coordinator=f"127.0.0.1:{port}", processes=2, process=0)
    found = []

    def lead():
        try:
            processes._meet(own, "same", anywhere=False)
        except ConfigError as error:
            found.append(str(error))

    thread = threading.Thread(target=lead)
    thread.start()
    for said in (b"GET / HTTP/1.1\n", b"[1]\n", b"\xff\n"):
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(said)
    thread.join()
    assert "1 did not come within 1 s" in found[0]


def test_the_coordinator_listens_on_its_address_only(monkeypatch):
    listened = []
    listen = processes._listen
    monkeypatch.setattr(processes, "_listen", lambda *x: listened.append(x) or listen(*x))
    port = free_port()
    own = Processes(coordinator=f":{port}", processes=1, process=0)
    assert processes._meet(own, "", anywhere=False) == ("127.0.0.1", {})
    assert listened == [("127.0.0.1", port)]


@pytest.mark.parametrize(
    ("end", "done"), [(None, True), (Together(), True), (Terminated(), False), (OSError(), False)]
)
def test_who_ends_alone_is_lost_to_the_others(monkeypatch, end, done):
    said = []

    class Line:
        def __init__(self, *_):
            pass

        def end(self):
            said.append("done")

    monkeypatch.setattr(processes, "Lifeline", Line)
    monkeypatch.setattr(processes, "_meet", lambda *_, **__: ("127.0.0.1", {}))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    given = Processes(coordinator="127.0.0.1:1", processes=2, process=1)
    with contextlib.suppress(KeyboardInterrupt, OSError), processes.joined(given, {}):
        if end:
            raise end
    assert said == ["done"] * done


# What a person may get wrong. ---------------------------------------------------------------------
def test_a_dead_coordinator_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "WAIT", 1.0)
    port = free_port()
    words = f"compare --preset smoke --coordinator 127.0.0.1:{port} --processes 2 --process 1"
    began = time.monotonic()
    assert cli.run(words.split()) == 2
    assert time.monotonic() - began < 45  # the usual wait is a minute
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"no coordinator at 127.0.0.1:{port} within 1 s; start process 0 there" in err
    assert list(tmp_path.iterdir()) == []


def test_they_wait_for_a_minute():
    assert processes.WAIT == 60


def test_an_address_that_cannot_be_had_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = f"compare --preset smoke --coordinator {address} --processes 2 --process 0"
        assert cli.run(words.split()) == 2
    err = capsys.readouterr().err
    assert f"coordinator {address}: process 0 cannot listen there (Address already in use" in err
    assert list(tmp_path.iterdir()) == []


def test_no_environment_to_ask_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["compare", "--preset", "smoke", "--coordinator", "auto"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "coordinator auto: no Slurm, Kubernetes" in err
    assert list(tmp_path.iterdir()) == []


def test_slurm_is_asked(monkeypatch):
    job = {
        "SLURM_JOB_ID": "77003",
        "SLURM_STEP_NODELIST": "node[3-6]",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NUM_NODES": "4",
    }
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    found = processes._detected()
    host, port = processes.address_of(found)
    assert (host, found.processes, found.process) == ("node3", 4, 2) and 1024 < port < 2**16


@pytest.mark.parametrize(
    ("tasks", "alone"), [("1(x4)", True), ("1", True), ("16(x2)", False), ("2,1", False)]
)
def test_a_task_alone_on_its_node_has_all_its_devices(monkeypatch, tasks, alone):
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    assert processes._alone_on_its_machine() == alone


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"coordinator": "here"}, ["coordinator 'here'", "HOST:PORT", "auto"]),
        ({"coordinator": "here:http"}, ["'here:http'", "HOST:PORT"]),
        ({"coordinator": "here:70000"}, ["'here:70000'", "HOST:PORT"]),
        ({"coordinator": "here:1"}, ["processes is missing", "--processes N"]),
        ({"coordinator": "here:1", "processes": 2}, ["process is missing", "--process I"]),
        ({"coordinator": "here:1", "process": 0}, ["processes is missing"]),
        ({"processes": 2}, ["processes 2", "coordinator is missing", "--coordinator HOST:PORT"]),
        ({"process": 0}, ["process 0", "coordinator is missing"]),
        ({"coordinator": "auto", "process": 0}, ["process 0", "auto finds it out"]),
        ({"coordinator": "here:1", "processes": 2, "process": 2}, ["process 2 of 2", "from 0 to"]),
        ({"coordinator": "here:1", "processes": 2, "process": -2}, ["process -2 of 2"]),
        ({"coordinator": "here:1", "processes": -1, "process": 0}, ["process 0 of -1"]),
        ({"devices": 8, "data": 3}, ["data 3 x model 1 = 3", "8 devices", "--devices 3"]),
        ({"devices": 4, "data": 4, "model": 2}, ["data 4 x model 2 = 8", "the 4 devices"]),
        ({"data": 3}, ["contexts 16", "data 3 x accumulate 1", "multiple of 3"]),
        ({"data": 4, "accumulate": 8}, ["contexts 16", "= 32 parts"]),
        ({"accumulate": 5}, ["contexts 16", "accumulate 5"]),
        ({"model": 4}, ["heads 2", "model 4", "multiple"]),
        ({"fsdp": True}, ["fsdp", "data", "1 device", "raise data"]),
        ({"data": 0}, ["data 0", "1 or more"]),
        ({"model": 0}, ["model 0", "1 or more"]),
        ({"accumulate": 0}, ["accumulate 0", "1 or more"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_starts(tmp_path, monkeypatch, capsys, fields, parts):
    def reached(*_):
        raise AssertionError("JAX was reached before the arguments were checked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_quiet_jax", reached)
    words = ["compare", "--preset", "smoke"]
    for name, value in fields.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and list(tmp_path.iterdir()) == []
    assert [part for part in parts if part not in err] == [], err


def test_devices_that_jax_finds_are_checked(monkeypatch):
    """How many there are on an accelerator is only known then."""
    config = dataclasses.replace(PRESETS["smoke"], data=4)
    check(config)
    with pytest.raises(ConfigError, match="data 4 x model 1 = 4 devices a run do not divide the 6"):
        processes.check_devices(config, 6)
    spread = dataclasses.replace(config, devices=2, coordinator="here:1", processes=2, process=0)
    check(spread)  # two devices in each of two processes
