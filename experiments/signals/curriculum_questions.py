"""The question that the order of families in context is asked (after Omni-Thinker, arXiv
2507.14783)."""

from __future__ import annotations

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level

ARM = "bursty"
FAMILIES = ("dark-room", "teleporters", "lava-crossing", "key-door")
WAYS = ("start", "worst", "best", "joint", "merged")


def _spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"taught": way, "family": family}, "curriculum", base, ARM, ("ways", way, family))
        for way in WAYS
        for family in (*FAMILIES, "all")
    ] + [Spot({"taught": "told", "family": "all"}, "curriculum", base, ARM, ("told",))]


def _claims(found: Answers) -> list[Verdict]:
    def score(way: str) -> dict[int, float]:
        return found("reached", taught=way, family="all")

    told = {name: found(name, taught="told", family="all") for name in ("gap", "mean", "own")}
    best, worst, joint = score("best"), score("worst"), score("joint")
    return [
        claim("", "a family that is taught alone gets better (mean b of a family with itself)",
              level(told["own"]), ABOVE),
        claim("", "and the others get worse (mean b of pairs)", level(told["mean"]), BELOW),
        claim("", "the order predicted to be best beats the one predicted to be worst",
              difference(best, worst), ABOVE),
        claim("", "they differ by no more than was predicted",
              difference({s: best[s] - worst[s] for s in best}, told["gap"]), BELOW),
        claim("", "the order predicted to be best beats all families together",
              difference(best, joint), ABOVE, "+6.2 %"),
        claim("", "it beats merged weights", difference(best, score("merged")), ABOVE, "+12.4 %"),
        claim("", "all families together beat merged weights",
              difference(joint, score("merged")), ABOVE),
    ]  # fmt: skip


CURRICULUM = Question(
    "curriculum",
    "In which order should the families be taught to a model that learns in context?",
    ("taught", "family"),
    _spots,
    _claims,
    "Omni-Thinker orders tasks of reinforcement learning; nothing is known of the order of "
    "families in context.",
    ("reached",),
)
