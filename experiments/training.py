"""A wave of cells on its way: trained, saved, tested and kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from agents import checkpoint
from experiments import fault, processes
from experiments.log import Log
from experiments.positions import Line
from experiments.saves import Saves
from experiments.stopping import Together, uninterrupted
from icl import parallel

if TYPE_CHECKING:
    from experiments.compare import Cell, Comparison, Listener

Tester = Callable[..., Any]


@dataclasses.dataclass
class Chunk:
    """Updates that were begun and not heard of yet.

    Attributes:
        update: how many are done with the last of them.
        metrics: stacked Metrics[runs, updates], on the devices.
        copy: of the states after it, if they are to be saved.
    """

    update: int
    metrics: Any
    copy: Any = None


@dataclasses.dataclass
class Wave:
    """Cells that train side by side.

    Attributes:
        job: what is trained, and with what.
        cells: those of the wave.
        testers: a test on the way, and one at the end.
        bar: counts updates.
        log: takes lines.
        listen: hears of each test.
        saves: the checkpoints.
    """

    job: Comparison
    cells: list[Cell]
    testers: tuple[Tester, Tester]
    bar: Any
    log: Log
    listen: Listener
    saves: Saves

    def __post_init__(self):
        config = self.job.config
        # A short wave is filled up with its last cell, reported once.
        self.padded = self.job.padded(self.cells)
        self.lines: dict[Cell, list[Line]] = {cell: [] for cell in self.cells}
        chunks = config.updates // config.report_every
        self.every = config.report_every * (chunks // config.curve) if config.curve else 0

    def complete(self, start: int = 0) -> None:
        """Trains the wave, from a checkpoint on if ``start`` is not 0, tests it and keeps it.

        Raises:
            KeyboardInterrupt: it was to end; what was trained is saved.
            FloatingPointError: it diverged; nothing of that is saved.
        """
        phases = self.job.progress.phases
        phases.enter("generate")
        states = self._begin(start)
        runs = self.job.stack([self.job.run(cell) for cell in self.padded])
        trainer = self.job.trainer(self.padded, start)
        with uninterrupted() as heard:
            phases.enter("train")
            states = self._train(trainer, states, runs, start, heard)
        phases.enter("evaluate")
        tested = self.job.test(self.testers[1], self.padded, states.parameters)
        parameters = parallel.unstack(parallel.fetch(states.parameters))
        tests = self._tests(tested, self.job.config.updates) if self.every else []
        if not processes.leader():
            return
        phases.enter("save")
        self.saves.wait()
        with uninterrupted():  # a wave is finished whole, and orbax writes in threads of its own
            self.log(tests)
            for cell, own, result in zip(self.cells, parameters, tested):
                checkpoint.save(self.job.folder.checkpoint(*cell), own)
                self.job.folder.keep(*cell, self.job.rows(cell, result))
        if tests:
            self.listen(tests)  # once the wave is kept: whoever listens may end the process

    def _begin(self, start: int) -> Any:
        """The stacked states that training starts from; what was measured before is told again, and
        counts once."""
        if not start:
            return self.job.stack([self.job.initial(seed)[1] for _, seed in self.padded])
        found = {cell: self.saves.restore(cell, start) for cell in self.cells}
        self.lines = {cell: lines for cell, (_, lines) in found.items()}
        before = [line for lines in self.lines.values() for line in lines]
        self.log(before)
        tests = [line for line in before if line["kind"] == "evaluation"]
        for update in sorted({line["update"] for line in tests}):
            self.listen([line for line in tests if line["update"] == update])
        self.bar.advance(len(self.cells) * start)
        return self.job.stack([found[cell][0] for cell in self.padded])

    def _train(self, trainer: Any, states: Any, runs: Any, start: int, heard: list[int]) -> Any:
        """All chunks; returns the states, of which the last are saved.

        Raises:
            Together: a process was to end; what was trained up to then is saved.
        """
        config, saves = self.job.config, self.saves
        chunk, clock, update, stop = None, time.perf_counter(), start, False
        while update < config.updates:
            stop, due = processes.any_says(bool(heard), update > start and saves.due())
            if stop:
                break
            if chunk is not None and due:  # before the next chunk takes over the buffers
                chunk.copy = self.job.snapshot(states)
            states, metrics = trainer(states, runs)
            if chunk is not None:  # read while the next chunk runs
                clock = self._hear(chunk, clock)
            update += config.report_every
            chunk = Chunk(update, metrics)
            if self.every and update % self.every == 0 and update < config.updates:
                self._test(states, update)
        if chunk is not None:
            chunk.copy = self.job.snapshot(states)
            self._hear(chunk, clock)
        if not stop:  # one may have been asked during the last chunk
            stop, _ = processes.any_says(bool(heard), False)
        if stop and update:
            saves.wait()
            names = ", ".join(f"{arm} seed {seed}" for arm, seed in self.cells)
            self.job.progress.say(f"saved at update {update} of {config.updates}: {names}")
        if stop:  # in all processes, whichever heard of it, and once what was trained is saved
            processes.agree(None)
            raise Together(*heard[:1])
        return states

    def _test(self, states: Any, update: int) -> None:
        """A test on the way."""
        phases = self.job.progress.phases
        phases.enter("evaluate")
        found = self.job.test(self.testers[0], self.padded, states.parameters)
        tests = self._tests(found, update)
        self.log(tests)
        self.listen(tests)
        phases.enter("train")

    def _tests(self, found: list[Any], update: int) -> list[Line]:
        """The lines of a test of the wave."""
        tests = []
        for cell, result in zip(self.cells, found):
            rows = self.job.rows(cell, result)
            own = [
                {"kind": "evaluation", "update": update}
                | {field: row[field] for field in ("arm", "seed", "split", "demos", "score")}
                for row in rows
                if (row["family"], row["demonstrations"], row["acting"])
                == ("all", "whole", "sampled")
            ]
            self.lines[cell] += own
            tests += own
        return tests

    def _hear(self, chunk: Chunk, clock: float) -> float:
        """Reads a chunk's metrics (the one host synchronisation), averaged over the chunk, and
        saves the copy of the states that was made after it."""
        every = self.job.config.report_every
        metrics = parallel.fetch(chunk.metrics)
        now, lines = time.perf_counter(), []
        for index, cell in enumerate(self.cells):
            own = jax.tree.map(lambda x, i=index: x[i], metrics)
            fault.refuse(self.job, cell, own, chunk.update - every)
            line = {
                "kind": "train",
                "arm": cell[0],
                "seed": cell[1],
                "update": chunk.update,
                "loss": float(own.loss.mean()),
                "accuracy": float(own.accuracy.mean()),
                "gradient": float(own.gradient.mean()),
                "tokens_per_second": float(own.tokens.sum() / (now - clock)),
                "mean_row": float(own.tokens.mean() / own.rows.mean()),
                "longest_row": float(own.longest.max()),
                "whole_cells": float(own.whole.mean()),
            }
            self.lines[cell].append(line)
            lines.append(line)
        self.log(lines)
        self.bar.advance(len(self.cells) * every)
        if chunk.copy is not None:
            states = parallel.unstack(parallel.fetch(chunk.copy))
            self.saves.write(self.cells, chunk.update, states[: len(self.cells)], self.lines)
        return now
