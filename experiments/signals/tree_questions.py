"""The questions that trees of runs are asked (Tree-GRPO, arXiv 2509.21240)."""

from __future__ import annotations

import dataclasses
import math

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.signals.question_page import TRAINING
from experiments.study import ABOVE, Verdict, claim, difference, within

UNITS = ("move", "sub-goal", "chunk", "unsure", "step", "inside")
DEEP = ("moments=6", "spelling=2", "density=1", "regularity=1")
SHALLOW = ("moments=1", "spelling=2", "density=1", "regularity=1", "dials=8")
SKILL = 1.0  # at which about one run in a thousand wins
BUDGETS = (72, 144, 288)  # about 6, 12 and 24 runs
TWO = 14  # the same at depth 2
UPDATES = 200
FEW = 20  # of them at depth 2, where success would be complete long before the others' end
LESS, MORE = 2, 6  # nodes of a tree
TREE = "tree-grpo-move"
DEEPEST = "tree-grpo-step"  # at depth 2 a tree whose forks share a step at all


def _forks_spots(base: SignalsConfig) -> list[Spot]:
    def spot(
        part: str,
        method: str,
        budget: int,
        fields: tuple[str, ...] = DEEP,
        skill: float = SKILL,
        updates: int = UPDATES,
    ) -> Spot:
        config = dataclasses.replace(
            base, method=(), set=fields, budget=budget, total=budget * updates, skill=skill,
            levels=4 * base.levels,
        )  # fmt: skip
        return Spot({"part": part, "budget": budget, "method": method}, "train", config, method)

    small = BUDGETS[0]
    made = [spot("units", method, small) for method in ("grpo", *(f"tree-grpo-{u}" for u in UNITS))]
    made += [spot("budgets", method, budget) for budget in BUDGETS for method in ("grpo", TREE)]
    made += [spot("depth 2", method, TWO, SHALLOW, 0.0, FEW) for method in ("grpo", DEEPEST)]
    made += [
        spot("comparison", f"tree-grpo-{kind}@trees=2,nodes={nodes}", BUDGETS[0])
        for nodes in (LESS, MORE)
        for kind in ("intra", "inter", "move")
    ]
    return made


def _forks_claims(found: Answers) -> list[Verdict]:
    small = BUDGETS[0]

    def deep(method: str, budget: int = small, part: str = "units") -> dict[int, float]:
        return found.mean("success", part=part, method=method, budget=budget)

    chain = deep("grpo")
    made = [
        claim("", f"forks before {words} beat chains (mean success over the training)",
              difference(deep(f"tree-grpo-{unit}"), chain), ABOVE, paper)
        for unit, words, paper in (
            ("move", "moves", "36.8 against 31.8"), ("sub-goal", "sub-goals", ""),
        )
    ]  # fmt: skip
    made += [
        claim("", "chains beat forks in the middle of moves",
              difference(chain, deep("tree-grpo-inside")), ABOVE, "31.8 against 22.2"),
        claim("", "a tree is no more than .02 below chains at four times its budget",
              difference(deep(TREE), deep("grpo", BUDGETS[-1], "budgets")), (-0.02, math.inf),
              "budgets 2 / 4 / 8 / 16: chain 14.9 31.8 31.4 33.9, tree 31.6 36.8 36.4 37.3"),
        claim("", "at depth 2 it has no lead (.02 at most)",
              difference(
                  found.mean("success", part="depth 2", method=DEEPEST),
                  found.mean("success", part="depth 2", method="grpo"),
              ), within(0.02)),
    ]  # fmt: skip
    for nodes, region, words in (
        (LESS, ABOVE, "ends lower"), (MORE, within(0.05), "is as good to .05"),
    ):  # fmt: skip
        both, intra = (
            found.last("success", part="comparison",
                       method=f"tree-grpo-{kind}@trees=2,nodes={nodes}")
            for kind in ("move", "intra")
        )  # fmt: skip
        made.append(
            claim("", f"comparing within trees only {words} at {nodes} nodes (what it lacks)",
                  difference(both, intra), region, "collapses; both 36.8, between trees 33.8")
        )  # fmt: skip
    return made


FORKS = Question(
    "forks",
    "Where should a tree fork, and what does it give over chains for the same actions?",
    (TRAINING, "method"),
    _forks_spots,
    _forks_claims,
    "Tree-GRPO (arXiv 2509.21240), multi-hop questions, 3B: chains 31.8, forks at the agent's "
    "steps 36.8, forks inside of them 22.2; within trees only it collapses.",
)
