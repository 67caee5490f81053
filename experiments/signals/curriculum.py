"""Cells of the order of families in context: the transformer of the main job, taught family after
family, in the orders that transfer between pairs foretells to be the best and the worst."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.transformer import Parameters
from envs.keys import new_key
from experiments.compare import Comparison
from experiments.folder import RunFolder
from experiments.presets import QUICK
from experiments.progress import Progress
from experiments.signals.config import SignalsConfig
from icl.signals import order
from icl.train import Numbers, Program, Run

TASK = dataclasses.replace(
    QUICK, arms=("bursty",), readers=(), test_families=(), demonstrations=("whole",), demos=1,
    episodes=4, runs_per_device=1, devices=1,
)  # fmt: skip
"""The main job's families, model and contexts."""
STAGE = 150
"""Updates of a stage; all families together take as many stages as there are families. The
checkpoint that all start from has had one of them together."""


def schooled(config: SignalsConfig, arm: str, seed: int) -> dict[str, Any]:
    """The scores after every way of teaching: 0 is random and 1 optimal play in unseen levels of
    a family, of which one demonstration is shown.

    Args:
        config: of it, whether it is the smallest preset.
        arm: of the contexts.
        seed: of levels, parameters and data.

    Returns:
        ``ways``: of each way the score of every family and of all: at the ``start``, in the orders
        predicted to be ``best`` and ``worst``, all ``joint``, and weights ``merged``. ``moved``:
        b[i, j], ``gap``: by how much the two orders were predicted to differ.
    """
    school = _school(arm, config.preset == "smoke")
    families = len(school.names)
    begun = school.job.initial(seed)[1].parameters
    start = school.stage(begun, seed, None, 0)
    singles = [school.stage(start, seed, i, 1) for i in range(families)]
    # What foretells is measured apart: in levels that were trained on, with dice of its own.
    apart = [school.stage(start, seed, i, 0) for i in range(families)]
    moved = order.transfer(
        school.scores(start, seed, "seen-level"),
        np.stack([school.scores(x, seed, "seen-level") for x in apart]),
    )
    scores = school.scores(start, seed)
    ranks = order.ranked(moved)

    def follow(taken: order.Order) -> Parameters:
        found = singles[taken[0]]
        for place, family in enumerate(taken[1:], 2):
            found = school.stage(found, seed, family, place)
        return found

    mean = jax.tree.map(lambda *x: jnp.stack(x).mean(0), *singles)
    ways = {
        "start": scores,
        "best": school.scores(follow(ranks[0]), seed),
        "worst": school.scores(follow(ranks[-1]), seed),
        "joint": school.scores(school.stage(start, seed, None, 1, parts=families), seed),
        "merged": school.scores(mean, seed),
    }
    ends = [order.predicted(moved, taken) / families for taken in (ranks[0], ranks[-1])]
    between = ~np.eye(families, dtype=bool)
    return {
        "ways": {
            way: {
                family: {"reached": float(value)}
                for family, value in zip((*school.names, "all"), (*found, found.mean()))
            }
            for way, found in ways.items()
        },
        "told": {
            "gap": ends[0] - ends[1],
            "mean": float(moved[between].mean()),
            "own": float(np.diag(moved).mean()),
            "best": ", ".join(school.names[i] for i in ranks[0]),
            "worst": ", ".join(school.names[i] for i in ranks[-1]),
        },
        "moved": moved.tolist(),
    }


@dataclasses.dataclass(frozen=True)
class School:
    """A comparison's programs, for one family at a time and for all of them.

    Attributes:
        job: of one arm; it serves every seed.
        updates: of a stage.
    """

    job: Comparison
    updates: int

    @property
    def names(self) -> tuple[str, ...]:
        """The families, in the order of their numbers."""
        return self.job.config.families

    def stage(
        self, parameters: Parameters, seed: int, family: int | None, place: int, parts: int = 1
    ) -> Parameters:
        """The parameters after ``parts`` · ``updates`` more, with moments and a schedule of their
        own, on one family or on all (None); an update reads as many contexts either way. The data
        are told by seed, family and place."""
        number = 0 if family is None else family + 1
        key = jax.random.fold_in(new_key(seed), 2**27 + 64 * place + number)
        numbers = dataclasses.replace(self._numbers, updates=float(parts * self.updates))
        levels = self.job.levels(seed).train
        own = levels if family is None else levels[family : family + 1]
        arm = self.job.arm(self.job.config.arms[0])
        states = self.job.stack([self.job.program.start(parameters, key)])
        runs = self.job.stack([Run(arm, numbers, own)])
        program, losses = self._together if family is None else self._alone, []
        for _ in range(parts):
            states, metrics = program(states, runs)
            losses.append(metrics.loss)
        if not np.isfinite(losses).all():
            raise FloatingPointError(f"seed {seed}: the loss is no number; lower learning_rate")
        return jax.tree.map(lambda x: x[0], states.parameters)

    def scores(self, parameters: Parameters, seed: int, split: str = "unseen-level") -> np.ndarray:
        """float[K]: of each family, after one demonstration, actions sampled."""
        cell = (self.job.config.arms[0], seed)
        (found,) = self.job.test(self._tester, [cell], self.job.stack([parameters]))
        wanted = {"split": split, "demos": 1, "acting": "sampled"}
        rows = [
            row
            for row in self.job.rows(cell, found)
            if all(row[field] == value for field, value in wanted.items())
        ]
        return np.array([next(r["score"] for r in rows if r["family"] == x) for x in self.names])

    @property
    def _numbers(self) -> Numbers:
        c = self.job.config
        return Numbers(c.learning_rate, float(c.warmup), 0.0, c.weight_decay, c.head_start)

    @functools.cached_property
    def _together(self) -> Any:
        """The compiled training of ``updates`` updates on all families."""
        return self._compiled(self.job.program)

    @functools.cached_property
    def _alone(self) -> Any:
        """The same on one family, which fills a batch."""
        program = self.job.program
        shapes = dataclasses.replace(program.config, levels=self.job.config.contexts)
        return self._compiled(dataclasses.replace(program, config=shapes))

    def _compiled(self, program: Program) -> Any:
        pools = self.updates // program.config.pool
        return self.job.side_by_side(lambda state, run: program.chunk(state, run, pools))

    @functools.cached_property
    def _tester(self) -> Any:
        return self.job.tester(self.job.model)


@functools.lru_cache(maxsize=2)
def _school(arm: str, small: bool) -> School:
    config = dataclasses.replace(TASK, arms=(arm,))
    if small:
        config = dataclasses.replace(
            config, train_levels=128, levels=16, episodes=1, contexts=16, width=32, layers=1
        )
    folder = RunFolder(Path(tempfile.gettempdir()) / "levelburst-curriculum")  # nothing is kept
    job = Comparison(config, folder, Progress(silent=True))
    return School(job, 4 if small else STAGE)
