"""The study of failures: irreversibility and novelty are turned as knobs, and every family gets its
place by how often the model agrees with an expert and by what it scores."""

from __future__ import annotations

import math
from typing import Any

from experiments.config import CompareConfig
from experiments.studies.data import vary
from experiments.studies.tests import LETHALITY
from experiments.study import (
    ABOVE,
    BELOW,
    Found,
    Point,
    Study,
    Verdict,
    claim,
    difference,
    level,
    mean_of,
    slope,
    within,
)

TESTS = (0.1, 0.3, 0.5)  # stickiness of the test: it throws the agent off the demonstrated path
HIGH = 0.5  # a score, or a share of copies, that is called high
LOW = 0.1  # a score, or a gain of agreement, that is more than nothing


def _points(base: CompareConfig) -> list[Point]:
    """Models of the studies ``lethality`` and ``in-weights``, tested otherwise. Where every mistake
    is final and hands are stickier than in training, too few levels of random-mdp can be won."""
    points = []
    for lethality in LETHALITY:
        for test in TESTS if lethality < 1 else TESTS[:1]:
            fields: dict[str, Any] = {} if test == base.stickiness else {"test_stickiness": test}
            at = {"lethality": lethality, "test": test, "meaning": "drawn"}
            points.append(Point(at, vary(base, lethality=lethality, **fields), "bursty"))
    fixed = vary(base, "nonbursty", scramble_actions=False, scramble_symbols=False)
    return [*points, Point(IN_WEIGHTS, fixed, "nonbursty")]


IN_WEIGHTS: dict[str, Any] = {"lethality": 0.0, "test": TESTS[0], "meaning": "fixed"}
FAMILIAR: dict[str, Any] = IN_WEIGHTS | {"meaning": "drawn"}


def _at(**fields: float) -> dict[str, Any]:
    """The familiar place, but for some fields."""
    return FAMILIAR | fields


def _claims(found: Found) -> list[Verdict]:
    return [*_unforgiving(found), *_drift(found), *_in_weights(found), *_familiar(found)]


def _unforgiving(found: Found) -> list[Verdict]:
    places = [_at(lethality=x) for x in LETHALITY]
    agree = [found.probe("agree", **at) for at in places]
    score = [found.scores(**at) for at in places]
    apart = [_apart(first, second) for first, second in zip(agree, score, strict=True)]
    paper = "Memento-F4: action agreement .85, return −.09"
    return [
        claim("S11", "unforgiving: the one-shot score falls where mistakes end the episode (slope)",
              slope(LETHALITY, score), BELOW, paper),
        claim("S11", "unforgiving: the agreement with the expert stays (slope within ± 0.1)",
              slope(LETHALITY, agree), within(0.1), paper),
        claim("S11", "unforgiving: agreement less score rises with the share of mistakes that end "
              "the episode (slope)", slope(LETHALITY, apart), ABOVE, paper),
    ]  # fmt: skip


def _drift(found: Found) -> list[Verdict]:
    places = [_at(test=test) for test in TESTS]
    novel = [{s: 1 - hit for s, hit in found.probe("hit", **at).items()} for at in places]
    at_hits, at_novel = (
        mean_of(found.probe(name, **at) for at in places) for name in ("agree-hit", "agree-novel")
    )
    paper = "HideNSeek: action agreement .43, return −.14"
    return [
        claim("S11", "drift: the share of the expert's steps that were not demonstrated rises with "
              "the test's stickiness (slope)", slope(TESTS, novel), ABOVE, paper),
        claim("S11", "drift: the model agrees with the expert less at novel states than at "
              "demonstrated ones (all tests together)", difference(at_novel, at_hits), BELOW,
              paper),
        claim("S11", "drift: its agreement falls with the test's stickiness (slope)",
              slope(TESTS, [found.probe("agree", **at) for at in places]), BELOW, paper),
        claim("S11", "drift: its one-shot score falls with the test's stickiness (slope)",
              slope(TESTS, [found.scores(**at) for at in places]), BELOW, paper),
    ]  # fmt: skip


def _in_weights(found: Found) -> list[Verdict]:
    renamed: dict[str, Any] = {"split": "seen-level", "demonstrations": "relabelled"}
    copies = found.probe("copy", **IN_WEIGHTS, **renamed)
    paper = "MazeWalk-15: action agreement .26, return .35"
    return [
        claim("S11", "in weights (fixed meanings, p_b = 0, training levels): the model plays the "
              f"renamed action of a demonstration at fewer than {HIGH} of its states",
              level(copies), (-math.inf, HIGH), paper),
        claim("S11", "in weights: it plays it less often than a model that learned in context",
              difference(copies, found.probe("copy", **FAMILIAR, **renamed)), BELOW, paper),
        claim("S11", f"in weights: it still scores above {LOW}",
              level(found.scores("seen-level", **IN_WEIGHTS)), (LOW, math.inf), paper),
    ]  # fmt: skip


def _familiar(found: Found) -> list[Verdict]:
    paper = "Labyrinth: action agreement .95, return .70"
    agree, other = (
        found.probe("agree", demonstrations=shown, **FAMILIAR) for shown in ("whole", "foreign")
    )
    return [
        claim("S11", "in context (forgiving and familiar): the model agrees with the expert more "
              f"often than after a demonstration of another level, by more than {LOW}",
              difference(agree, other), (LOW, math.inf), paper),
        claim("S11", f"in context (forgiving and familiar): the one-shot score is above {HIGH}",
              level(found.scores(**FAMILIAR)), (HIGH, math.inf), paper),
    ]  # fmt: skip


def _apart(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """seed -> first - second."""
    return {seed: first[seed] - second[seed] for seed in first.keys() & second.keys()}


FAILURES = Study(
    "failure-map",
    "Which way does learning in context fail, where mistakes are final and where states are new?",
    ("lethality", "test", "meaning"),
    _points,
    _claims,
    "Raparthy et al. place tasks by how often the model's action agrees with the demonstration's "
    "and by the return: in context, in weights, unforgiving, drift.",
    (("in context: Labyrinth", ((0.95, 0.70),)),
     ("in weights: MazeWalk-15", ((0.26, 0.35),)),
     ("unforgiving: Memento-F4", ((0.85, -0.09),)),
     ("drift: HideNSeek", ((0.43, -0.14),))),
    probes=True,
)  # fmt: skip

STUDIES = (FAILURES,)
