"""Ctrl-C and SIGTERM: what is under way comes to a good end, and soon. No JAX here.

Both end a job by ``KeyboardInterrupt``, wherever it is; within ``uninterrupted`` they wait until
the block is done, which may look whether one was heard and be brief. Python hears of a signal only
between two of its own steps, and a compiled program is one step however long it takes: so a thread
of ``watched`` hears it, too, and ends a process that does not come to its end in time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 25.0  # seconds that a process has after the first signal; who sent it may wait for 30


class Terminated(KeyboardInterrupt):
    """SIGTERM, where Ctrl-C would be a KeyboardInterrupt."""


class Together(KeyboardInterrupt):
    """All processes that train together end, and what is to be saved is: one of them was asked to.

    Args:
        number: the signal that was heard.
    """

    def __init__(self, number: int = signal.SIGTERM):
        super().__init__()
        self.number = number


def listen() -> None:
    """SIGTERM ends this process as Ctrl-C does, from now on."""
    signal.signal(signal.SIGTERM, _terminate)


def code(error: KeyboardInterrupt) -> int:
    """The exit code by convention: 128 and the number of the signal."""
    if isinstance(error, Together):
        return 128 + error.number
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


@contextlib.contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM wait until the block is done, and then end the job as ever; a second one
    does not wait. Yields the signals heard so far."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard  # only the main thread hears of signals
        return

    def hear(number: int, _: Any) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


@contextlib.contextmanager
def watched(advice: str, patience: float = PATIENCE) -> Iterator[None]:
    """Within the block, a process that hears one of the signals ends within ``patience`` seconds,
    even if it computes: its last words are ``advice`` then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(ear, advice, patience), daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        watch.join()
        ear.close()


def _watch(ear: socket.socket, advice: str, patience: float) -> None:
    number = 0
    while number not in SIGNALS:
        said = ear.recv(1)
        if not said:
            return  # the block has ended
        number = said[0]
    timer = threading.Timer(patience, _end, (number, advice, patience))
    timer.daemon = True
    timer.start()
    while ear.recv(64):
        pass
    timer.cancel()


def _end(number: int, advice: str, patience: float) -> None:
    print(
        f"\nlevelburst: interrupted; what was under way did not end within {patience:.0f} s and "
        f"is lost; {advice}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(128 + number)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated
