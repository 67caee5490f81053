"""A study: settings of the main job along one or two axes, and the claims that they can decide.

No JAX here: what a study holds and costs is said before it starts.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.config import CompareConfig
from experiments.results import Row, first_reach
from icl.statistics import Interval, interval, lies, paired

Verdict = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting of a study.

    Attributes:
        at: its place, axis by axis: a number, or a name.
        config: what is trained and tested; its ``arms`` do not matter.
        arm: the arm, or a reader.
    """

    at: Mapping[str, float | str]
    config: CompareConfig
    arm: str

    @property
    def label(self) -> str:
        """Its place in words."""
        return ", ".join(f"{axis} {value}" for axis, value in self.at.items())


class Found:
    """The rows of a study's points.

    Args:
        points: the settings.
        rows: of each of them, the rows of all its seeds.
        curves: of each of them, the lines of kind ``evaluation`` of its trainings.
        probes: of each of them, the rows of its probes.
    """

    def __init__(
        self,
        points: Sequence[Point],
        rows: Sequence[Sequence[Row]],
        curves: Sequence[Sequence[Row]] = (),
        probes: Sequence[Sequence[Row]] = (),
    ):
        self.points, self._rows = list(points), [list(part) for part in rows]
        self._curves = [list(part) for part in curves] or [[] for _ in self.points]
        self._probes = [list(part) for part in probes] or [[] for _ in self.points]

    @functools.cached_property
    def rows(self) -> list[Row]:
        """All rows, each with the place of its point on the axes."""
        return self._placed(self._rows)

    @functools.cached_property
    def curves(self) -> list[Row]:
        """All evaluations on the way, likewise."""
        return self._placed(self._curves)

    @functools.cached_property
    def probes(self) -> list[Row]:
        """All rows of probes, likewise."""
        return self._placed(self._probes)

    def _placed(self, parts: list[list[Row]]) -> list[Row]:
        pairs = zip(self.points, parts, strict=True)
        return [dict(point.at) | row for point, part in pairs for row in part]

    def scores(self, split: str = "unseen-level", demos: int = 1, **at: Any) -> dict[int, float]:
        """seed -> score of the one point at a place; families pooled, actions sampled.

        Args:
            split: as in a row.
            demos: k.
            at: the place, and other fields of a row, as ``demonstrations`` or ``family``.

        Raises:
            LookupError: no point, or several, are there.
        """
        return _one(self.rows, {"acting": "sampled", "split": split, "demos": demos} | at)

    def probe(
        self, measure: str, split: str = "unseen-level", demos: int = 1, **at: Any
    ) -> dict[int, float]:
        """seed -> a measure of icl/probes.py, likewise."""
        return _one(self.probes, {"measure": measure, "split": split, "demos": demos} | at)

    def peaks(self, split: str = "unseen-level", demos: int = 1, **at: Any) -> dict[int, float]:
        """seed -> its score at the update where the *other* seeds' mean was highest: a maximum of
        its own would be too high by the noise of a test."""
        paths = self._paths(split, demos, at)
        found = {}
        for seed, path in paths.items():
            others = [other for name, other in paths.items() if name != seed] or [path]
            best = max(path, key=lambda update: sum(other[update] for other in others))
            found[seed] = path[best]
        return found

    def updates_to(
        self, score: float, split: str = "unseen-level", demos: int = 1, **at: Any
    ) -> dict[int, float]:
        """seed -> updates until the curve first reaches a score; its last update where it never
        does."""
        paths = self._paths(split, demos, at)
        reached = {s: first_reach(sorted(path.items()), score) for s, path in paths.items()}
        return {s: max(paths[s]) if x is None else x for s, x in reached.items()}

    def _paths(self, split: str, demos: int, at: dict[str, Any]) -> dict[int, dict[int, float]]:
        """seed -> update -> score, of the evaluations on the way."""
        wanted = {"split": split, "demos": demos} | at
        paths: dict[int, dict[int, float]] = {}
        for line in self.curves:
            if all(line.get(field) == value for field, value in wanted.items()):
                paths.setdefault(line["seed"], {})[line["update"]] = line["score"]
        return paths


def _one(rows: Sequence[Row], at: Mapping[str, Any]) -> dict[int, float]:
    """seed -> score of the rows at one place; families pooled, whole demonstrations, unless said
    otherwise."""
    wanted = {"family": "all", "demonstrations": "whole"} | dict(at)
    found: dict[int, float] = {}
    for row in rows:
        if all(row.get(field) == value for field, value in wanted.items()):
            if row["seed"] in found:
                raise LookupError(f"several points at {at}")
            found[row["seed"]] = row["score"]
    if not found:
        raise LookupError(f"nothing was measured at {wanted}")
    return found


@dataclasses.dataclass(frozen=True)
class Study:
    """One question, the settings that answer it, and what is claimed of them.

    Attributes:
        name: as a person types it.
        question: in one sentence.
        axes: one for lines, two for a map (across, up); "demos" and "demonstrations" are axes that
            every point has.
        points: the settings, from the config that they vary.
        claims: verdicts from what was found.
        paper: what the literature found, in words, or "".
        published: points of the paper for the figure, (name of its line, [(x, y) …]); its scores
            are mean returns of other environments, so only their course compares.
        probes: whether its models are probed (icl/probes.py), too.
    """

    name: str
    question: str
    axes: tuple[str, ...]
    points: Callable[[CompareConfig], list[Point]]
    claims: Callable[[Found], list[Verdict]]
    paper: str = ""
    published: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    probes: bool = False


# Claims. -----------------------------------------------------------------------------------
Region = tuple[float, float]
"""Where a claim says that the truth lies: between two numbers, either of them infinite."""

ABOVE: Region = (0.0, math.inf)
BELOW: Region = (-math.inf, 0.0)


def within(margin: float) -> Region:
    """As good as 0."""
    return -margin, margin


def claim(ordering: str, text: str, found: Interval, region: Region, paper: str = "") -> Verdict:
    """A verdict: the claim holds where the whole interval lies in the region, it does not where
    the whole interval lies outside, and where the interval reaches over an end it stays open.

    Args:
        ordering: S1 … S12 of the literature's orderings that it speaks of, or "".
        text: the claim in words.
        found: its estimate.
        region: what the claim says of it.
        paper: the literature's figure.
    """
    return {
        "ordering": ordering,
        "claim": text,
        **dataclasses.asdict(found),
        "holds": lies(found, *region),
        "paper": paper,
    }


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Interval:
    """The paired difference over the seeds that both have."""
    seeds = sorted(first.keys() & second.keys())
    return paired([first[s] for s in seeds], [second[s] for s in seeds])


def level(scores: Mapping[int, float]) -> Interval:
    """The mean over seeds."""
    return interval([scores[seed] for seed in sorted(scores)])


def slope(xs: Sequence[float], cells: Sequence[Mapping[int, float]]) -> Interval:
    """The least-squares slope of the score over x, one a seed: a contrast of matched runs."""
    seeds = sorted(set.intersection(*(set(cell) for cell in cells)))
    away = np.asarray(xs, float) - np.mean(xs)
    slopes = [
        float(away @ np.array([cell[seed] for cell in cells]) / (away @ away)) for seed in seeds
    ]
    return paired(slopes, [0.0] * len(slopes))


def mean_of(cells: Iterable[Mapping[int, float]]) -> dict[int, float]:
    """seed -> mean of several cells."""
    parts = list(cells)
    seeds = sorted(set.intersection(*(set(cell) for cell in parts)))
    return {seed: float(np.mean([cell[seed] for cell in parts])) for seed in seeds}
