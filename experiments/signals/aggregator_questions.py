"""What a step should be paid of the gains behind it (PURE, arXiv 2504.15275)."""

from __future__ import annotations

import dataclasses

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference

OWN, SUM, SOFT = "vine-ppo", "vine-sum", "pure"
PAID = {
    "its own": OWN,
    "sum": SUM,
    "mean": "vine-mean",
    "tail": "vine-tail",
    "bottom-10": "vine-bottom-10",
    "min": "vine-min",
    "soft-min": SOFT,
}
"""What a step is paid of the gains from it on -> the method; all value every state by forks."""
DENSITIES = (1.0, 0.25)
SKILL = 1.0


def _spots(base: SignalsConfig) -> list[Spot]:
    def config(density: float) -> SignalsConfig:
        return dataclasses.replace(
            base, method=(), skill=SKILL, set=(f"density={density}", "regularity=0")
        )

    return [
        Spot({"steps": kind, "density": density, "paid": paid}, kind, config(density), method)
        for kind in ("grade", "train")
        for density in DENSITIES
        for paid, method in PAID.items()
    ]


def _claims(found: Answers) -> list[Verdict]:
    made = []
    for density, words in zip(DENSITIES, ("dense", "sparse"), strict=True):

        def graded(paid: str, density: float = density) -> dict[int, float]:
            return found("correlation", steps="grade", density=density, paid=paid)

        def trained(paid: str, density: float = density) -> dict[int, float]:
            return found.mean("success", steps="train", density=density, paid=paid)

        made += [
            claim("", f"{words}: its own gain is nearer to the exact advantage than any of the "
                  f"others ({paid})", difference(graded("its own"), graded(paid)), ABOVE)
            for paid in list(PAID)[1:]
        ]  # fmt: skip
        made += [
            claim("", f"{words}, success after training: the soft minimum is above the sum",
                  difference(trained("soft-min"), trained("sum")), ABOVE,
                  "the sum collapses, the minimum does not"),
            claim("", f"{words}, success after training: the soft minimum is above the hard one",
                  difference(trained("soft-min"), trained("min")), ABOVE),
            claim("", f"{words}, success after training: the last gain alone is below its own",
                  difference(trained("tail"), trained("its own")), BELOW),
        ]  # fmt: skip
    return made


AGGREGATORS = Question(
    "aggregators",
    "What should a step be paid of the gains from it to the end of the run?",
    ("density", "paid"),
    _spots,
    _claims,
    "PURE (arXiv 2504.15275): learning from step rewards collapses where a step is paid the sum of "
    "those to come, and does not where it is paid the least of them, by a soft minimum.",
    ("correlation", "success"),
)
