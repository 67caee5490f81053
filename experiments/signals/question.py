"""A question: settings in which methods are graded or trained, and the claims that decide it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.signals.config import SignalsConfig, VoteConfig
from experiments.study import Verdict

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Spot:
    """One setting, as it is measured with every seed.

    Attributes:
        at: its place, axis by axis.
        kind: of a cell (experiments/signals/cells.py).
        config: what is measured.
        method: of it; or a regime.
        part: the names that lead to its values in those of the cell.
    """

    at: Mapping[str, float | str]
    kind: str
    config: SignalsConfig | VoteConfig
    method: str
    part: tuple[str, ...] = ()


class Answers:
    """The rows of a question.

    Args:
        rows: each with the place of its spot, its seed and its values.
    """

    def __init__(self, rows: Sequence[Row]):
        self.rows = list(rows)

    def __call__(self, field: str, **at: Any) -> dict[int, Any]:
        """seed -> the value, or the curve, at the one spot of a place.

        Raises:
            LookupError: no spot is there, or several.
        """
        rows = [r for r in self.rows if all(r.get(name) == value for name, value in at.items())]
        found = {row["seed"]: row[field] for row in rows}
        if not found or len(found) < len(rows):
            raise LookupError(f"{len(rows)} rows for {len(found)} seeds at {at}")
        return found

    def mean(self, field: str, **at: Any) -> dict[int, float]:
        """seed -> the mean of a curve after its start."""
        return {seed: sum(path[1:]) / len(path[1:]) for seed, path in self(field, **at).items()}

    def last(self, field: str, **at: Any) -> dict[int, float]:
        """seed -> the end of a curve."""
        return {seed: path[-1] for seed, path in self(field, **at).items()}


@dataclasses.dataclass(frozen=True)
class Question:
    """Attributes:
    name: as a person types it.
    text: in one sentence.
    axes: across, and what tells lines apart; "training" across draws curves of success.
    spots: the settings, from a preset.
    claims: verdicts from the answers.
    paper: what the literature found, in words.
    drawn: the measures in the still picture, a row each; the first that there is by default.
    """

    name: str
    text: str
    axes: tuple[str, str]
    spots: Callable[[SignalsConfig], list[Spot]]
    claims: Callable[[Answers], list[Verdict]]
    paper: str
    drawn: tuple[str, ...] = ()
