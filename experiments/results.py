"""Rows and verdicts of ``results.json``. A row is one measured cell, a verdict is one claim."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.conditions import ACTINGS
from icl.statistics import Interval, interval, lies, paired

Row = dict[str, Any]


def rows_of(
    head: Row,
    names: Sequence[tuple[str, str]],
    results: Sequence[Any],
    kinds: Sequence[str],
    *,
    leave_out: Sequence[str] = (),
    actings: Sequence[str] = ACTINGS,
) -> list[Row]:
    """Rows of one arm and seed.

    Args:
        head: arm, chunk, p_b and seed.
        names: (family, split) of each result.
        results: ``icl.evaluate.Result`` with NumPy arrays.
        kinds: of demonstrations, in the order of the results.
        leave_out: kinds that are not reported.
        actings: which ways of acting to report.

    Returns:
        A row for each family of each split and, as family ``all``, for the families of a split
        together: sums run over the levels of all of them. ``hit`` is the share of the steps played
        whose observation was demonstrated.
    """
    rows = []
    for split in dict.fromkeys(split for _, split in names):
        own = [(f, r) for (f, s), r in zip(names, results, strict=True) if s == split]
        for family, parts in [("all", [r for _, r in own]), *((f, [r]) for f, r in own)]:
            returns = np.concatenate([r.returns for r in parts], axis=1)
            success = np.concatenate([r.success for r in parts], axis=1)
            steps, hits = (
                np.concatenate([getattr(r, name) for r in parts], axis=1)
                for name in ("steps", "hits")
            )
            references = np.concatenate([r.references for r in parts])
            for d, a, k in np.ndindex(len(kinds), len(ACTINGS), returns.shape[2]):
                if kinds[d] in leave_out or ACTINGS[a] not in actings:
                    continue
                cell = returns[d, :, k, a]
                gain = cell.mean(1) - references[:, 0]
                rows.append(
                    head
                    | {
                        "split": split,
                        "family": family,
                        "demos": k,
                        "demonstrations": kinds[d],
                        "acting": ACTINGS[a],
                        "levels": cell.shape[0],
                        "episodes": cell.size,
                        "score": float(gain.sum() / (references[:, 1] - references[:, 0]).sum()),
                        "success": float(success[d, :, k, a].mean()),
                        "return": float(cell.mean()),
                        "hit": float(hits[d, :, k, a].sum() / steps[d, :, k, a].sum()),
                    }
                )
    return rows


def scores(
    rows: Sequence[Row],
    arm: str,
    split: str,
    demos: int,
    *,
    family: str = "all",
    demonstrations: str = "whole",
    acting: str = "sampled",
) -> dict[int, float]:
    """seed -> score of one arm in one cell."""
    wanted = {
        "arm": arm,
        "split": split,
        "demos": demos,
        "family": family,
        "demonstrations": demonstrations,
        "acting": acting,
    }
    return {
        row["seed"]: row["score"]
        for row in rows
        if all(row[field] == value for field, value in wanted.items())
    }


def verdicts_of(rows: Sequence[Row], curves: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """The claims that these rows can decide, whole demonstrations and sampled actions.

    ``holds`` is None where fewer than two seeds leave it open, or where the interval reaches over
    what is claimed of all of it.

    Args:
        rows: of all arms and seeds.
        curves: lines of kind ``evaluation`` of metrics.jsonl, for the time to learn.
    """
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    return [*_main(rows, arms), *_ladder(rows, arms), *_speed(curves, arms)]


def _main(rows: Sequence[Row], arms: list[str]) -> list[dict[str, Any]]:
    made = []
    unseen = {arm: scores(rows, arm, "unseen-level", 1) for arm in arms}
    zero = {arm: scores(rows, arm, "unseen-level", 0) for arm in arms}
    new = {arm: scores(rows, arm, "unseen-family", 1) for arm in arms}
    new_zero = {arm: scores(rows, arm, "unseen-family", 0) for arm in arms}
    if unseen.get("bursty"):
        one = _over_seeds(unseen["bursty"])
        made.append(
            _verdict(
                "bursty one-shot score on unseen levels is at least 0.4", one, one.estimate >= 0.4
            )
        )
        isolated = [arm for arm in arms if _base(arm) == "isolated-chunks" and unseen[arm]]
        chunked = [arm for arm in arms if _base(arm) == "bursty-chunks" and unseen[arm]]
        for arm in isolated:
            lead = _difference(unseen["bursty"], unseen[arm])
            claim = (
                f"bursty beats {arm} one-shot on unseen levels by at least 0.3, "
                "the interval above 0.2"
            )
            made.append(_verdict(claim, lead, lead.estimate >= 0.3 and lead.low > 0.2))
        made += [_above("bursty", arm, unseen) for arm in chunked]
        made += [
            _above(arm, other, unseen)
            for arm in chunked
            for other in isolated
            if arm.partition(":")[2] == other.partition(":")[2]
        ]
    learned = [arm for arm in arms if zero.get(arm) and not _reads(arm)]
    if learned:
        worst = max(learned, key=lambda arm: _over_seeds(zero[arm]).estimate)
        most = _over_seeds(zero[worst])
        claim = f"zero-shot score on unseen levels is at most 0.15 for every arm (highest: {worst})"
        made.append(_verdict(claim, most, most.estimate <= 0.15))
    if new.get("bursty"):
        one = _over_seeds(new["bursty"])
        gain = _difference(new["bursty"], new_zero["bursty"])
        made += [
            _verdict(
                "bursty one-shot score on the unseen family is above 0",
                one,
                lies(one, 0.0, math.inf),
            ),
            _verdict(
                "bursty one-shot is above its own zero-shot on the unseen family",
                gain,
                lies(gain, 0.0, math.inf),
            ),
        ]
    made += [
        _above("bursty", reader, unseen)
        for reader in ("hash-map", "nearest-neighbour")
        if unseen.get("bursty") and unseen.get(reader)
    ]
    return made


def _ladder(rows: Sequence[Row], arms: list[str]) -> list[dict[str, Any]]:
    """S12 of the study: bursty >= same-level chunks, rising with c, > foreign chunks = nothing."""
    unseen = {arm: scores(rows, arm, "unseen-level", 1) for arm in arms}
    zero = {arm: scores(rows, arm, "unseen-level", 0) for arm in arms}
    pairs = [("bursty-chunks", "shuffled"), ("shuffled", "isolated-chunks:1"), ("bursty", "single")]
    made = [_above(a, b, unseen) for a, b in pairs if unseen.get(a) and unseen.get(b)]
    for arm in ("nonbursty", "isolated-chunks", "isolated-chunks:1"):
        if "shuffled" in arms and unseen.get(arm):
            gain = _difference(unseen[arm], zero[arm])
            claim = f"{arm} gains nothing from one demonstration on unseen levels (within 0.05)"
            made.append(_verdict(claim, gain, lies(gain, -0.05, 0.05)))
    return made


def _speed(curves: Sequence[Row], arms: list[str]) -> list[dict[str, Any]]:
    """Time to learn, told apart from the plateau: updates until a one-shot score of 0.3.

    A run that never got there counts with its last update, which the claim says.
    """
    times: dict[str, dict[int, float]] = {}
    missed: dict[str, int] = {}
    for arm in arms:
        lines = [
            x for x in curves
            if x["arm"] == arm and x["split"] == "unseen-level" and x["demos"] == 1
        ]  # fmt: skip
        for seed in sorted({x["seed"] for x in lines}):
            path = sorted((x["update"], x["score"]) for x in lines if x["seed"] == seed)
            reached = first_reach(path, 0.3)
            missed[arm] = missed.get(arm, 0) + (reached is None)
            times.setdefault(arm, {})[seed] = path[-1][0] if reached is None else reached
    made = []
    fast = times.get("bursty", {})
    for slow in ("bursty-chunks", "shuffled"):
        if fast and fast.keys() == times.get(slow, {}).keys() and not missed["bursty"]:
            later = _difference(times[slow], fast)
            claim = f"{slow} needs more updates than bursty to a one-shot score of 0.3"
            if missed[slow]:
                claim += f" ({missed[slow]} of {len(fast)} never got there: a lower bound)"
            made.append(_verdict(claim, later, lies(later, 0.0, math.inf)))
    return made


def first_reach(path: Sequence[tuple[int, float]], score: float) -> float | None:
    """The update, interpolated linearly, at which a curve first reaches a score; None if never."""
    before = (0, 0.0)
    for update, value in path:
        if value >= score:
            share = (score - before[1]) / (value - before[1])
            return before[0] + share * (update - before[0])
        before = (update, value)
    return None


def _above(first: str, second: str, cells: dict[str, dict[int, float]]) -> dict[str, Any]:
    lead = _difference(cells[first], cells[second])
    claim = f"{first} is above {second}, one-shot on unseen levels"
    return _verdict(claim, lead, lies(lead, 0.0, math.inf))


def _base(arm: str) -> str:
    """The name of an arm without its chunk length."""
    return arm.partition(":")[0]


def _reads(arm: str) -> bool:
    return arm in ("hash-map", "nearest-neighbour")


def _over_seeds(cell: dict[int, float]) -> Interval:
    return interval([cell[seed] for seed in sorted(cell)])


def _difference(first: dict[int, float], second: dict[int, float]) -> Interval:
    seeds = sorted(first.keys() & second.keys())
    return paired([first[s] for s in seeds], [second[s] for s in seeds])


def _verdict(claim: str, found: Interval, holds: bool | None) -> dict[str, Any]:
    decided = None if holds is None or found.seeds < 2 else bool(holds)
    return {"claim": claim, **dataclasses.asdict(found), "holds": decided}
