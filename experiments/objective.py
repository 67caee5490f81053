"""What a sweep compares its trials by: one number, from rows or on the way. No JAX here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.families import known

if TYPE_CHECKING:  # SciPy, which a person's mistake does not wait for
    from experiments.results import Row
    from icl.statistics import Interval

SPLITS = ("seen-level", "unseen-level", "unseen-family")
Scores = dict[int, float]  # of each seed


@dataclasses.dataclass(frozen=True)
class Objective:
    """The mean over seeds of an arm's score, or of its lead over another arm, paired by seed.

    A score is that of ``results.json``'s row with family ``all`` (the families of the split
    together), demonstrations ``whole`` and acting ``sampled``.
    """

    arm: str = "bursty"
    """The arm whose score it is."""
    minus: str = ""
    """An arm or reader whose score of the same seed is taken off; none where empty."""
    split: str = "unseen-level"
    """Levels that it is tested on: seen-level, unseen-level or unseen-family."""
    demos: int = 1
    """k, the number of demonstrations."""
    mode: str = "max"
    """Which is best: max or min."""

    def check(self, config: CompareConfig) -> None:
        """Raises ConfigError where a comparison of this config does not measure it."""
        known("objective.split", (self.split,), SPLITS)
        known("objective.mode", (self.mode,), ("max", "min"))
        names = config.arms + config.readers
        known("objective.arm", (self.arm,), names)
        if self.minus:
            known("objective.minus", (self.minus,), names)
        if self.minus == self.arm:
            raise ConfigError(f"objective.minus is {self.minus!r}, as arm is; name another arm")
        if not 0 <= self.demos <= config.demos:
            raise ConfigError(
                f"objective.demos is {self.demos}: tests show 0 to {config.demos} demonstrations; "
                "lower it or raise demos"
            )
        if self.split == "unseen-family" and not set(config.test_families) - set(config.families):
            raise ConfigError(
                "objective.split is 'unseen-family', but test_families holds none that is not "
                "trained on; name one"
            )

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it takes."""
        return (self.arm, self.minus) if self.minus else (self.arm,)

    def measure(self, found: Mapping[str, Scores]) -> Interval | None:
        """The objective from the scores of each arm; None as long as there are too few."""
        from icl.statistics import interval, paired

        first = found.get(self.arm, {})
        if not self.minus:
            return interval([first[seed] for seed in sorted(first)]) if first else None
        second = found.get(self.minus, {})
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        return paired([first[seed] for seed in seeds], [second[seed] for seed in seeds])

    def of_rows(self, rows: Sequence[Row]) -> dict[str, Scores]:
        """The scores that it takes, from rows of ``results.json``."""
        from experiments.results import scores

        return {arm: scores(rows, arm, self.split, self.demos) for arm in self.arms}

    def of_lines(self, lines: Iterable[Mapping[str, Any]]) -> dict[str, Scores]:
        """The same from lines of kind ``evaluation`` of ``metrics.jsonl``; the last of a seed
        counts."""
        found: dict[str, Scores] = {arm: {} for arm in self.arms}
        for line in lines:
            if line["arm"] in found and (line["split"], line["demos"]) == (self.split, self.demos):
                found[line["arm"]][line["seed"]] = line["score"]
        return found

    @property
    def words(self) -> str:
        """What is measured, for people."""
        shots = {0: "zero-shot", 1: "one-shot"}.get(self.demos, f"{self.demos}-shot")
        where = {"seen-level": "seen levels", "unseen-level": "unseen levels"}
        place = where.get(self.split, "the unseen family")
        lead = f"lead of {self.arm} over {self.minus}" if self.minus else f"score of {self.arm}"
        return f"{shots} {lead} on {place}"
