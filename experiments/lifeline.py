"""The lines between process 0 and the others, open as long as they train together: a process that
ends is noticed at once, whatever the rest are at, and is named."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

GRACE = 5.0  # seconds that a process has to end by itself once another is lost
# A machine that is gone says nothing: it is asked. All this is sooner than JAX gives up, which
# names nobody: a sign of life that it gives twice in a SILENCE (experiments/processes.py) has half
# of it to be answered.
PROBE = {"TCP_KEEPIDLE": 3, "TCP_KEEPALIVE": 3, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2}
END, LINE = b"end\n", 64


class Lifeline:
    """What a process hears of the others, in a thread of its own. A line that closes before its
    process has said that it is done means that the process is lost; process 0, which has a line to
    each, tells the others which. Who learns of it and does not end by itself is ended.

    Args:
        process: which this is.
        count: how many there are.
        lines: to whom this process has one: process 0 to all, the others to process 0.
    """

    def __init__(self, process: int, count: int, lines: Mapping[int, socket.socket]):
        self.process, self.count, self._lines = process, count, dict(lines)
        self._lost: int | None = None
        self._known, self._over = threading.Event(), threading.Event()
        for line in self._lines.values():
            line.settimeout(None)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in PROBE.items():
                if hasattr(socket, name):  # macOS calls the first by its second name
                    line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._watch = threading.Thread(target=self._listen, name="levelburst-lifeline", daemon=True)
        self._watch.start()

    def lost(self, wait: float = 5.0) -> int | None:
        """The process that was lost first, if one was; it may take a moment to be known."""
        self._known.wait(wait)
        return self._lost

    def message(self, lost: int) -> str:
        """What a person has to know."""
        return (
            f"process {lost} of {self.count} has ended, and process {self.process} cannot go on "
            "without it; once all can be started again, go on with `levelburst resume`"
        )

    def end(self) -> None:
        """Says that this process is done, well or because all were asked to stop; what becomes of
        the others no longer matters to it, but for process 0, which writes."""
        self._over.set()
        self._tell(END)

    def _tell(self, said: bytes) -> None:
        for line in self._lines.values():
            with contextlib.suppress(OSError):
                line.sendall(said)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as ears:
            for index, line in self._lines.items():
                ears.register(line, selectors.EVENT_READ, index)
            while ears.get_map():
                for key, _ in ears.select():
                    line: Any = key.fileobj
                    said = _heard(line)
                    # Who is done waits for process 0, which draws, and for nobody else.
                    if said != END and (key.data == 0 or not self._over.is_set()):
                        self._mourn(int(said) if said.strip().isdigit() else key.data)
                        return
                    ears.unregister(line)

    def _mourn(self, lost: int) -> None:
        self._lost = lost
        self._tell(b"%d\n" % lost)
        self._known.set()
        # One that does not end by itself waits for the lost one, or compiles.
        if self._over.is_set() or not self._over.wait(GRACE):
            print(f"levelburst: {self.message(lost)}", file=sys.stderr, flush=True)
            os._exit(1)


def _heard(line: socket.socket) -> bytes:
    """The first word on a line; an empty one where it is closed."""
    try:
        return line.recv(LINE).split(b"\n")[0] + b"\n"
    except OSError:
        return b"\n"
