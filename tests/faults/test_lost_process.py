"""One of several processes is killed: the others name it and end; the run comes to its bits."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import lifeline, processes, relay
from experiments.lifeline import Lifeline
from experiments.positions import numbers
from experiments.relay import Relay
from tests.experiments.conftest import free_port
from tests.experiments.listeners import LOOPBACK, addresses
from tests.faults.runs import NO_REPLAYS, TINY, digests, flags, updates

COUNT, UPDATES = 4, 96
CONFIG = TINY.__class__(
    **{**TINY.__dict__, "updates": UPDATES, "report_every": 8, "seeds": 2, "data": 2}
)
LIMIT = 60  # seconds in which nobody may be left
CHILD = "{twin}\nfrom experiments.cli import main\nmain()\n"
DEAF = """
from experiments.lifeline import Lifeline
Lifeline._mourn = lambda self, lost: None
"""


class Together:
    """A comparison of ``COUNT`` processes, of which one is killed again and again.

    Args:
        root: where its folder, ``run``, lies.
        env: environment variables.
        twin: source that takes a guard away.
    """

    def __init__(self, root: Path, env: dict[str, str], twin: str = ""):
        self.root, self.env = root, env
        self.child = CHILD.replace("{twin}", NO_REPLAYS + twin)
        self.run = root / "run"

    def start(self) -> list[subprocess.Popen]:
        words = [*flags(CONFIG), "--out", "run"]
        if (self.run / "config.json").exists():
            words = ["resume", "run"]
        words += ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", str(COUNT)]
        command, started = [sys.executable, "-c", self.child, *words], []
        for index in range(COUNT):
            with self._said(index).open("w") as said:
                started.append(
                    subprocess.Popen(
                        [*command, "--process", str(index)], cwd=self.root, env=self.env,
                        stdout=said, stderr=said,
                    )
                )  # fmt: skip
        return started

    def said(self) -> list[str]:
        """What each of them wrote."""
        return [self._said(index).read_text() for index in range(COUNT)]

    def _said(self, index: int) -> Path:
        return self.root / f"said-{index}"

    def finish(self) -> None:
        started = self.start()
        try:
            ended = [process.wait(timeout=900) for process in started]
        finally:
            for process in started:
                process.kill()
        assert ended == [0] * COUNT, self.said()

    def lose(self, index: int, draw: random.Random) -> tuple[list[str], set[str]]:
        """Kills a process while they train; what the others said then, and where all listened."""
        started = self.start()
        try:
            heard = self._train_a_little(started)
            time.sleep(draw.uniform(0, 0.1))
            assert [process.poll() for process in started] == [None] * COUNT, self.said()
            os.kill(started[index].pid, signal.SIGKILL)
            end = time.monotonic() + LIMIT
            for process in started:
                process.wait(timeout=max(end - time.monotonic(), 0.01))
        finally:
            for process in started:
                process.kill()
                process.wait()
        said = self.said()
        rest = [process.returncode for process in started if process is not started[index]]
        assert rest == [1] * (COUNT - 1), said
        return said[:index] + said[index + 1 :], heard

    def ask(self, index: int) -> list[str]:
        """Asks a process to end while they train; what all said."""
        started = self.start()
        try:
            self._train_a_little(started)
            os.kill(started[index].pid, signal.SIGTERM)
            ended = [process.wait(timeout=LIMIT) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        assert ended == [128 + signal.SIGTERM] * COUNT, self.said()
        return self.said()

    def _train_a_little(self, started: list[subprocess.Popen]) -> set[str]:
        """Waits for a checkpoint; where all of them listened before."""
        place, heard = self.run / "training" / "bursty-seed1", set()
        before, end = numbers(place), time.monotonic() + 900
        while started[0].poll() is None and time.monotonic() < end and numbers(place) == before:
            if not heard:
                heard = set().union(*(addresses(process.pid) for process in started))
            time.sleep(0.002)
        return heard


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, environment) -> Path:
    """The run in which nobody dies."""
    together = Together(tmp_path_factory.mktemp("quiet"), environment)
    together.finish()
    return together.run


def survives(together: Together, quiet: Path, lost: list[int]) -> None:
    """Loses these processes, one at a time, and compares what becomes of the run."""
    draw = random.Random(len(lost))
    for number, index in enumerate(lost):
        said, heard = together.lose(index, draw)
        assert heard and heard <= LOOPBACK
        for text in said:
            assert f"process {index} of {COUNT} has ended" in text, text
            assert "`levelburst resume`" in text and "Traceback" not in text
        if max(numbers(together.run / "training" / "bursty-seed1"), default=0) > UPDATES // 2:
            together.finish()
            same(together.run, quiet)
            os.rename(together.run, together.root / f"run{number}")
    together.finish()
    same(together.run, quiet)


def same(run: Path, quiet: Path) -> None:
    for seed in range(2):
        cell = f"bursty-seed{seed}"
        assert digests(run, cell, UPDATES) == digests(quiet, cell, UPDATES)
        cells = [(path / f"cells/{cell}.json").read_bytes() for path in (run, quiet)]
        assert cells[0] == cells[1]
    assert sorted(updates(run)) == sorted(updates(quiet))  # each update counted once


def test_one_is_asked_to_end_and_two_are_lost(tmp_path, environment, quiet):
    together = Together(tmp_path, environment)
    first, *others = together.ask(3)
    assert "saved at update" in first and "go on with: levelburst resume run" in first
    assert all("levelburst: interrupted" in text for text in others)
    assert not [text for text in (first, *others) if "has ended" in text or "Traceback" in text]
    survives(together, quiet, [2, 0])


@pytest.mark.slow
def test_twenty_processes_are_lost(tmp_path, environment, quiet):
    survives(Together(tmp_path, environment), quiet, [index % COUNT for index in range(1, 21)])


@pytest.mark.slow
def test_twin_that_is_deaf_names_nobody(tmp_path, environment):
    said, _ = Together(tmp_path, environment, DEAF).lose(2, random.Random(0))
    assert not any("process 2 of 4 has ended" in text for text in said)


# The lines alone. -------------------------------------------------------------------------------
@pytest.fixture
def lines(monkeypatch):
    """lines(count) -> (the lines of process 0 to the others, those of the others, who was ended).
    Processes that ought to end by themselves are threads here, and do not."""
    ended, opened = [], []
    monkeypatch.setattr(lifeline, "GRACE", 0.05)
    monkeypatch.setattr(lifeline.os, "_exit", ended.append)

    def connect(count: int):
        pairs = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(count - 1):
                there = socket.create_connection(server.getsockname())
                pairs.append((server.accept()[0], there))
        opened.extend(line for pair in pairs for line in pair)
        ours = {index: pair[0] for index, pair in enumerate(pairs, 1)}
        return ours, {index: pair[1] for index, pair in enumerate(pairs, 1)}, ended

    yield connect
    for line in opened:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
    for thread in threading.enumerate():  # before anything is put back
        if thread.name == "levelburst-lifeline":
            thread.join()
    for line in opened:
        line.close()


def die(line: socket.socket) -> None:
    line.shutdown(socket.SHUT_RDWR)


def lost_of(one: Lifeline) -> int | None:
    one._watch.join(30)
    assert not one._watch.is_alive()
    return one.lost(0)


@pytest.mark.parametrize("deaf", [False, True], ids=["whole", "twin"])
def test_all_learn_who_was_lost(lines, monkeypatch, capfd, deaf):
    """The twin tells nobody: process 1 then blames process 0, which ended because of it."""
    ours, theirs, ended = lines(3)
    if deaf:
        monkeypatch.setattr(Lifeline, "_tell", lambda *_: None)
    leader = Lifeline(0, 3, ours)
    other = Lifeline(1, 3, {0: theirs[1]})
    die(theirs[2])
    assert lost_of(leader) == 2
    die(ours[1])  # the leader ends
    assert (lost_of(other) == 2) is not deaf
    assert ended == [1, 1]
    told = capfd.readouterr().err
    assert "levelburst: process 2 of 3 has ended, and process 0 cannot go on" in told
    assert ("process 2 of 3 has ended, and process 1 cannot go on" in told) is not deaf


def test_the_others_learn_that_the_leader_was_lost(lines):
    ours, theirs, ended = lines(2)
    other = Lifeline(1, 2, {0: theirs[1]})
    die(ours[1])
    assert lost_of(other) == 0 and ended == [1]


@pytest.mark.parametrize("said", [True, False], ids=["done", "lost"])
def test_who_is_done_still_waits_for_the_leader(lines, capfd, said):
    ours, theirs, ended = lines(2)
    leader = Lifeline(0, 2, ours) if said else None
    other = Lifeline(1, 2, {0: theirs[1]})
    other.end()
    if leader:
        leader.end()
    die(ours[1])
    other._watch.join(30)
    assert ended == ([] if said else [1])
    assert ("process 0 of 2 has ended" in capfd.readouterr().err) is not said


@pytest.mark.parametrize("silent", [False, True], ids=["whole", "twin"])
def test_who_is_done_is_not_lost(lines, monkeypatch, silent):
    """The twin leaves without a word."""
    ours, theirs, ended = lines(3)
    if silent:
        monkeypatch.setattr(Lifeline, "end", lambda self: None)
    leader = Lifeline(0, 3, ours)
    others = [Lifeline(index, 3, {0: theirs[index]}) for index in (1, 2)]
    for one, line in zip(others, (theirs[1], theirs[2])):
        one.end()
        line.shutdown(socket.SHUT_WR)  # as the leader sees it; this one does not live to look
    lost_of(leader)
    assert (ended == []) is not silent


def test_jax_gives_up_later():
    """It would name nobody."""
    probe = lifeline.PROBE
    gone = probe["TCP_KEEPIDLE"] + probe["TCP_KEEPINTVL"] * probe["TCP_KEEPCNT"]
    assert gone + lifeline.GRACE < processes.SILENCE / 2


# The way to the coordinator, alone. -------------------------------------------------------------
@pytest.fixture
def way():
    """(how to come by relay, how the coordinator hears of it)."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        host, _, port = Relay(*server.getsockname()).address.partition(":")

        def pair() -> tuple[socket.socket, socket.socket]:
            here = opened.enter_context(socket.create_connection((host, int(port))))
            there = opened.enter_context(server.accept()[0])
            for line in (here, there):
                line.settimeout(30)
            return here, there

        yield pair, server


