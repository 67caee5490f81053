"""kill -9 during real training: who resumes ends with the bits of who was never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.positions import numbers
from tests.faults.runs import FORGETS, NO_REPLAYS, TINY, digests, flags, updates

# The command line in an interpreter that kills itself: at the n-th call of one of the functions
# that a save is made of (0: of none), or when asked from outside.
CHILD = """
import os, signal, sys
from agents import checkpoint
from envs import durable, manifest
left = int(sys.argv.pop(1))
def deadly(module, name):
    function = getattr(module, name)
    def call(*arguments, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **more)
    setattr(module, name, call)
if left:
    for module, name in ((durable.Disk, "sync"), (os, "rename"), (manifest, "seal_folder"),
                         (durable, "remove"), (checkpoint, "_packed")):
        deadly(module, name)
{twin}
from experiments.cli import main
main()
"""
UPDATES = 200
CONFIG = TINY.__class__(**{**TINY.__dict__, "updates": UPDATES, "keep": 2})


class Deaths:
    """A run that is killed again and again, and resumed.

    Args:
        root: where it lies.
        env: environment variables.
        twin: source that takes a guard away.
    """

    def __init__(self, root: Path, env: dict[str, str], twin: str = ""):
        self.root, self.env = root, env
        self.child = CHILD.replace("{twin}", NO_REPLAYS + twin)
        self.run = root / "run"
        self.killed = self.inside = 0

    def start(self, call: int = 0) -> subprocess.Popen:
        words = [*flags(CONFIG), "--out", "run"]
        if (self.run / "config.json").exists():
            words = ["resume", "run"]
        command = [sys.executable, "-c", self.child, str(call), *words]
        return subprocess.Popen(
            command, cwd=self.root, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def die(self, draw: random.Random, inside: bool) -> None:
        """Starts, or goes on, and is killed: inside a save, or at a random instant of training."""
        process = self.start(draw.randrange(1, 60) if inside else 0)
        try:
            if not inside:
                self._train_a_little(process, draw)
                process.kill()
            out, _ = process.communicate(timeout=900)
        finally:
            process.kill()
        assert process.returncode == -signal.SIGKILL, out.decode()
        self.killed += 1
        self.inside += inside

    def _train_a_little(self, process: subprocess.Popen, draw: random.Random) -> None:
        place, before = self.run / "training" / "bursty-seed0", None
        end = time.monotonic() + 900
        while process.poll() is None and time.monotonic() < end:
            now = numbers(place)
            before = now if before is None else before
            if now != before:
                time.sleep(draw.uniform(0, 0.1))
                return
            time.sleep(0.002)

    def finish(self) -> None:
        process = self.start()
        out, _ = process.communicate(timeout=900)
        assert process.returncode == 0, out.decode()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, environment) -> Path:
    """The run that nobody kills."""
    deaths = Deaths(tmp_path_factory.mktemp("quiet"), environment)
    deaths.finish()
    return deaths.run


def survives(deaths: Deaths, quiet: Path, count: int) -> None:
    """Kills a run so many times, half of them inside saves, and compares."""
    draw = random.Random(count)
    for index in range(count):
        deaths.die(draw, inside=index % 2 == 0)
        place = deaths.run / "training" / "bursty-seed0"
        if max(numbers(place), default=0) > UPDATES * 3 // 4:  # begin anew before it is over
            deaths.finish()
            same(deaths.run, quiet)
            os.rename(deaths.run, deaths.root / f"run{index}")
    deaths.finish()
    same(deaths.run, quiet)
    assert (deaths.killed, deaths.inside) == (count, count - count // 2)


def same(run: Path, quiet: Path) -> None:
    assert digests(run, update=UPDATES) == digests(quiet, update=UPDATES)
    every = list(range(TINY.report_every, UPDATES + 1, TINY.report_every))
    assert updates(run) == updates(quiet) == every  # each update counted once
    for name in ("cells/bursty-seed0.json",):
        assert (run / name).read_bytes() == (quiet / name).read_bytes()
    left = [x.name for x in run.rglob(".*") if x.name.endswith((".partial", ".old"))]
    assert left == []


def test_ten_kills(tmp_path, environment, quiet):
    survives(Deaths(tmp_path, environment), quiet, 10)


@pytest.mark.slow
def test_fifty_kills(tmp_path, environment, quiet):
    survives(Deaths(tmp_path, environment), quiet, 50)


def test_twin_that_forgets_the_moments_is_found(tmp_path, environment, quiet):
    deaths = Deaths(tmp_path, environment, FORGETS)
    deaths.die(random.Random(1), inside=False)  # which waits for a checkpoint to go on from
    deaths.finish()
    with pytest.raises(AssertionError, match="moments"):
        same(deaths.run, quiet)
