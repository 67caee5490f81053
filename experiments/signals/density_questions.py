"""The seed question, and what signals pay for idling: chunks against structure, by the oracle."""

from __future__ import annotations

import dataclasses

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import (
    ABOVE,
    BELOW,
    Verdict,
    claim,
    difference,
    level,
    mean_of,
    slope,
    within,
)
from icl.statistics import Interval

CHUNKS = ("grpo", "spo-chunk")
STRUCTURE = ("tree-grpo-move", "tree-rl", "gigpo", "vine-ppo")
UNSURE, MASKED, CEILING = "spo-unsure", "spo-masked", "spo-oracle"
DENSITIES = (1.0, 0.7, 0.4, 0.25, 0.1)
HABIT = 4.0  # 96 % for one action, where it does not matter which
SETTINGS = (("regular", 1.0, 0.0), ("irregular", 0.0, 0.0), ("irregular, policy sure", 0.0, HABIT))
"""Name, regularity of decisive steps, habit of the policy."""
DENSE, SPARSE = ("regular", 1.0), ("irregular", 0.1)
TOY = (
    "Toy result at about 16 runs: GRPO .30, GiGPO .35, Tree-GRPO .33, VinePPO .47, SPO with fixed "
    "chunks .48, with the oracle's cut points .83."
)


def _density_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot(
            {"steps": name, "density": density, "method": method},
            "grade",
            dataclasses.replace(
                base, method=(), habit=habit,
                set=(f"density={density}", f"regularity={regularity}"),
            ),
            method,
        )
        for name, regularity, habit in SETTINGS
        for density in DENSITIES
        for method in (*CHUNKS, *STRUCTURE, UNSURE, MASKED, CEILING)
    ]  # fmt: skip


def _density_claims(found: Answers) -> list[Verdict]:
    def score(
        measure: str, methods: tuple[str, ...], steps: str, density: float
    ) -> dict[int, float]:
        return mean_of(
            [found(measure, method=m, steps=steps, density=density) for m in methods]
        )  # fmt: skip

    def lead(measure: str, steps: str, density: float) -> dict[int, float]:
        structure, chunks = (
            score(measure, methods, steps, density) for methods in (STRUCTURE, CHUNKS)
        )
        return {seed: structure[seed] - chunks[seed] for seed in structure}

    made = []
    for measure, words in (
        ("correlation", "correlation with the exact advantage"),
        ("located", "fatal steps located"),
        ("cosine", "cosine to the exact gradient"),
    ):  # fmt: skip
        made += [
            claim("", f"{words}: chunks tie structure where decisive steps are dense and regular",
                  level(lead(measure, *DENSE)), within(0.05)),
            claim("", f"{words}: structure leads where they are sparse and irregular",
                  level(lead(measure, *SPARSE)), ABOVE),
            claim("", f"{words}: its lead grows as they become sparser (slope over density)",
                  slope(DENSITIES, [lead(measure, "irregular", x) for x in DENSITIES]), BELOW),
        ]  # fmt: skip
    for words, place in (("dense and regular", DENSE), ("sparse and irregular", SPARSE)):
        best, vine = (score("correlation", (m,), *place) for m in (CEILING, "vine-ppo"))
        made.append(
            claim("", f"correlation: the oracle's cut points are above VinePPO ({words})",
                  difference(best, vine), ABOVE)
        )  # fmt: skip
    sure = "irregular, policy sure"
    unsure, masked, chunk, vine = (
        mean_of([found("correlation", method=m, steps=sure, density=x) for x in DENSITIES])
        for m in (UNSURE, MASKED, "spo-chunk", "vine-ppo")
    )
    known = "correlation, policy sure of what does not matter: "
    made += [
        claim("", f"{known}cuts at unlikely actions lead fixed chunks", difference(unsure, chunk),
              ABOVE),
        claim("", f"{known}they lead VinePPO, which cuts everywhere", difference(unsure, vine),
              ABOVE),
        claim("", f"{known}paid at the cuts only, they lead fixed chunks",
              difference(masked, chunk), ABOVE),
    ]  # fmt: skip
    for measure, words in (("located", "fatal steps located"), ("cosine", "cosine")):
        paid, best = (
            mean_of([found(measure, method=m, steps=sure, density=x) for x in DENSITIES])
            for m in (MASKED, "gigpo")
        )
        made.append(
            claim("", f"{words}, policy sure of what does not matter: paid at the cuts only, they "
                  "lead GiGPO", difference(paid, best), ABOVE)
        )  # fmt: skip
    return made


