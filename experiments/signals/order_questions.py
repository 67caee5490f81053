"""The questions that the order of training is asked (Omni-Thinker, arXiv 2507.14783)."""

from __future__ import annotations

import math

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level, slope
from icl.signals.order import agreement, standing

STARTS = {
    "imitated": ("base", "trained", "joint"),
    "practised": ("base", "trained", "joint", "imitated"),
}
"""Checkpoints that orders start from -> those that transfer is measured from. The first is its own
``imitated``."""
RANKS = range(1, 25)
LINES = ("measured", "predicted", "joint", "merged", "start")
CLOSED = ("dark-room", "key-door", "combination-lock")
OPEN = "coverage"
SHARES = tuple(range(0, 101, 10))


def _order_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"part": start, "rank": rank, "line": line}, "order", base, start,
             ("orders", str(rank), line))
        for start in STARTS
        for rank in RANKS
        for line in LINES
    ]  # fmt: skip


def _pooled(found: Answers, start: str) -> tuple[dict[int, float], dict[int, float]]:
    """seed -> how the scores measured with it agree with the predictions of b averaged over all
    other seeds (Spearman), and where the order that those call the best stands among them."""
    measured: dict[int, dict[str, float]] = {}
    guessed: dict[int, dict[str, float]] = {}
    for rank in RANKS:
        words, scores, guesses = (
            found(field, part=start, rank=rank, line=line)
            for field, line in (
                ("order", "measured"), ("reached", "measured"), ("reached", "predicted")
            )
        )  # fmt: skip
        for seed, taken in words.items():
            measured.setdefault(seed, {})[taken] = scores[seed]
            guessed.setdefault(seed, {})[taken] = guesses[seed]
    alike, stands = {}, {}
    for seed, own in measured.items():
        others = [guessed[other] for other in guessed if other != seed] or [guessed[seed]]
        mean = [sum(guess[name] for guess in others) / len(others) for name in own]
        alike[seed] = agreement(mean, list(own.values()))
        stands[seed] = standing(list(own.values()), mean.index(max(mean)))
    return alike, stands


def _order_claims(found: Answers) -> list[Verdict]:
    made = []
    for start in STARTS:

        def value(field: str, line: str = "measured", start: str = start) -> dict[int, float]:
            return found(field, part=start, rank=1, line=line)

        alike, stands = _pooled(found, start)
        best, joint, soup = (value("reached", line) for line in ("measured", "joint", "merged"))
        made += [
            claim("", f"{start}: predicted and measured scores of the 24 orders agree (Spearman "
                  "0.5 or more)", level(value("spearman")), (0.5, math.inf)),
            claim("", f"{start}: the order predicted to be best is in the top quartile (share of "
                  "the others that do better)", level(value("standing")), (-math.inf, 0.25)),
            claim("", f"{start}: with b averaged over the other seeds they agree, too (0.5 or "
                  "more)",
                  level(alike), (0.5, math.inf)),
            claim("", f"{start}: and the order that is the best by it is in the top quartile",
                  level(stands), (-math.inf, 0.25)),
            claim("", f"{start}: the best of all tables b explains half of the variance of the "
                  "measured scores", level(value("additive")), (0.5, math.inf)),
            claim("", f"{start}: the order predicted to be best beats the average order",
                  difference(best, value("average")), ABOVE),
            claim("", f"{start}: it beats training all tasks together",
                  difference(best, joint), ABOVE, "+6.2 %"),
            claim("", f"{start}: the best of all orders, known afterwards, beats it, too",
                  difference(value("highest"), joint), ABOVE),
            claim("", f"{start}: the order predicted to be best beats merged weights",
                  difference(best, soup), ABOVE, "+12.4 %"),
            claim("", f"{start}: training together beats merged weights",
                  difference(joint, soup), ABOVE),
        ]  # fmt: skip
    return made


ORDER = Question(
    "order",
    "Does transfer between pairs of tasks foretell the best order of training, and is it worth it?",
    ("rank", "line"),
    _order_spots,
    _order_claims,
    "Omni-Thinker (arXiv 2507.14783): four domains one after another, ordered by backward "
    "transfer, +6.2 % over training them together and +12.4 % over merging.",
    ("reached",),
)


def _transfer_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"start": start, "from": view}, "order", base, start, ("views", view))
        for start in STARTS
        for view in STARTS[start]
    ]


def _transfer_claims(found: Answers) -> list[Verdict]:
    made = []
    for start in STARTS:

        def value(field: str, view: str, start: str = start) -> dict[int, float]:
            return found(field, start=start, **{"from": view})

        made += [
            claim("", f"{start}: b is the same from the base as where j was trained (correlation "
                  "over pairs 0.8 or more)", level(value("alike", "trained")), (0.8, math.inf)),
            claim("", f"{start}: by how much the two differ (0.05 at most)",
                  level(value("shift", "trained")), (0.0, 0.05)),
            claim("", f"{start}: b is the same from the base as after training together "
                  "(correlation 0.8 or more)", level(value("alike", "joint")), (0.8, math.inf)),
            claim("", f"{start}: tasks lose more where they were trained than in the base (mean b)",
                  difference(value("mean", "trained"), value("mean", "base")), BELOW),
            claim("", f"{start}: b where j was trained foretells better than b from the base",
                  difference(value("spearman", "trained"), value("spearman", "base")), ABOVE),
            claim("", f"{start}: b after training together foretells better than b from the base",
                  difference(value("spearman", "joint"), value("spearman", "base")), ABOVE),
        ]  # fmt: skip
    early = {x: found(x, start="practised", **{"from": "imitated"}) for x in ("alike", "spearman")}
    late = found("spearman", start="practised", **{"from": "base"})
    made += [
        claim("", "practised: b is the same before and after the practice (correlation 0.8 or "
              "more)", level(early["alike"]), (0.8, math.inf)),
        claim("", "practised: b after the practice foretells better than b before it",
              difference(late, early["spearman"]), ABOVE),
    ]  # fmt: skip
    return made


TRANSFER = Question(
    "transfer",
    "How does transfer between tasks move with the checkpoint that it is measured from?",
    ("from", "start"),
    _transfer_spots,
    _transfer_claims,
    "The paper measures transfer once and does not say how it moves.",
    ("spearman", "shift"),
)


def _entropy_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"part": f"{start}, {stage} stage", "percent": share, "task": task}, "order", base,
             start, ("courses", stage, task, str(share)))
        for start in STARTS
        for stage in ("first", "any")
        for task in (*CLOSED, OPEN)
        for share in SHARES
    ]  # fmt: skip


def _entropy_claims(found: Answers) -> list[Verdict]:
    made = []
    for start in STARTS:
        for stage in ("first", "any"):

            def climb(task: str, part: str = f"{start}, {stage} stage") -> list[dict[int, float]]:
                return [found("nats", part=part, percent=x, task=task) for x in SHARES]

            shares = [x / 100 for x in SHARES]
            made += [
                claim("", f"{start}, {stage} stage: entropy falls in {task} (slope)",
                      slope(shares, climb(task)), BELOW)
                for task in CLOSED
            ]  # fmt: skip
            made.append(
                claim("", f"{start}, {stage} stage: it does not fall in {OPEN}",
                      slope(shares, climb(OPEN)), ABOVE)
            )  # fmt: skip
    return made


ENTROPY = Question(
    "entropy",
    "Do tasks with right answers lower the entropy of a policy, and does an open one raise it?",
    ("percent", "task"),
    _entropy_spots,
    _entropy_claims,
    "Omni-Thinker: structured tasks lower the entropy of what is said, open-ended ones raise it.",
    ("nats",),
)
