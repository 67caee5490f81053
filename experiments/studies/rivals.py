"""Studies of the rivals: those that are shown the same contexts, and those that are shown none."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.config import CompareConfig
from experiments.studies.data import vary
from experiments.studies.tests import read
from experiments.study import ABOVE, Found, Point, Study, Verdict, claim, difference
from icl.conditions import OWN

READERS = ("hash-map", "nearest-neighbour", "5-nearest-neighbours", "hash-map-else-nearest")
SPLITS = ("unseen-level", "unseen-family")
TESTS = (0.1, 0.5)  # stickiness of the test
MODEL = "model"
BC = "BC, one trajectory"
OTHERWISE = {"curve": 1}  # rivals are tested at the end only: some tests cost as much as training
LEARNED: dict[str, tuple[str, dict[str, Any]]] = {
    MODEL: ("bursty", {}),
    "REGENT (model, retrieval)": ("bursty", {"regent": 10.0}),
    BC: ("single", {}),
    "decision transformer": ("single", OTHERWISE | {"method": "return-conditioned"}),
    "DPT": ("bursty", OTHERWISE | {"method": "pretraining"}),
}  # name -> its arm, and what differs from the main job


def _shown(base: CompareConfig) -> list[Point]:
    points = []
    for test in TESTS:
        usual: dict[str, Any] = {} if test == base.stickiness else {"test_stickiness": test}
        points += [
            Point({"agent": agent, "test": test}, vary(base, arm, **(usual | own)), arm)
            for agent, (arm, own) in LEARNED.items()
        ]
        points += [
            Point({"agent": name, "test": test},
                  dataclasses.replace(read(base, name), **usual), name)
            for name in READERS
        ]  # fmt: skip
    return points


def _shown_claims(found: Found) -> list[Verdict]:
    made = []
    rivals = [agent for agent in (*LEARNED, *READERS) if agent != MODEL]
    for test in TESTS:
        for split in SPLITS:
            own = found.scores(split, agent=MODEL, test=test)
            made += [
                claim("S6" if agent in READERS[:2] else "",
                      f"the model beats {agent} (one-shot, {split}, stickiness {test:g})",
                      difference(own, found.scores(split, agent=agent, test=test)), ABOVE)
                for agent in rivals
            ]  # fmt: skip
    for split in SPLITS:
        own = found.scores(split, agent=MODEL, test=TESTS[0])
        none = found.scores(split, 0, agent=BC, test=TESTS[0])
        made.append(
            claim("S1", f"with one demonstration the model beats BC with none ({split})",
                  difference(own, none), ABOVE, "MiniHack: .51 against −.35")
        )  # fmt: skip
    return made


RIVALS = Study(
    "rivals",
    "Does the trained model beat those that only read, and those that were trained otherwise?",
    ("test", "agent"),
    _shown,
    _shown_claims,
    "REGENT (arXiv 2412.04759): plain nearest-neighbour retrieval matches or beats the model of "
    "Raparthy et al.; blended with a network it is better still. DPT: arXiv 2306.14892; decision "
    "transformer: arXiv 2106.01345. All have the model's size, levels and updates, and contexts of "
    "the same experts.",
)

AD, RL2 = "algorithm distillation (AD)", "PPO with memory (RL²)"
ALONE: dict[str, dict[str, Any]] = {
    MODEL: {},
    AD: OTHERWISE | {"method": "distillation"},
    RL2: OTHERWISE | {"method": "reinforcement"},
}  # name -> what differs from the main job


def _alone(base: CompareConfig) -> list[Point]:
    return [
        Point({"agent": agent}, vary(base, attempts=base.slots, **own), "bursty")
        for agent, own in ALONE.items()
    ]


def _alone_claims(found: Found) -> list[Verdict]:
    last = max(row["demos"] for row in found.rows if row["demonstrations"] == OWN)
    made = []
    for split in SPLITS:
        shown = found.scores(split, agent=MODEL)
        for agent in ALONE:
            first, final = (
                found.scores(split, k, agent=agent, demonstrations=OWN) for k in (0, last)
            )
            made.append(
                claim("", f"{agent}: attempt {last + 1} is better than attempt 1 ({split})",
                      difference(final, first), ABOVE)
            )  # fmt: skip
            if agent != MODEL:
                made.append(
                    claim("", f"the model with one demonstration beats {agent} at attempt "
                          f"{last + 1} ({split})", difference(shown, final), ABOVE)
                )  # fmt: skip
    return made


ATTEMPTS = Study(
    "attempts",
    "Who gets better over attempts of its own, where nothing is demonstrated?",
    ("demos", "agent"),
    _alone,
    _alone_claims,
    "Algorithm distillation (arXiv 2210.14215) improves in context over tens of episodes; RL² "
    "(arXiv 1611.02779) is trained for it. After imitating for half of its updates, PPO plays four "
    "trials of its own for each context that the others are shown.",
)

STUDIES = (RIVALS, ATTEMPTS)
