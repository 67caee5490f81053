"""The questions that local confidence is asked (DeepConf, arXiv 2508.15260)."""

from __future__ import annotations

import math

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level

REGIMES = ("falters", "recovers", "forgets", "late", "collapses", "confidently-wrong")
SCORES = ("tail", "lowest", "bottom-10", "mean")
WAYS = (
    "majority", "weighted/lowest", "kept-low/lowest", "kept-high/lowest", "online-low",
    "online-high",
)  # fmt: skip


def _omens_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"regime": regime, "noise": noise, "score": score}, "foretell", base, regime,
             (noise, score))
        for noise in ("breakdown", "even")
        for regime in REGIMES
        for score in SCORES
    ] + [
        Spot({"regime": regime, "noise": "breakdown", "score": "place"}, "foretell", base, regime,
             ("found",))
        for regime in REGIMES
    ]  # fmt: skip


def _omens_claims(found: Answers) -> list[Verdict]:
    made = []
    for regime in REGIMES:

        def area(score: str, noise: str = "breakdown", regime: str = regime) -> dict[int, float]:
            return found("auroc", regime=regime, noise=noise, score=score)

        made += [
            claim("", f"{regime}: {first} foretells more than {second}",
                  difference(area(first), area(second)), ABOVE, paper)
            for first, second, paper in (
                ("tail", "lowest", "84.6, 84.4"), ("lowest", "bottom-10", "84.4, 84.0"),
                ("bottom-10", "mean", "84.0, 83.9"),
            )
        ]  # fmt: skip
        made += [
            claim("", f"{regime}: local confidence (lowest) leads the mean by .05 or more",
                  difference(area("lowest"), area("mean")), (0.05, math.inf)),
            claim("", f"{regime}: with the noise spread evenly it leads by .02 at most",
                  difference(area("lowest", "even"), area("mean", "even")), (-math.inf, 0.02)),
            claim("", f"{regime}: the lowest window lies at the breakdown twice as often as chance",
                  level(found("ratio", regime=regime, score="place")), (2.0, math.inf)),
        ]  # fmt: skip
    return made


OMENS = Question(
    "confidence",
    "Does a local drop of confidence foretell failure better than confidence as a whole?",
    ("regime", "score"),
    _omens_spots,
    _omens_claims,
    "Accuracy of votes over the best tenth of the traces by each score, 23 model-dataset pairs: "
    "tail 84.6, lowest 84.4, bottom-10 84.0, mean 83.9, majority 83.0.",
)


def _votes_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"regime": regime, "budget": budget, "way": way}, "vote", base, regime,
             (str(number), way))
        for number, budget in enumerate(("K = 128", "K = 256"))
        for regime in REGIMES
        for way in WAYS
    ]  # fmt: skip


def _votes_claims(found: Answers) -> list[Verdict]:
    made = []
    for regime in REGIMES:

        def value(field: str, way: str, regime: str = regime) -> dict[int, float]:
            return found(field, regime=regime, budget="K = 128", way=way)

        if regime == "confidently-wrong":
            lead = difference(value("right", "kept-low/lowest"), value("right", "majority"))
            paper = "92.9 → 88.9"
            made.append(claim("", f"{regime}: keeping the surest tenth loses", lead, BELOW, paper))
            continue
        lead = difference(value("right", "online-low"), value("right", "majority"))
        made += [
            claim("", f"{regime}: online votes lose 1 point at most to majority@128", lead,
                  (-0.01, math.inf)),
            claim("", f"{regime}: they save 40 % of the actions or more, warm-up counted",
                  level(value("saved", "online-low")), (0.4, math.inf), "43 to 85 %"),
        ]  # fmt: skip
    return made


VOTES = Question(
    "votes",
    "What do votes by confidence save, and when do they lose?",
    ("regime", "way"),
    _votes_spots,
    _votes_claims,
    "Online, traces whose window falls below a threshold are stopped: 43 to 85 % fewer tokens at "
    "equal or better accuracy; keeping the surest tenth can lose where a policy is confidently "
    "wrong.",
)
