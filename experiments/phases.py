"""Where the time of a job goes: one phase at a time, compilation counted apart."""

from __future__ import annotations

import threading
import time
from typing import Any

COMPILATION = "/jax/core/compile/"  # what JAX calls its events of tracing, lowering and compiling


class Phases:
    """Seconds by phase. Entering one ends the one before it.

    Attributes:
        began: Unix time of the first phase.
    """

    def __init__(self):
        self.began = time.time()
        self._name, self._since = "", time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._compiling: list[tuple[float, float]] = []  # of this phase, disjoint and in order
        self._watching = False
        self._lock = threading.RLock()  # JAX compiles in several threads

    def enter(self, name: str) -> None:
        """Begins a phase, again if it has been before."""
        with self._lock:
            now = time.perf_counter()
            compiling = sum(end - start for start, end in self._compiling)
            if self._name:
                self._add(self._name, now - self._since - compiling)
                self._add("compile", compiling)
            self._name, self._since, self._compiling = name, now, []

    def watch(self) -> None:
        """Hears from now on, once JAX is imported, of what it compiles."""
        if self._watching:
            return
        from jax import monitoring

        monitoring.register_event_duration_secs_listener(self._hear)
        self._watching = True

    def report(self) -> dict[str, Any]:
        """Ends the phase, and hears no more; ``{"began": Unix time, phase: seconds, …}`` with a
        phase ``compile``."""
        self.enter("")
        if self._watching:
            from jax import monitoring

            monitoring.unregister_event_duration_listener(self._hear)
            self._watching = False
        rounded = {name: round(seconds, 3) for name, seconds in self._seconds.items()}
        return {"began": self.began, **rounded}

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def _hear(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """An event that ends now: those within it, which ended earlier, are part of it."""
        if not event.startswith(COMPILATION):
            return
        with self._lock:
            end = time.perf_counter()
            start = max(end - duration_secs, self._since)
            while self._compiling and self._compiling[-1][0] >= start:
                self._compiling.pop()
            if self._compiling:  # clocks differ a little
                start = max(start, self._compiling[-1][1])
            self._compiling.append((start, end))
