"""Tests without training: readers, which need none, and cells whose parameters are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agents import checkpoint
from agents.retrieval import READERS
from experiments import processes
from experiments import results as results_lib
from experiments.errors import ConfigError
from icl.actor import ReaderActor

if TYPE_CHECKING:
    from experiments.compare import Cell, Comparison


def restored(job: Comparison, cells: list[Cell]) -> Iterator[tuple[Cell, list[results_lib.Row]]]:
    """Restores the cells' checkpoints and tests them: each with its rows.

    Raises:
        ConfigError: a checkpoint cannot be read.
    """
    like = job.initial(0)[1].parameters
    tester = job.tester(job.model, job.config.attempts)
    with job.progress.task("testing", len(cells), "cells") as bar:
        for wave in job.waves(cells):
            padded = job.padded(wave)
            kept = [job.folder.checkpoint(*cell) for cell in padded]
            try:
                parameters = job.stack([checkpoint.restore(path, like) for path in kept])
            except (ValueError, OSError) as error:
                raise ConfigError(str(error)) from None
            for cell, result in zip(wave, job.test(tester, padded, parameters)):
                yield cell, job.rows(cell, result)
            bar.advance(len(wave))


def read(job: Comparison) -> None:
    """Tests the readers on the demonstrations that the arms were shown."""
    config, folder = job.config, job.folder
    cells = [(reader, seed) for seed in job.seeds for reader in config.readers]
    todo = job.unfinished(cells)
    if not todo:
        return
    job.progress.phases.enter("evaluate")
    job.progress.say(f"reading the context back: {', '.join(config.readers)}")
    actions = job.suite.interface.actions
    tester = job.tester(lambda reader: ReaderActor(reader, actions))
    for first in range(0, len(todo), job.wave):
        wave = todo[first : first + job.wave]
        padded = job.padded(wave)
        readers = job.stack([READERS[reader] for reader, _ in padded])
        tested = job.test(tester, [("bursty", seed) for _, seed in padded], readers)
        for (reader, seed), (result, _) in zip(wave, tested, strict=False):
            head = {"arm": reader, "chunk": None, "p_b": None, "seed": seed}
            rows = results_lib.rows_of(
                head,
                job.levels(seed).names,
                result,
                config.demonstrations,
                leave_out=("as-trained",),  # no arm is theirs
                actings=("sampled",),
            )
            if processes.leader():
                folder.keep(reader, seed, rows)


def evaluate_again(job: Comparison) -> list[results_lib.Row]:
    """The rows of every finished cell, from its checkpoint.

    Raises:
        ConfigError: no cell is finished.
    """
    todo = job.unfinished(job.cells)
    cells = [cell for cell in job.cells if cell not in todo]
    if not cells:
        raise ConfigError(f"no finished cell in {job.folder.path}; go on with levelburst resume")
    return [row for _, rows in restored(job, cells) for row in rows]
