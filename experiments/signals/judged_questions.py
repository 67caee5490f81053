"""The questions that reward models are asked (ReasonFlux-PRM, arXiv 2506.18896)."""

from __future__ import annotations

import math

from experiments.signals.config import SignalsConfig
from experiments.signals.judged import JUDGES, PLAN
from experiments.signals.question import Answers, Question, Spot
from experiments.signals.question_page import TRAINING
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level, within

AWARE, STANDARD = "trajectory-aware", "standard"
STEPS = ("clean", "exploration", "detours", "repeats", "waits")
LEFT_OUT = ("no-alignment", "no-quality", "no-coherence", "no-information")

# Steps. -------------------------------------------------------------------------------------------


def _steps_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot({"steps": where, "judge": name}, "judge", base, name, ("steps", where))
        for where in STEPS
        for name in JUDGES
    ]


def _steps_claims(found: Answers) -> list[Verdict]:
    def area(name: str, where: str) -> dict[int, float]:
        return found("tells", judge=name, steps=where)

    made = [
        claim("", "standard: AUROC of .9 or more on clean runs",
              level(area(STANDARD, "clean")), (0.9, math.inf)),
        claim("", "standard: of .65 at most on exploring runs",
              level(area(STANDARD, "exploration")), (-math.inf, 0.65)),
        claim("", "trajectory-aware: of .8 or more on clean runs",
              level(area(AWARE, "clean")), (0.8, math.inf)),
        claim("", "trajectory-aware: of .8 or more on exploring runs",
              level(area(AWARE, "exploration")), (0.8, math.inf)),
        claim("", "forks' labels on exploring runs, too, do not help: .65 at most there",
              level(area("standard-explored", "exploration")), (-math.inf, 0.65)),
        claim("", "trajectory-aware: useful detours are told from idle loops (.8 or more)",
              level(area(AWARE, "detours")), (0.8, math.inf)),
        claim("", "and from mistakes made again, which differ by what was met before only",
              level(area(AWARE, "repeats")), (0.8, math.inf)),
        claim("", "standard: prefers idle loops to useful detours (below .5)",
              level({seed: x - 0.5 for seed, x in area(STANDARD, "detours").items()}), BELOW),
    ]  # fmt: skip
    made += [
        claim("", f"exploring runs, {name}: the term is needed",
              difference(area(AWARE, "exploration"), area(name, "exploration")), ABOVE)
        for name in LEFT_OUT
    ]  # fmt: skip
    return [
        *made,
        claim("", "clean runs, no-quality: the term is needed",
              difference(area(AWARE, "clean"), area("no-quality", "clean")), ABOVE),
        claim("", "mistakes made again: no-information falls behind",
              difference(area(AWARE, "repeats"), area("no-information", "repeats")), ABOVE),
        claim("", "mistakes made again: what a step happened to tell is a worse label than what it "
              "promised", difference(area(AWARE, "repeats"), area("realised", "repeats")), ABOVE),
    ]  # fmt: skip


STEPS_JUDGED = Question(
    "reward-model",
    "Can a reward model tell good steps in runs that explore?",
    ("steps", "judge"),
    _steps_spots,
    _steps_claims,
    "Standard reward models degrade on thinking that branches and goes back: training data that "
    "they select gives 77.0 (Qwen2.5-Math-PRM-72B), curated by hand 78.8, ReasonFlux-PRM 84.8.",
)

# Selection. ---------------------------------------------------------------------------------------
ALPHAS = tuple(f"alpha {alpha:g}" for alpha in PLAN.alphas)
ONE = "alpha 1"
BASE = ("mean", "lowest", "last")  # of the steps' scores: what a judge without a second head has
SELECTORS = (
    "anyone", "ideal", *(f"{STANDARD}/{score}" for score in BASE),
    *(f"{AWARE}/{score}" for score in ("mean", "joint", "run")), "no-information/joint",
)  # fmt: skip


def _selection_spots(base: SignalsConfig) -> list[Spot]:
    def best(name: str, ways: tuple[str, ...]) -> list[Spot]:
        return [
            Spot({"part": "best of 8", "score": way, "judge": name}, "judge", base, name,
                 ("best", way))
            for way in ways
        ]  # fmt: skip

    made = best(AWARE, ("anyone", "ideal", *BASE, "run", *ALPHAS))
    made += [spot for name in LEFT_OUT for spot in best(name, ("mean", "run", ONE))]
    made += [spot for name in (STANDARD, "standard-explored") for spot in best(name, BASE)]
    return made + [
        Spot({"part": "top tenth", "score": score or name, "judge": name if score else AWARE},
             "select", base, way)
        for way in SELECTORS
        for name, _, score in [way.partition("/")]
    ]  # fmt: skip