def test_bytes_are_carried_there_and_back(way):
    said = bytes(range(256)) * 4096
    lines = [way[0](), way[0]()]  # of two at once
    for here, there in lines:
        for one, other in ((here, there), (there, here)):
            sender = threading.Thread(target=one.sendall, args=(said,))
            sender.start()
            assert other.makefile("rb").read(len(said)) == said
            sender.join()
    lines[0][0].close()
    assert lines[0][1].recv(1) == b""  # JAX's end closes the way
    lines[1][0].sendall(b"x")
    assert lines[1][1].recv(1) == b"x"  # and no other


@pytest.mark.parametrize("closes", [False, True], ids=["whole", "twin"])
def test_a_lost_coordinator_is_silent(way, monkeypatch, closes):
    """The twin passes the end on, as the coordinator's own line would."""
    if closes:
        carry = relay._carry

        def passes_on(source, target):
            carry(source, target)
            target.shutdown(socket.SHUT_RDWR)

        monkeypatch.setattr(relay, "_carry", passes_on)
    here, there = way[0]()
    there.close()
    here.settimeout(1)
    if closes:
        assert here.recv(1) == b""
        return
    for _ in range(3):
        here.sendall(b"are you there?")
        with pytest.raises(TimeoutError):
            here.recv(1)


def test_nobody_listens_yet(way):
    _, server = way
    port = server.getsockname()[1]
    server.close()
    host, _, ours = Relay("127.0.0.1", port).address.partition(":")
    with socket.create_connection((host, int(ours))) as here:
        here.settimeout(30)
        assert here.recv(1) == b""  # JAX calls again