DENSITY = Question(
    "density",
    "Do chunks tell as much as structure, as decisive steps go from dense to sparse?",
    ("density", "method"),
    _density_spots,
    _density_claims,
    "Expected: chunks tie structure where decisive steps are dense and regular, and structure's "
    f"lead grows where they are sparse and irregular. {TOY}",
    ("correlation", "located", "cosine"),
)

# Where to cut, or how well to value. --------------------------------------------------------------
RICHER = (1, 4, 16)  # times the budget
EQUAL = (2, 9, 32)  # forks of a piece
BOTH = ("vine-ppo", CEILING)


def _valuation_spots(base: SignalsConfig) -> list[Spot]:
    config = dataclasses.replace(
        base, method=(), levels=max(base.levels // 4, 2), set=("density=0.1", "regularity=0")
    )
    made = [
        Spot(
            {"steps": "equal actions", "amount": config.budget * times, "method": method},
            "grade", dataclasses.replace(config, budget=config.budget * times), method,
        )
        for times in RICHER
        for method in ("grpo", "gigpo", "spo-chunk", *BOTH)
    ]  # fmt: skip
    return made + [
        Spot(
            {"steps": "equal forks of a piece", "amount": forks, "method": method},
            "grade", config, f"{method}@runs=1,forks={forks}",
        )
        for forks in EQUAL
        for method in BOTH
    ]  # fmt: skip


def _valuation_claims(found: Answers) -> list[Verdict]:
    def lead(words: str, amount: int) -> Interval:
        vine, best = (
            found("correlation", steps=words, amount=amount, method=method) for method in BOTH
        )
        return difference(best, vine)

    budgets = sorted({row["amount"] for row in found.rows if row["steps"] == "equal actions"})
    made = [
        claim("", f"{budget:,} actions: the oracle's cut points are above cuts everywhere",
              lead("equal actions", budget), ABOVE)
        for budget in budgets
    ]  # fmt: skip
    made += [
        claim("", f"{forks} forks of a piece: the oracle's cut points tie cuts everywhere, which "
              "then take more actions", lead("equal forks of a piece", forks), within(0.05))
        for forks in EQUAL
    ]  # fmt: skip
    first, last = (
        found("correlation", steps="equal forks of a piece", amount=forks, method="vine-ppo")
        for forks in (EQUAL[0], EQUAL[-1])
    )
    made.append(
        claim("", f"cuts everywhere: {EQUAL[-1]} forks of a step tell more than {EQUAL[0]}",
              difference(last, first), ABOVE)
    )  # fmt: skip
    return made


VALUATION = Question(
    "valuation",
    "What is lacking where decisive steps are sparse: to know where to cut, or to value well?",
    ("amount", "method"),
    _valuation_spots,
    _valuation_claims,
    f"None of the papers asked. {TOY}",
    ("correlation", "located", "actions"),
)

# Idling: what it pays, and what learning makes of that. -------------------------------------------
PAID = ("grpo", "gigpo", "tree-grpo-move", "vine-ppo", "spo-chunk", "spo-sub-goal", "spo-oracle",
        "pure", "exact")  # fmt: skip
IDLE = ("density=0.25", "regularity=0", "horizon=48")  # time costs nothing
SKILL = 1.0  # at which one step in nine is a wait


def _idling_spots(base: SignalsConfig) -> list[Spot]:
    config = dataclasses.replace(base, method=(), set=IDLE, skill=SKILL)
    return [
        Spot({"method": method, "kind": kind}, kind, config, method)
        for kind in ("grade", "train")
        for method in PAID
    ]


def _idling_claims(found: Answers) -> list[Verdict]:
    def pays(method: str) -> dict[int, float]:
        return found("padding", method=method, kind="grade")

    def added(method: str) -> dict[int, float]:
        paths = found("idle", method=method, kind="train")
        return {seed: path[-1] - path[0] for seed, path in paths.items()}

    made = [
        claim("", "GRPO pays a winner for an idle step as for any other",
              level(pays("grpo")), (0.8, 1.2)),
        claim("", "exact advantages pay nothing for it", level(pays("exact")), within(0.1)),
        claim("", "cuts at sub-goals can be gamed: they pay for a longer piece",
              level(pays("spo-sub-goal")), ABOVE),
        claim("", "and more than VinePPO, whose pieces are single steps",
              difference(pays("spo-sub-goal"), pays("vine-ppo")), ABOVE),
    ]  # fmt: skip
    return made + [
        claim("", f"{method}: runs idle more after learning than before", level(added(method)),
              ABOVE)
        for method in PAID
    ]  # fmt: skip


IDLING = Question(
    "idling",
    "What do signals pay for steps that change nothing, and do policies learn to take them?",
    ("method", "kind"),
    _idling_spots,
    _idling_claims,
    "None of the papers measured it.",
    ("idle", "padding"),
)
