"""kill -9 at random instants inside orbax's own writes: the old checkpoint or the new one."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agents import checkpoint
from envs import durable

WRITE = """
import itertools, sys
from pathlib import Path
import numpy as np
from agents import checkpoint
{twin}
path, first = Path(sys.argv[1]), int(sys.argv[2])
for number in itertools.count(first):
    checkpoint.save(path, {{"x": np.full(300_000, number, np.float32)}}, {{"number": number}})
    print(number, flush=True)
"""
# Without a place beside: orbax writes, and the manifest follows, where the old checkpoint was.
IN_PLACE = """
import contextlib, shutil
from envs import durable
@contextlib.contextmanager
def folder(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
durable.new_folder = folder
"""


def lost(root: Path, env: dict[str, str], kills: int, twin: str = "") -> list[str]:
    """Kills a process that saves and saves; lists what was neither old nor new afterwards."""
    path, draw, found, number = root / "x", random.Random(kills), [], 0
    for index in range(kills):
        command = [sys.executable, "-c", WRITE.format(twin=twin), str(path), str(number + 1)]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            saved = int(process.stdout.readline())
            time.sleep(draw.uniform(0, 0.3))
        finally:
            process.kill()
        rest = process.communicate()[0].split()
        saved = max([saved, *map(int, rest)])
        try:
            array = checkpoint.restore(path, {"x": np.zeros(300_000, np.float32)})["x"]
            number = checkpoint.notes(path)["number"]
            if number not in (saved, saved + 1) or (array != number).any():
                found.append(f"{index}: {number} after {saved}")
        except (OSError, ValueError) as error:
            found.append(f"{index}: {error}")
    durable.sweep(root)
    found += [] if [*root.iterdir()] == [path] else ["something is left"]
    return found


def test_five_kills(tmp_path, environment):
    assert lost(tmp_path, environment, 5) == []


@pytest.mark.slow
def test_fifty_kills(tmp_path, environment):
    assert lost(tmp_path, environment, 50) == []


@pytest.mark.slow
def test_twin_that_writes_in_place_is_found(tmp_path, environment):
    assert lost(tmp_path, environment, 10, IN_PLACE)
