"""SIGTERM and Ctrl-C: saved, ended within 30 s, and gone on with."""

import os
import signal
import time

import pytest

from experiments.positions import numbers
from tests.faults.runs import TINY, digests, flags, updates

UPDATES = 400
CONFIG = TINY.__class__(**{**TINY.__dict__, "updates": UPDATES, "save_every": 3600.0})


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, environment):
    from tests.experiments.conftest import Levelburst

    done = Levelburst(tmp_path_factory.mktemp("quiet"), environment)
    found = done(*flags(CONFIG), "--out", "run")
    assert found.returncode == 0, found.stderr
    return done.cwd / "run"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends(levelburst, tmp_path, quiet, number, code):
    process = levelburst.start(*flags(CONFIG), "--out", "run")
    try:
        end = time.monotonic() + 900
        lines = tmp_path / "run" / "metrics.jsonl"
        while not (lines.exists() and lines.stat().st_size) and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    (saved,) = numbers(tmp_path / "run/training/bursty-seed0")
    *_, told, last = [line for line in err.splitlines() if line]
    assert told == f"saved at update {saved} of {UPDATES}: bursty seed 0"
    assert last == (
        "levelburst: interrupted; 0 finished cells are kept in run, "
        "go on with: levelburst resume run"
    )
    assert updates(tmp_path / "run")[-1] == saved
    done = levelburst("resume", "run")
    assert done.returncode == 0, done.stderr
    assert f"going on from update {saved}" in done.stderr
    assert digests(tmp_path / "run", update=UPDATES) == digests(quiet, update=UPDATES)
    assert updates(tmp_path / "run") == updates(quiet)
