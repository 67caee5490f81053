"""kill −9 at any instant: what was collected stays, and the end is bit by bit the uninterrupted."""

import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envs.store import Store
from tests.experiments.conftest import ROOT, Levelburst
from tests.faults.stores import contents, fill, plan, state

WRITE = """
import sys
from pathlib import Path
from envs.durable import DISK
from tests.faults.stores import fill, plan
print("begins", flush=True)
fill(Path(sys.argv[1]), plan(200, 4), DISK)
"""
COLLECT = (
    *("collect", "--families", "dark-room", "--test-families", "dark-room", "--allow-overlap"),
    *("--levels", "64", "--shard", "4", "--rollouts", "2", "--horizon", "8"),
)


def killed(command: list[str], cwd: Path, env: dict[str, str], ready, wait: float) -> bool:
    """Starts a command, and ends it ``wait`` seconds after ``ready`` says so; False where it was
    done before."""
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    began = time.monotonic()
    while not ready() and process.poll() is None and time.monotonic() - began < 300:
        time.sleep(0.005)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1].decode()
    assert process.returncode in (-signal.SIGKILL, 0), said
    return process.returncode != 0


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_writing_survives_kills(tmp_path, kills):
    """At random instants within the writes of shards and manifests."""
    path = tmp_path / "store"
    draw = random.Random(0)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    held, done = -1, 0
    for _ in range(kills):
        if state(path) == 200:
            path.rename(tmp_path / f"done{done}")
            held, done = -1, done + 1
        manifest = path / "manifest.json"
        before = manifest.stat().st_mtime_ns if manifest.exists() else 0

        def moved(manifest=manifest, before=before) -> bool:
            return manifest.exists() and manifest.stat().st_mtime_ns != before

        killed([sys.executable, "-c", WRITE, str(path)], ROOT, env, moved, draw.random() * 0.3)
        now = state(path)
        assert now >= held and now % 4 == 0  # what was there stays
        held = now
    fill(path, plan(200, 4))
    fill(tmp_path / "whole", plan(200, 4))
    assert contents(path) == contents(tmp_path / "whole")


def shards(path: Path) -> int:
    """Folders of shards, whether they count or not."""
    return len(os.listdir(path / "shards")) if (path / "shards").exists() else 0


@pytest.fixture(scope="module")
def collected(tmp_path_factory, environment) -> Path:
    """An uninterrupted collection."""
    folder = tmp_path_factory.mktemp("collected")
    done = Levelburst(folder, environment)(*COLLECT, "--out", "whole")
    assert done.returncode == 0, done.stderr
    return folder / "whole"


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_collecting_survives_kills(tmp_path, levelburst, collected, kills):
    path, draw, count = tmp_path / "store", random.Random(1), 0
    command = levelburst.command(*COLLECT, "--out", path)
    for _ in range(kills):
        held = shards(path)
        ready = functools.partial(lambda held: shards(path) > held, held)
        count += killed(command, tmp_path, levelburst.env, ready, draw.random() * 0.2)
        if Store.open(path).whole:
            break
    assert count
    assert len(Store.open(path).groups("dark-room/0")) % 4 == 0
    done = levelburst(*COLLECT, "--out", path)
    assert done.returncode == 0, done.stderr
    assert contents(path) == contents(collected)
