"""The way of this process's JAX to the coordinator in process 0, which does not close when process
0 is lost: at a closed one JAX aborts the interpreter at once and names nobody."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

BLOCK = 1 << 16  # bytes read at once
PATIENCE = 10.0  # seconds until a coordinator that does not answer is called again


class Relay:
    """Listens on loopback and carries bytes to the coordinator and back, in threads of its own. An
    end of JAX's closes the way; an end of the coordinator's does not: JAX then hears nothing, for
    as long as it bears silence (experiments/processes.py), and the lifeline is sooner.

    Args:
        host: of the coordinator.
        port: of the coordinator.

    Raises:
        OSError: loopback has no free port.
    """

    def __init__(self, host: str, port: int):
        self._there = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        _start(self._serve)

    @property
    def address(self) -> str:
        """HOST:PORT that JAX is to call."""
        host, port = self._server.getsockname()
        return f"{host}:{port}"

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:  # who called has gone, or no more files can be open just now
                time.sleep(0.1)
                continue
            _start(self._join, here)

    def _join(self, here: socket.socket) -> None:
        with here:
            try:
                there = socket.create_connection(self._there, timeout=PATIENCE)
            except OSError:  # it does not listen yet: JAX calls again
                return
            with there:
                there.settimeout(None)
                for line in (here, there):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _start(_carry, there, here)
                _carry(here, there)
                with contextlib.suppress(OSError):
                    there.shutdown(socket.SHUT_RDWR)  # which wakes the other thread


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other, until the source ends; a target that is gone hears nothing."""
    with contextlib.suppress(OSError):
        while said := source.recv(BLOCK):
            with contextlib.suppress(OSError):
                target.sendall(said)


def _start(work: Callable[..., None], *given: socket.socket) -> None:
    threading.Thread(target=work, args=given, name="levelburst-relay", daemon=True).start()
