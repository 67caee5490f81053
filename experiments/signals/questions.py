"""The questions that signals are asked."""

from __future__ import annotations

import dataclasses

from experiments.signals.confidence_questions import OMENS, VOTES
from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, mean_of, slope, within

# Density: the seed question. -------------------------------------------------------------------
CHUNKS = ("grpo", "spo-chunk")
STRUCTURE = ("tree-grpo-move", "tree-rl", "gigpo", "vine-ppo")
CEILING = "spo-oracle"
DENSITIES = (1.0, 0.7, 0.4, 0.25, 0.1)
REGULARITIES = (1.0, 0.0)


def _density_spots(base: SignalsConfig) -> list[Spot]:
    return [
        Spot(
            {"density": density, "regularity": regularity, "method": method},
            "grade",
            dataclasses.replace(
                base, method=(), set=(f"density={density}", f"regularity={regularity}")
            ),
            method,
        )
        for regularity in REGULARITIES
        for density in DENSITIES
        for method in (*CHUNKS, *STRUCTURE, CEILING)
    ]


def _density_claims(found: Answers) -> list[Verdict]:
    def score(methods: tuple[str, ...], density: float, regularity: float) -> dict[int, float]:
        at = {"density": density, "regularity": regularity}
        return mean_of([found("correlation", method=method, **at) for method in methods])

    dense, sparse = (1.0, 1.0), (0.1, 0.0)
    lead = [
        {
            seed: structure - score(CHUNKS, density, 0.0)[seed]
            for seed, structure in score(STRUCTURE, density, 0.0).items()
        }
        for density in DENSITIES
    ]
    made = [
        claim("", "chunks tie structure where decisive steps are dense and regular (correlation)",
              difference(score(STRUCTURE, *dense), score(CHUNKS, *dense)), within(0.05)),
        claim("", "structure leads where they are sparse and irregular",
              difference(score(STRUCTURE, *sparse), score(CHUNKS, *sparse)), ABOVE),
        claim("", "its lead grows as they become sparser (slope over density, irregular)",
              slope(DENSITIES, lead), BELOW),
    ]  # fmt: skip
    for where, words in ((dense, "dense and regular"), (sparse, "sparse and irregular")):
        at = dict(zip(("density", "regularity"), where, strict=True))
        best = found("correlation", method="vine-ppo", **at)
        made.append(
            claim("", f"the oracle's cut points are the ceiling: above VinePPO ({words})",
                  difference(found("correlation", method=CEILING, **at), best), ABOVE)
        )  # fmt: skip
    return made


DENSITY = Question(
    "density",
    "Do chunks tell as much as structure, as decisive steps go from dense to sparse?",
    ("density", "method"),
    _density_spots,
    _density_claims,
    "Expected: chunks tie structure where decisive steps are dense and regular, and structure's "
    "lead grows where they are sparse and irregular. Toy result at about 16 runs: GRPO .30, GiGPO "
    ".35, Tree-GRPO .33, VinePPO .47, SPO with fixed chunks .48, with the oracle's cut points .83.",
)

# Forks: which unit, which budget, which comparison. ----------------------------------------------
UNITS = ("move", "sub-goal", "chunk", "unsure", "step", "inside")
SPARSE = ("moments=6", "spelling=2", "density=0.34", "regularity=0")
SHALLOW = ("moments=2", "spelling=2", "density=1", "regularity=1")
BUDGETS = (56, 112, 224)  # about 4, 8 and 16 runs
UPDATES = 60
LESS, MORE = 2, 6  # nodes of a tree


def _forks_spots(base: SignalsConfig) -> list[Spot]:
    def spot(part: str, method: str, budget: int, fields: tuple[str, ...]) -> Spot:
        config = dataclasses.replace(
            base, method=(), set=fields, budget=budget, total=budget * UPDATES
        )
        return Spot({"part": part, "budget": budget, "method": method}, "train", config, method)

    made = [
        spot("sparse", method, budget, SPARSE)
        for budget in BUDGETS
        for method in ("grpo", "tree-grpo-move")
    ]
    made += [
        spot("sparse", f"tree-grpo-{unit}", BUDGETS[0], SPARSE) for unit in UNITS if unit != "move"
    ]
    made += [spot("shallow", method, 24, SHALLOW) for method in ("grpo", "tree-grpo-move")]
    made += [
        spot("comparison", f"tree-grpo-{kind}@trees=2,nodes={nodes}", BUDGETS[-1], SPARSE)
        for kind in ("intra", "inter", "move")
        for nodes in (LESS, MORE)
    ]
    return made


def _forks_claims(found: Answers) -> list[Verdict]:
    small = BUDGETS[0]

    def sparse(method: str, budget: int = small) -> dict[int, float]:
        return found.mean("success", part="sparse", method=method, budget=budget)

    chain = sparse("grpo")
    made = [
        claim("", f"forks before {words} beat chains (mean success over the training)",
              difference(sparse(f"tree-grpo-{unit}"), chain), ABOVE, paper)
        for unit, words, paper in (
            ("move", "moves", "36.8 against 31.8"), ("sub-goal", "sub-goals", ""),
        )
    ]  # fmt: skip
    made += [
        claim("", "chains beat forks in the middle of moves",
              difference(chain, sparse("tree-grpo-inside")), ABOVE, "31.8 against 22.2"),
        claim("", "a tree is no worse than chains at four times its budget (sparse)",
              difference(sparse("tree-grpo-move"), sparse("grpo", 4 * small)), ABOVE,
              "budgets 2 / 4 / 8 / 16: chain 14.9 31.8 31.4 33.9, tree 31.6 36.8 36.4 37.3"),
        claim("", "at depth 2 it has no lead",
              difference(
                  found.mean("success", part="shallow", method="tree-grpo-move"),
                  found.mean("success", part="shallow", method="grpo"),
              ), within(0.02)),
    ]  # fmt: skip
    for nodes, region, words in (
        (LESS, ABOVE, "is unstable"), (MORE, within(0.05), "is as good"),
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
    ("budget", "method"),
    _forks_spots,
    _forks_claims,
    "Tree-GRPO (arXiv 2509.21240), multi-hop questions, 3B: chains 31.8, forks at the agent's "
    "steps 36.8, forks inside of them 22.2; within trees only it collapses.",
)

QUESTIONS = {question.name: question for question in (OMENS, VOTES, FORKS, DENSITY)}
