"""Half an hour of training in flat memory."""

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.runs import TINY, flags

CONFIG = dataclasses.replace(TINY, updates=8 * 10**6, report_every=400, save_every=30.0)
SLACK = 24 * 2**20  # bytes: what an allocator gives back late
CHILD = "{twin}\nfrom experiments.cli import main\nmain()\n"
# Keeps a megabyte of every chunk.
LEAK = """
from experiments.training import Wave
hear, kept = Wave._hear, []
def leaky(self, *arguments):
    kept.append(bytearray(b"x" * 2**20))
    return hear(self, *arguments)
Wave._hear = leaky
"""


def held(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def growth(samples: list[int]) -> int:
    """Bytes by which what is held has grown: from the most in the second quarter, after everything
    was compiled and read once, to the least in the last."""
    quarter = len(samples) // 4
    return min(samples[-quarter:]) - max(samples[quarter : 2 * quarter])


def test_a_leak_is_growth_and_a_saw_is_none():
    saw = [10**9 + (i % 7) * 10**6 for i in range(100)]
    assert growth(saw) <= 0
    assert growth([x + i * 2 * 10**6 for i, x in enumerate(saw)]) > SLACK
    assert growth([min(i, 20) * 10**8 for i in range(100)]) <= 0  # warms up


def soaked(root: Path, env: dict[str, str], minutes: float, twin: str = "") -> list[int]:
    """What a training holds, every second, for so many minutes; it saves and ends when asked to."""
    words = [*flags(CONFIG), "--out", "run"]
    command = [sys.executable, "-c", CHILD.replace("{twin}", twin), *words]
    with (root / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=root, env=env, stdout=said, stderr=said)
        try:
            place = root / "run" / "training"
            while not place.exists():
                assert process.poll() is None, (root / "said").read_text()
                time.sleep(0.1)
            samples, end = [], time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                time.sleep(1)
                samples.append(held(process.pid))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=900) == 143
        finally:
            process.kill()
    return samples


@pytest.mark.slow
def test_half_an_hour_is_flat(tmp_path, environment):
    assert growth(soaked(tmp_path, environment, 30)) < SLACK


@pytest.mark.slow
def test_twin_that_keeps_a_megabyte_a_chunk_is_found(tmp_path, environment):
    assert growth(soaked(tmp_path, environment, 3, LEAK)) > SLACK
