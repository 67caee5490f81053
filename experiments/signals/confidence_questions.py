"""The questions that local confidence is asked (DeepConf, arXiv 2508.15260)."""

from __future__ import annotations

import math

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level, slope

REGIMES = ("falters", "recovers", "forgets", "late", "collapses", "confidently-wrong")
SCORES = ("tail", "lowest", "bottom-10", "mean")
ORDER = (
    ("tail", "lowest", "84.6, 84.4"),
    ("lowest", "bottom-10", "84.4, 84.0"),
    ("bottom-10", "mean", "84.0, 83.9"),
)
WAYS = (
    "majority", "consensus", "weighted/lowest", "kept-low/lowest", "kept-high/lowest",
    "online-low", "online-high",
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
            claim(
                "",
                f"{regime}: {first} foretells more than {second}",
                difference(area(first), area(second)),
                ABOVE,
                paper,
            )
            for first, second, paper in ORDER
        ]
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

# When a breakdown comes, and how much lanes differ for no reason. ---------------------------------
BREAKS = (0.0, 0.25, 0.5, 0.75, 0.9)  # share of the best episode before which none begins
TONES = (0.0, 0.1, 0.2, 0.4)  # standard deviation, from lane to lane, of the log of the sharpness


def _lateness_spots(base: SignalsConfig) -> list[Spot]:
    def spot(part: str, x: float, field: str, score: str) -> Spot:
        regime = f"forgets@{field}={x:g}"
        return Spot({"part": part, "amount": x, "score": score}, "foretell", base, regime,
                    ("breakdown", score))  # fmt: skip

    return [
        spot(part, x, field, score)
        for part, field, amounts in (
            ("earliest breakdown", "earliest", BREAKS),
            ("noise between lanes", "lane_noise", TONES),
        )
        for x in amounts
        for score in SCORES
    ]  # fmt: skip


def _lateness_claims(found: Answers) -> list[Verdict]:
    def lead(one: str, other: str, part: str, x: float) -> dict[int, float]:
        first, second = (found("auroc", part=part, amount=x, score=s) for s in (one, other))
        return {seed: first[seed] - second[seed] for seed in first}

    late = [lead("tail", "lowest", "earliest breakdown", x) for x in BREAKS]
    local = [lead("lowest", "mean", "noise between lanes", x) for x in TONES]
    return [
        claim("", "the later breakdowns come, the more the tail leads the lowest window (slope)",
              slope(BREAKS, late), ABOVE),
        claim("", "the tail leads where none comes before the last tenth", level(late[-1]), ABOVE),
        claim("", "the lowest window leads where they come at any time", level(late[0]), BELOW),
        claim("", "the more lanes differ for no reason, the more local confidence leads the mean "
              "(slope)", slope(TONES, local), ABOVE),
    ]  # fmt: skip


LATENESS = Question(
    "lateness",
    "What decides which score of confidence foretells most?",
    ("amount", "score"),
    _lateness_spots,
    _lateness_claims,
    "The paper ranks the scores and does not say when the ranking holds.",
)

# A trained model. ---------------------------------------------------------------------------------
SHOWN = (0, 1, 3)  # demonstrations in its context


def _reader_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"part": "foretells", "demonstrations": shown, "by": score}, "read", base, str(shown),
             ("scores", score))
        for shown in SHOWN
        for score in SCORES
    ] + [
        Spot({"part": "votes", "demonstrations": shown, "by": way}, "read", base, str(shown),
             ("votes", way))
        for shown in SHOWN
        for way in WAYS
    ]  # fmt: skip


def _reader_claims(found: Answers) -> list[Verdict]:
    def value(part: str, field: str, by: str, shown: int = 1) -> dict[int, float]:
        return found(field, part=part, by=by, demonstrations=shown)

    area = {score: value("foretells", "auroc", score) for score in SCORES}
    made = [
        claim("", "its confidence foretells success (mean, AUROC above one half)",
              level({seed: x - 0.5 for seed, x in area["mean"].items()}), ABOVE),
        *(
            claim("", f"{first} foretells more than {second}",
                  difference(area[first], area[second]), ABOVE, paper)
            for first, second, paper in ORDER
        ),
        claim("", "local confidence (lowest) leads the mean by .05 or more",
              difference(area["lowest"], area["mean"]), (0.05, math.inf)),
    ]  # fmt: skip
    for shown in SHOWN[1:]:
        majority = value("votes", "right", "majority", shown)
        for keep, least, paper in (("low", 0.4, "43 to 85 %"), ("high", 0.1, "")):
            online = value("votes", "right", f"online-{keep}", shown)
            saved = value("votes", "saved", f"online-{keep}", shown)
            words = f"{shown} shown, online-{keep}"
            made += [
                claim("", f"{words}: loses 1 point at most to majority@128",
                      difference(online, majority), (-0.01, math.inf)),
                claim("", f"{words}: saves {least:.0%} of the actions or more, warm-up counted",
                      level(saved), (least, math.inf), paper),
            ]  # fmt: skip
    return made


READER = Question(
    "reader",
    "Does the confidence of a trained in-context learner foretell its success?",
    ("demonstrations", "by"),
    _reader_spots,
    _reader_claims,
    "Accuracy of votes over the best tenth of the traces by each score, 23 model-dataset pairs: "
    "tail 84.6, lowest 84.4, bottom-10 84.0, mean 83.9, majority 83.0.",
    ("auroc", "right"),
)
