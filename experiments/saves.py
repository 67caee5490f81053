"""Training checkpoints: written while training goes on, and found again by who resumes.

experiments/positions.py says what is in them. A checkpoint is made of arrays on the host that
nobody changes any more, by one thread, one after the other; who trains waits for it only where the
one before is not written yet.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp

from agents import checkpoint
from envs import durable
from experiments import processes
from experiments.errors import ConfigError
from experiments.positions import NEWEST, Line, check_resumable, digest_of, noted, numbers
from icl.train import TrainState

if TYPE_CHECKING:
    from experiments.compare import Cell, Comparison

Arrays = dict[str, Any]


class Saves:
    """The training checkpoints of a comparison, as a context: it ends when all is written.

    Args:
        job: whose.
        wanted: the update to go on from; by default the newest that is intact.
    """

    def __init__(self, job: Comparison, wanted: int = NEWEST):
        self.job, self.wanted = job, wanted
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="levelburst-save")
        self._pending: Future[None] | None = None
        self._last = time.monotonic()
        self._held: dict[Cell, dict[str, Any]] = {}  # what each cell is held to, as it began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.shutdown(wait=True)
        if error is None:
            self.wait()

    # Writing. ------------------------------------------------------------------------------
    def due(self) -> bool:
        """Whether so much time has passed that what is trained now ought to be saved."""
        return time.monotonic() - self._last >= self.job.config.save_every

    def write(
        self, wave: list[Cell], update: int, states: list[Arrays], lines: dict[Cell, list[Line]]
    ) -> None:
        """Saves the states (``arrays``, as NumPy) of a wave, some time: only process 0 does.

        Raises:
            FloatingPointError: in what was to be saved before, a number was not finite.
            OSError: what was to be saved before cannot be written.
        """
        self._last = time.monotonic()
        if not processes.leader():
            return
        told = {cell: list(lines[cell]) for cell in wave}  # they go on being added to
        self.wait()
        self._pending = self._writer.submit(self._write, wave, update, states, told)

    def wait(self) -> None:
        """Waits until all is written.

        Raises:
            FloatingPointError, OSError: as ``write``.
        """
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def _write(
        self, wave: list[Cell], update: int, states: list[Arrays], lines: dict[Cell, list[Line]]
    ) -> None:
        for cell, state in zip(wave, states, strict=True):
            place = self.job.folder.training(*cell)
            notes = self._notes(cell, update, state, lines[cell])
            checkpoint.save(place / str(update), state, notes)
            self._prune(place)

    def _notes(self, cell: Cell, update: int, state: Arrays, lines: list[Line]) -> dict[str, Any]:
        """What experiments/positions.py says."""
        config, parts = self.job.config, ("parameters", "moments", "key")
        return {
            "arm": cell[0],
            "seed": cell[1],
            "update": update,
            "settings": self._held.get(cell) or self.job.folder.settings(config, *cell),
            "place": {
                "jax": jax.__version__,
                "device": jax.devices()[0].device_kind,
                "mesh": [self.job.wave, config.data, config.model, config.fsdp],
            },
            "loss": [line["loss"] for line in lines if line["kind"] == "train"][-1],
            "lines": lines,
            "sha256": {part: checkpoint.digest(state[part]) for part in parts}
            | {"metrics": digest_of(lines)},
        }

    def _prune(self, place: Path) -> None:
        """Removes all but the last few and the best."""
        there = numbers(place)
        losses = {number: noted(place / str(number)).get("loss") for number in there}
        known = {number: loss for number, loss in losses.items() if isinstance(loss, float)}
        best = min(known, key=lambda number: (known[number], number), default=None)
        for number in there[: -self.job.config.keep]:
            if number != best:
                durable.remove(place / str(number))

    # Going on. -----------------------------------------------------------------------------
    def begun(self, cells: list[Cell]) -> list[Cell]:
        """Those of the cells whose training was cut short, as process 0 sees it.

        Raises:
            ConfigError: they were trained under another config, or there is no checkpoint of the
                update that is wanted.
        """
        places = [self.job.folder.training(*cell) for cell in cells]
        for place in (place for place in places if processes.leader() and place.is_dir()):
            durable.sweep(place)  # what a killed process left
            self._prune(place)  # and what it had no time to remove
        found = check_resumable(self.job.folder, self.job.config, self.wanted)
        self._held = {cell: self.job.folder.settings(self.job.config, *cell) for cell in cells}
        begun = [cell for cell in cells if cell in found]
        return [(arm, seed) for arm, seed in processes.agree(begun)]

    def start(self, wave: list[Cell]) -> int:
        """The update that a wave goes on from: the newest, or the wanted one, of which every cell
        has a checkpoint that is intact; says so of those that are not. 0 where there is none.

        Raises:
            ConfigError: the wanted one is missing or damaged.
        """
        found = self._start(wave) if processes.leader() else 0
        return int(processes.agree(found))

    def _start(self, wave: list[Cell]) -> int:
        places = [self.job.folder.training(*cell) for cell in wave]
        common = set.intersection(*(set(numbers(place)) for place in places))
        if self.wanted != NEWEST:
            if self.wanted not in common:
                there = ", ".join(map(str, sorted(common))) or "none"
                raise ConfigError(
                    f"checkpoint {self.wanted}: there is none of {_names(wave)}; there are: {there}"
                )
            common = {self.wanted}
        for number in sorted(common, reverse=True):
            try:
                for place, cell in zip(places, wave):
                    _verify(place / str(number), cell, number)
            except (ValueError, OSError) as error:
                if self.wanted != NEWEST:
                    raise ConfigError(f"checkpoint {number}: {error}; name another one") from None
                self.job.progress.say(f"levelburst: {error} (an older checkpoint takes its place)")
            else:
                self.job.progress.say(f"{_names(wave)}: going on from update {number}")
                return number
        self.job.progress.say(f"{_names(wave)}: no checkpoint is intact; training starts anew")
        return 0

    def restore(self, cell: Cell, update: int) -> tuple[TrainState, list[Line]]:
        """The state of a cell's training at a checkpoint, and its lines up to there.

        Raises:
            ConfigError: it is damaged, or of another model.
        """
        like = self.job.initial(cell[1])[1]
        path = self.job.folder.training(*cell) / str(update)
        form = jax.eval_shape(arrays, like)
        try:
            found = checkpoint.restore(path, form)
        except (ValueError, OSError) as error:
            raise ConfigError(str(error)) from None
        key = jax.random.wrap_key_data(found["key"], impl=jax.random.key_impl(like.key))
        state = TrainState(found["parameters"], found["moments"], found["step"], key)
        return state, checkpoint.notes(path)["lines"]


def _verify(path: Path, cell: Cell, update: int) -> None:
    """Raises ValueError where a checkpoint is damaged, or is not the one that its place says."""
    checkpoint.verify(path)
    notes = checkpoint.notes(path)
    own = tuple(notes.get(field) for field in ("arm", "seed", "update"))
    if own != (*cell, update):
        raise checkpoint.Damaged(
            f"{path} is of {own[0]} seed {own[1]} at update {own[2]}: it does not belong there"
        )


def arrays(state: TrainState) -> Arrays:
    """Copies of all that a state holds, as arrays of numbers; jax.jit may wrap it."""
    return {
        "parameters": jax.tree.map(jnp.copy, state.parameters),
        "moments": jax.tree.map(jnp.copy, state.moments),
        "step": jnp.copy(state.step),
        "key": jax.random.key_data(state.key),
    }


def _names(wave: list[Cell]) -> str:
    return ", ".join(f"{arm} seed {seed}" for arm, seed in wave)
