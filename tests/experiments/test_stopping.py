"""Signals: what must not be cut is done first, and nobody waits for ever."""

import signal
import subprocess
import sys
import time

import pytest

from experiments import stopping
from experiments.stopping import Terminated, uninterrupted


@pytest.fixture(autouse=True)
def listening():
    before = signal.getsignal(signal.SIGTERM)
    stopping.listen()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [(signal.SIGINT, KeyboardInterrupt, 130), (signal.SIGTERM, Terminated, 143)],
)
def test_a_signal_waits_for_what_must_not_be_cut(number, error, code):
    done = []
    with pytest.raises(error) as stop, uninterrupted() as heard:
        assert heard == []
        signal.raise_signal(number)
        done.append(list(heard))
    assert done == [[number]] and stopping.code(stop.value) == code
    with pytest.raises(error):  # and is heard as ever afterwards
        signal.raise_signal(number)


def test_a_second_signal_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("whole")
    assert done == []


def test_an_error_ends_the_wait_too():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="full"), uninterrupted():
        raise OSError("full")
    assert signal.getsignal(signal.SIGINT) is before


STUCK = """
import hashlib, signal, sys, time
from experiments import stopping
stopping.listen()
held = hashlib.pbkdf2_hmac  # takes minutes: no handler of Python runs before it is over
with stopping.watched("go on with: levelburst resume run", patience=0.5):
    print("ready", flush=True)
    if sys.argv[1] == "stuck":
        held("sha256", b"", b"", 10**9)
    try:
        time.sleep(60)
    except KeyboardInterrupt as stop:
        time.sleep(float(sys.argv[2]))
        sys.exit(stopping.code(stop))
"""


@pytest.mark.parametrize(
    ("number", "words", "lost"),
    [
        (signal.SIGTERM, ("stuck", "0"), True),
        (signal.SIGINT, ("stuck", "0"), True),
        (signal.SIGTERM, ("asleep", "0"), False),
        (signal.SIGINT, ("asleep", "0"), False),
        (signal.SIGTERM, ("asleep", "60"), True),  # what it does at the end takes too long
    ],
)
def test_a_process_that_hears_nothing_is_ended(environment, number, words, lost):
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number, err
    assert ("is lost; go on with: levelburst resume run" in err) == lost
    assert "Traceback" not in err
