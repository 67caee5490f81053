"""The questions that learning from an expert's steps is asked (SRL, arXiv 2510.25992)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.signals.question_page import TRAINING
from experiments.study import ABOVE, Verdict, claim, difference, level, within

TOTAL = 48000  # actions of a level: 300 to 400 lessons of SRL
RATE = 0.02  # at 0.1 answers that stop half way are settled on before the rest is found


@dataclasses.dataclass(frozen=True)
class Part:
    """A setting.

    Attributes:
        name: in words.
        family: of the levels.
        set: its fields.
        skill: of the policy at the start.
        moves: of one step.
        habit: of the policy at the start.
    """

    name: str
    family: str
    set: tuple[str, ...]
    skill: float = 0.0
    moves: int = 1
    habit: float = 0.0

    def spot(self, base: SignalsConfig, at: dict[str, str], way: str) -> Spot:
        """Of a teacher (experiments/signals/taught.py); a quarter of the preset's levels."""
        config = dataclasses.replace(
            base, method=(), family=self.family, set=self.set, skill=self.skill, habit=self.habit,
            levels=max(base.levels // 4, 2), total=TOTAL, learning_rate=RATE,
        )  # fmt: skip
        if self.moves > 1 and way.startswith(("srl", "bc")):
            way = f"{way}{',' if '@' in way else '@'}moves={self.moves}"
        return Spot({"part": self.name} | at, "teach", config, way)


WALK = ("moments=10", "spelling=2", "density=1", "horizon=24")
ROOMS = ("size=8", "horizon=24")
ONE = Part("gauntlet, one way", "gauntlet", WALK, 1.0)
MANY = Part("key-door, many ways", "key-door", ROOMS, 0.0, 3)

# The ordering. ------------------------------------------------------------------------------------
ASKED = "srl@last=1"  # every step of the expert's, so that nothing else is lacking
WAYS = {
    "SRL→RL": "srl-rl",
    "SRL": "srl",
    "SRL, last step too": ASKED,
    "one-shot": "one-shot",
    "RL": "rl",
    "cloning": "bc",
}


def _expert_spots(base: SignalsConfig) -> list[Spot]:
    return [
        part.spot(base, {"method": name}, way) for part in (ONE, MANY) for name, way in WAYS.items()
    ]


def _expert_claims(found: Answers) -> list[Verdict]:
    made = []
    for part in (ONE, MANY):
        end = {name: found.last("success", part=part.name, method=name) for name in WAYS}
        made += [
            claim("", f"{part.name}: {first} ends above {second}",
                  difference(end[first], end[second]), ABOVE, paper)
            for first, second, paper in (
                ("SRL→RL", "SRL", "28.3, 27.6"),
                ("SRL", "one-shot", "27.6, 25.9"),
                ("SRL, last step too", "one-shot", "27.6, 25.9"),
                ("one-shot", "RL", "25.9, 24.5"),
                ("SRL→RL", "RL", "28.3, 24.5"),
                ("SRL, last step too", "SRL", ""),
                ("cloning", "SRL→RL", "16.6, 28.3"),
            )
        ]  # fmt: skip
        made.append(
            claim("", f"{part.name}: RL alone wins next to nothing (below .05 at the end)",
                  level(end["RL"]), (-math.inf, 0.05), "24.5, base 24.6")
        )  # fmt: skip
    return made


EXPERT = Question(
    "expert",
    "What do an expert's steps teach where the policy itself never wins?",
    (TRAINING, "method"),
    _expert_spots,
    _expert_claims,
    "SRL (arXiv 2510.25992), competition mathematics, 7B: base 24.6, SFT 16.6, RLVR 24.5, one-shot "
    "similarity 25.9, SRL 27.6, SRL and then RLVR 28.3.",
)

# The filter. --------------------------------------------------------------------------------------
SPREADS = {"none": ",spread=-1", "ε = 0.01": "", "ε = 0.1": ",spread=10", "ε = 0.2": ",spread=20"}
"""The filters, and what they add to a teacher's name: equal cells have equal names."""


def _filter_spots(base: SignalsConfig) -> list[Spot]:
    return [
        part.spot(base, {"filter": name}, f"{ASKED}{spread}")
        for part in (ONE, MANY)
        for name, spread in SPREADS.items()
    ]


def at_updates(course: dict[int, tuple[list, list]], limit: dict[int, float]) -> dict[int, float]:
    """seed -> success after so many updates, between two tenths by a straight line; ``course`` has
    updates and success at the tenths."""
    return {
        seed: float(np.interp(limit[seed], updates, success))
        for seed, (updates, success) in course.items()
    }


def _filter_claims(found: Answers) -> list[Verdict]:
    made = []
    for part in (ONE, MANY):

        def course(name: str, part: Part = part) -> dict[int, tuple[list, list]]:
            updates = found("updates", part=part.name, filter=name)
            success = found("success", part=part.name, filter=name)
            return {seed: (updates[seed], success[seed]) for seed in updates}

        plain = course("none")
        for name in list(SPREADS)[1:]:
            kept = course(name)
            ends = [found.last("success", part=part.name, filter=which) for which in (name, "none")]
            both = {seed: min(kept[seed][0][-1], plain[seed][0][-1]) for seed in kept}
            made += [
                claim("", f"{part.name}, {name}: above no filter for the same actions",
                      difference(*ends), ABOVE, "27.6 against 24.7"),
                claim("", f"{part.name}, {name}: above no filter after as many updates",
                      difference(at_updates(kept, both), at_updates(plain, both)), ABOVE,
                      "27.6 against 24.7"),
            ]  # fmt: skip
    return made


FILTER = Question(
    "filter",
    "What does it give to leave out groups whose rewards are alike?",
    (TRAINING, "filter"),
    _filter_spots,
    _filter_claims,
    "SRL (arXiv 2510.25992): 27.6 with the filter, 24.7 without; its ε is not told.",
)

# What answers are held against. -------------------------------------------------------------------
LOCK = Part(
    "lock, one way", "combination-lock",
    ("density=1", "shortest=12", "stages=12", "horizon=24"), 0.5, 3,
)  # fmt: skip
FREE = Part(
    "gauntlet, half of it free", "gauntlet",
    ("moments=12", "spelling=2", "density=0.5", "horizon=28"), 0.5,
)  # fmt: skip
SURE = dataclasses.replace(MANY, name="key-door, sure of one way", habit=2.0)
HELD = {
    "the expert's step": "",
    "all optimal ways": ",reference=optimal",
    "states": ",reference=states",
}
PARTS = (LOCK, FREE, MANY, SURE)


def _reference_spots(base: SignalsConfig) -> list[Spot]:
    return [
        part.spot(base, {"reference": name}, f"{ASKED}{held}")
        for part in PARTS
        for name, held in HELD.items()
    ]


def _reference_claims(found: Answers) -> list[Verdict]:
    made = []
    for part in PARTS:
        expert, ways, states = (
            found.mean("success", part=part.name, reference=name) for name in HELD
        )
        lead = difference(ways, expert)
        made.append(
            claim("", f"{part.name}: the maximum over all optimal ways ties the expert's step",
                  lead, within(0.02))
            if part is LOCK
            else claim("", f"{part.name}: the maximum over all optimal ways leads the expert's "
                       "step", lead, ABOVE)
        )  # fmt: skip
        made.append(
            claim("", f"{part.name}: states come through lead the expert's step",
                  difference(states, expert), ABOVE)
        )  # fmt: skip
    return made


REFERENCES = Question(
    "references",
    "What should a step be held against: the expert's own, every optimal one, or states?",
    (TRAINING, "reference"),
    _reference_spots,
    _reference_claims,
    "SRL holds it against the expert's. Derived: two different optimal ways are alike by .67 to "
    ".70, random ones by .42 to .44, so equally good play is punished.",
)

# How alike equally good ways are. -----------------------------------------------------------------
TWO, GUESS = "two optimal ways", "random actions and an optimal way"
OF = {"steps": "steps", "whole runs": "runs"}


def _likeness_spots(base: SignalsConfig) -> list[Spot]:
    return [
        dataclasses.replace(
            part.spot(base, {"of": of, "between": between}, "srl"),
            kind="likeness", part=(field, found),
        )
        for part in (FREE, MANY)
        for of, field in OF.items()
        for between, found in ((TWO, "optimal"), (GUESS, "random"))
    ]  # fmt: skip


def _likeness_claims(found: Answers) -> list[Verdict]:
    made = []
    for part in (FREE, MANY):
        for of in OF:
            two, guess = (
                found("alike", part=part.name, of=of, between=between) for between in (TWO, GUESS)
            )
            made += [
                claim("", f"{part.name}, {of}: another optimal way loses .2 of the reward or more",
                      level({seed: 1 - x for seed, x in two.items()}), (0.2, math.inf),
                      "derived: .30 to .33"),
                claim("", f"{part.name}, {of}: it is still paid more than random actions",
                      difference(two, guess), ABOVE, "derived: .67 to .70 against .42 to .44"),
            ]  # fmt: skip
    return made


LIKENESS = Question(
    "likeness",
    "How much of its reward does an answer lose that is as good as the expert's, and another?",
    ("of", "between"),
    _likeness_spots,
    _likeness_claims,
    "SRL does not say. Derived: two different optimal ways are alike by .67 to .70, random ones by "
    ".42 to .44.",
    ("alike",),
)
