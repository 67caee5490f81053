"""The seed question once more, where the policy is a trained in-context learner."""

from __future__ import annotations

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, Verdict, claim, difference, mean_of

CHUNKS = ("grpo", "spo-chunk")
STRUCTURE = ("tree-grpo-step", "gigpo", "vine-ppo")
CUTS = ("spo-unsure", "spo-masked")


def _spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"method": method, "policy": "1 demonstration"}, "credit", base, method)
        for method in (*CHUNKS, *STRUCTURE, *CUTS)
    ]


def _claims(found: Answers) -> list[Verdict]:
    def score(*methods: str) -> dict[int, float]:
        return mean_of([found("correlation", method=method) for method in methods])

    return [
        claim("", "structure leads chunks (correlation with advantages by 1,024 forks)",
              difference(score(*STRUCTURE), score(*CHUNKS)), ABOVE),
        claim("", "cuts at unlikely actions, paid there only, lead fixed chunks",
              difference(score("spo-masked"), score("spo-chunk")), ABOVE),
        claim("", "and they lead VinePPO, which cuts everywhere",
              difference(score("spo-masked"), score("vine-ppo")), ABOVE),
    ]  # fmt: skip


LEARNER = Question(
    "learner",
    "Which signals come near the advantages of a trained in-context learner?",
    ("method", "policy"),
    _spots,
    _claims,
    "None of the papers could measure it.",
    ("correlation", "sign"),
)
