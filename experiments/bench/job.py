"""Command lines of this project in fresh interpreters, timed from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 3600.0


class JobError(RuntimeError):
    """A command that did not do what it should; one line."""


def command(*words: str) -> list[str]:
    """``levelburst`` with these words."""
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from experiments.cli import main"
    return [sys.executable, "-c", f"{start}; main()", str(ROOT), *words]


def seconds_of(line: list[str], code: int) -> float:
    """Wall time of a command that is to end with an exit code.

    Raises:
        JobError: it ended with another.
    """
    start = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    taken = time.perf_counter() - start
    if done.returncode != code:
        raise _unexpected(done.returncode, done.stderr)
    return taken


def first_update(words: tuple[str, ...], cache: Path, out: Path) -> float:
    """Seconds from the command to the line on standard error that counts the first update; then
    the job is ended.

    Raises:
        JobError: it ended without one.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command("compare", *words, "--out", str(out)),
        env=_environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    said, patience = [], threading.Timer(PATIENCE, process.kill)
    patience.start()
    try:
        for line in process.stderr:
            said.append(line)
            if " updates, " in line:
                return time.perf_counter() - start
    finally:
        patience.cancel()
        process.kill()
        process.wait()
        process.stderr.close()
    raise _unexpected(process.returncode, "".join(said))


def phases(words: tuple[str, ...], cache: Path, out: Path) -> dict[str, float]:
    """Runs a job to its end: seconds by phase, in the order of their beginning. ``start`` is
    Python, and checking the arguments; ``report`` is all that comes after the results.

    Raises:
        JobError: it failed.
    """
    began, start = time.time(), time.perf_counter()
    done = subprocess.run(
        command("compare", *words, "--out", str(out)),
        env=_environment(cache),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise _unexpected(done.returncode, done.stderr)
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found: dict[str, float] = dict(results["environment"]["phases"])
    before = max(found.pop("began") - began, 0.0)
    rest = max(wall - before - sum(found.values()), 0.0)
    return {"start": before, **found, "report": rest}


def _environment(cache: Path) -> dict[str, str]:
    """Variables of a job whose compiled programs lie in ``cache``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION_CACHE")}
    return kept | {"XDG_CACHE_HOME": str(cache)}


def _unexpected(code: int | None, said: str) -> JobError:
    last = (said.strip() or "it said nothing").splitlines()[-1]
    return JobError(f"it ended with code {code}: {last[:300]}")
