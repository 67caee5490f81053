"""The log of a run: metrics.jsonl, written as training goes, and the trackers that were asked for.

No JAX here.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.folder import RunFolder, place
from experiments.trackers import TRACKERS, Line, Tracker

KEPT = "trackers.json"  # tracker -> the identity of its record, which a resumed run goes on with
PATIENCE = 90.0  # seconds that a finished run waits for its trackers
HASTE = 10.0  # seconds that one which was cut short does


class Log:
    """Takes the lines of a run, as a context. What the trackers do, they do in threads of their
    own, so that training never waits for them; one that fails is left out, with a line of warning.

    Args:
        config: of the run; names the trackers.
        folder: of the run.
        say: hears a line for people.
        leads: whether this process, of several, is the one that writes.
    """

    def __init__(
        self, config: CompareConfig, folder: RunFolder, say: Callable[[str], None], *, leads: bool
    ):
        self.folder, self.say, self.leads = folder, say, leads
        self._names = config.log if leads else ()
        self._couriers: list[Courier] = []
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._names:
            before = self.folder.logged()
            with contextlib.suppress(ConfigError, TypeError, ValueError):  # none, or a damaged one
                self._kept = dict(self.folder.read(KEPT))
            config = self.folder.read("config.json")
            self._couriers = [Courier(name, self, config, before) for name in self._names]
            for courier in self._couriers:
                courier.start()
        return self

    def __call__(self, lines: list[Line]) -> None:
        """Adds lines, which nobody may change afterwards."""
        if not self.leads or not lines:
            return
        self.folder.log(lines)
        for courier in self._couriers:
            courier.take(lines)

    def conclude(self, found: dict[str, Any]) -> dict[str, Any]:
        """Hands on what the run came to, and returns it."""
        self._end(found, PATIENCE)
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(None, HASTE)

    def _end(self, found: dict[str, Any] | None, patience: float) -> None:
        couriers, self._couriers = self._couriers, []
        for courier in couriers:
            courier.end(found)
        for courier in couriers:
            courier.join(patience)
            if courier.is_alive():
                courier.give_up(f"it has not taken everything {patience:.0f} s after the end")

    def identity(self, name: str) -> tuple[str, bool]:
        """The identity of a tracker's record, and whether an earlier session began it."""
        with self._lock:
            kept = self._kept.get(name)
        return kept or secrets.token_hex(4), bool(kept)

    def keep(self, name: str, identity: str | None) -> None:
        """Remembers a tracker's record for the next session; None forgets it: what a tracker that
        failed has not heard, a new record of it will be told."""
        with self._lock:
            changed = {other: kept for other, kept in self._kept.items() if other != name}
            changed |= {name: identity} if identity else {}
            if changed != self._kept:
                self.folder.write(KEPT, changed)
                self._kept = changed


class Courier(threading.Thread):
    """Brings lines to one tracker."""

    def __init__(self, name: str, log: Log, config: dict[str, Any], before: list[Line]):
        super().__init__(name=f"log-{name}", daemon=True)  # nobody waits for one that hangs
        self.tracker_name, self.log, self.config, self.before = name, log, config, before
        self._tasks: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._silent = threading.Event()
        self._known: set[tuple[Any, ...]] = set()

    def take(self, lines: list[Line]) -> None:
        """Hands on lines, some time."""
        self._tasks.put(functools.partial(self._tell, lines))

    def end(self, found: dict[str, Any] | None) -> None:
        """Hands on what the run came to, and ends the thread, some time."""
        self._tasks.put(lambda tracker: tracker.close(found))
        self._tasks.put(None)

    def give_up(self, why: str) -> None:
        """Warns, once."""
        if self._silent.is_set():
            return
        self._silent.set()
        words = " ".join(why.split())
        words = words if len(words) <= 200 else words[:199] + "…"
        self.log.say(
            f"levelburst: warning: {self.tracker_name} is left out from here on: {words}; "
            "the run goes on, and metrics.jsonl has every line"
        )
        with contextlib.suppress(OSError):  # as on a full disk
            self.log.keep(self.tracker_name, None)

    def run(self) -> None:
        """Starts the tracker and does what is to be done, in order."""
        try:
            tracker = TRACKERS[self.tracker_name](self.log.folder.path)
            self._begin(tracker)
            for task in iter(self._tasks.get, None):
                task(tracker)
        except BaseException as error:  # a package may even mean to end the process
            self.give_up(f"{type(error).__name__}: {error}")

    def _begin(self, tracker: Tracker) -> None:
        folder = self.log.folder
        identity, again = self.log.identity(self.tracker_name)
        again = again and tracker.resumes
        where = tracker.start(run_name(folder.path), self.config, identity, again)
        if tracker.resumes:
            self.log.keep(self.tracker_name, identity)
        self.log.say(f"{self.tracker_name}: {where}")
        if again:
            self._known = {place(line) for line in self.before}
        else:  # cells that are not finished are trained again
            own = [x for x in self.before if folder.finished(x["arm"], x["seed"])]
            tracker.log(own)

    def _tell(self, lines: list[Line], tracker: Tracker) -> None:
        tracker.log([line for line in lines if place(line) not in self._known])


def run_name(path: Path) -> str:
    """The name of a run's folder, that of a sweep's trial with its sweep's."""
    path = path.absolute()
    if path.parent.name == "trials":
        return f"{path.parent.parent.name}-{path.name}"
    return path.name
