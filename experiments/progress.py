"""What a person sees while a job runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from experiments.phases import Phases


class Bar:
    """A count on its way to a total."""

    def __init__(self, owner: Progress, name: str, total: int, unit: str):
        self.owner, self.name, self.total, self.unit = owner, name, total, unit
        self.done, self.started, self.told = 0, time.perf_counter(), 0.0
        self.label = name
        self.live: RichProgress | None = None
        self.task: TaskID = TaskID(0)

    def say(self, label: str) -> None:
        """Shows what is under way."""
        self.label = label
        if self.live:
            self.live.update(self.task, description=label)

    def advance(self, count: int) -> None:
        """Counts on. Elsewhere than on a terminal, a line every tenth of the way."""
        self.done += count
        now = time.perf_counter()
        rate = self.done / (now - self.started)
        if self.live:
            self.live.update(self.task, advance=count, rate=_pace(rate, self.unit))
        elif self.done * 10 // max(self.total, 1) > self.told:
            self.told = self.done * 10 // max(self.total, 1)
            left = (self.total - self.done) / rate
            self.owner.say(
                f"{self.label}: {self.done}/{self.total} {self.unit}, "
                f"{_pace(rate, self.unit)}, {left:.0f} s left"
            )


class Progress:
    """Progress on standard error, so that standard output holds results only.

    Attributes:
        phases: where the time goes.
    """

    def __init__(self, *, silent: bool = False):
        self.console = Console(stderr=True, quiet=silent)
        self.phases = Phases()

    def say(self, line: str) -> None:
        """One line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar for the time of a ``with`` block."""
        bar = Bar(self, name, total, unit)
        if not self.console.is_terminal or not total:
            yield bar
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self.console) as live:
            bar.live, bar.task = live, live.add_task(name, total=total, rate="")
            yield bar


def _pace(rate: float, unit: str) -> str:
    """How many a second, or a minute where they are few."""
    return f"{rate:.0f} {unit}/s" if rate >= 1 else f"{60 * rate:.1f} {unit}/min"