def _selection_claims(found: Answers) -> list[Verdict]:
    def best(name: str, way: str) -> dict[int, float]:
        return found("solves", part="best of 8", judge=name, score=way)

    def top(name: str, way: str, field: str = "imitated") -> dict[int, float]:
        return found(field, part="top tenth", judge=name, score=way)

    made = [
        claim("", f"best of 8: mean + run leads the standard model's {way}",
              difference(best(AWARE, ONE), best(STANDARD, way)), ABOVE, paper)
        for way, paper in zip(BASE, ("+6.3 over majority of 16", "", ""), strict=True)
    ]  # fmt: skip
    made += [
        claim("", "best of 8: the mean of its steps alone leads the standard model's mean",
              difference(best(AWARE, "mean"), best(STANDARD, "mean")), ABOVE),
        claim("", "best of 8: the run's own score adds to the mean of the steps'",
              difference(best(AWARE, ONE), best(AWARE, "mean")), ABOVE,
              "α = .1 .8 1 1.5: 81.2 83.6 84.8 83.2"),
        claim("", "best of 8: the steps' scores add to the run's own",
              difference(best(AWARE, ONE), best(AWARE, "run")), ABOVE),
        claim("", "best of 8: α = 1 leads .1",
              difference(best(AWARE, ONE), best(AWARE, ALPHAS[0])), ABOVE, "84.8 against 81.2"),
        claim("", "best of 8: α = 1 leads 1.5",
              difference(best(AWARE, ONE), best(AWARE, ALPHAS[-1])), ABOVE, "84.8 against 83.2"),
    ]  # fmt: skip
    made += [
        claim("", f"best of 8, {name}: the term matters not (within .02)",
              difference(best(AWARE, ONE), best(name, ONE)), within(0.02))
        for name in LEFT_OUT
    ]  # fmt: skip
    made += [
        claim("", f"top tenth: answers are worth more than in the standard model's ({way})",
              difference(top(AWARE, "joint", "solves"), top(STANDARD, way, "solves")), ABOVE)
        for way in BASE
    ]  # fmt: skip
    made += [
        claim("", f"top tenth: students think better than the standard model's ({way})",
              difference(top(AWARE, "joint"), top(STANDARD, way)), ABOVE, "84.8 against 77.0")
        for way in BASE
    ]  # fmt: skip
    return [
        *made,
        claim("", "top tenth: students of the standard model's mean are no better than of anyone",
              difference(top(STANDARD, "mean"), top(AWARE, "anyone")), BELOW, "77.0 against 78.8"),
        claim("", "top tenth: students of what the steps' mean selects lead those of what the "
              "run's score does", difference(top(AWARE, "mean"), top(AWARE, "run")), ABOVE),
        claim("", "top tenth: students of mean + run lead those of the runs that found most",
              difference(top(AWARE, "joint"), top(AWARE, "ideal")), ABOVE),
    ]  # fmt: skip


SELECTION = Question(
    "selection",
    "Does a trajectory-aware reward model choose better runs?",
    ("score", "judge"),
    _selection_spots,
    _selection_claims,
    "ReasonFlux-PRM: training data selected 84.8, by a standard 72B model 77.0, curated by hand "
    "78.8; best of 16 at test time +6.3; α = .1, .8, 1, 1.5: 81.2, 83.6, 84.8, 83.2.",
    ("solves",),
)

# Reward. ------------------------------------------------------------------------------------------
REWARDS = ("outcome", STANDARD, AWARE, "no-quality")


def _reward_spots(base: SignalsConfig) -> list[Spot]:
    return [Spot({"reward": name}, "reinforce", base, name) for name in REWARDS]


def _reward_claims(found: Answers) -> list[Verdict]:
    def success(name: str) -> dict[int, float]:
        return found.mean("success", reward=name)

    def idle(name: str) -> dict[int, float]:
        return found.last("idle", reward=name)

    return [
        claim("", "trajectory-aware leads outcome alone (mean success over the training)",
              difference(success(AWARE), success("outcome")), ABOVE, "+4.5"),
        claim("", "trajectory-aware leads the standard model's reward",
              difference(success(AWARE), success(STANDARD)), ABOVE),
        claim("", "without quality it falls behind",
              difference(success(AWARE), success("no-quality")), ABOVE),
        claim("", "the standard model's reward makes runs idle more than outcome alone does",
              difference(idle(STANDARD), idle("outcome")), ABOVE),
        claim("", "the trajectory-aware one's makes them idle less",
              difference(idle(AWARE), idle("outcome")), BELOW),
    ]  # fmt: skip


REWARD = Question(
    "reward-learning",
    "Does a policy learn faster from a reward model's word beside the outcome?",
    (TRAINING, "reward"),
    _reward_spots,
    _reward_claims,
    "GRPO with ReasonFlux-PRM's reward beside the outcome: +4.5.",
)
