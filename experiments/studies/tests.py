"""Studies of the test: what is demonstrated, and what the world does to a mistake."""

from __future__ import annotations

import dataclasses
import math

from experiments.config import CompareConfig
from experiments.studies.data import ALIKE, vary
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
)
from icl.conditions import DEMONSTRATIONS

READERS = ("hash-map", "nearest-neighbour")


def read(base: CompareConfig, reader: str) -> CompareConfig:
    """The config with a reader for the point."""
    return dataclasses.replace(base, arms=("bursty",), readers=(reader,))


# Demonstrations. ---------------------------------------------------------------------------
def _demonstrations(base: CompareConfig) -> list[Point]:
    arms = ("bursty", "nonbursty", "single")
    return [Point({"arm": arm}, vary(base, arm), arm) for arm in arms] + [
        Point({"arm": reader}, read(base, reader), reader) for reader in READERS
    ]


def _demonstrations_claims(found: Found) -> list[Verdict]:
    most = max(row["demos"] for row in found.rows)
    made = []
    for split in ("unseen-level", "unseen-family"):
        where = "levels" if split == "unseen-level" else "families"
        none, one, all_ = (found.scores(split, k, arm="bursty") for k in (0, 1, most))
        single = found.scores(split, 1, arm="single")
        rest = {seed: (one[seed] - none[seed]) - (all_[seed] - one[seed]) for seed in one}
        made += [
            claim("S1", f"multi-trajectory training beats single-trajectory training at one "
                  f"demonstration, on unseen {where}", difference(one, single), ABOVE,
                  ".78 ± .07 against −.32 ± .05"),
            claim("S5", f"the first demonstration brings more than all the later ones together "
                  f"(k = {most}), on unseen {where}", level(rest), ABOVE,
                  "MiniHack: −.34 .51 .57 .59 .63 at k = 0, 1, 3, 5, 7"),
        ]  # fmt: skip
    made += [
        claim("S6", f"the model beats the {reader} reader, one-shot on unseen levels",
              difference(found.scores(arm="bursty"), found.scores(arm=reader)), ABOVE,
              "hash map .19 against .51 (MiniHack, sticky)")
        for reader in READERS
    ]  # fmt: skip
    return made


DEMOS = Study(
    "demonstrations",
    "What does each demonstration bring?",
    ("demos", "arm"),
    _demonstrations,
    _demonstrations_claims,
    "Raparthy et al.: the first demonstration brings most of the gain.",
    (("MiniHack", ((0, -0.34), (1, 0.51), (3, 0.57), (5, 0.59), (7, 0.63))),),
)


def _foreign(base: CompareConfig) -> list[Point]:
    shown = ("whole", "foreign")
    return [Point({"arm": "bursty"}, vary(base, demonstrations=shown), "bursty")] + [
        Point({"arm": name}, dataclasses.replace(read(base, name), demonstrations=shown), name)
        for name in READERS
    ]


def _foreign_claims(found: Found) -> list[Verdict]:
    made = []
    for split in ("unseen-level", "unseen-family"):
        own = found.scores(split, arm="bursty")
        other = found.scores(split, arm="bursty", demonstrations="foreign")
        none = found.scores(split, 0, arm="bursty")
        made += [
            claim("", f"a demonstration of the level itself beats one of another level ({split})",
                  difference(own, other), ABOVE),
            claim("", f"a demonstration of another level brings nothing ({split}, within ± 0.05)",
                  difference(other, none), ALIKE),
        ]  # fmt: skip
    return made


FOREIGN = Study(
    "foreign-level",
    "Is it the level that a demonstration tells, or the family?",
    ("demos", "demonstrations", "arm"),
    _foreign,
    _foreign_claims,
)


def _quality(base: CompareConfig) -> list[Point]:
    kinds = tuple(DEMONSTRATIONS)
    return [Point({"arm": "bursty"}, vary(base, demonstrations=kinds), "bursty")] + [
        Point({"arm": name}, dataclasses.replace(read(base, name), demonstrations=kinds), name)
        for name in READERS
    ]


def _quality_claims(found: Found) -> list[Verdict]:
    whole = found.scores(arm="bursty")
    poor = {
        kind: found.scores(arm="bursty", demonstrations=kind)
        for kind in ("suboptimal", "truncated", "corrupted", "swapped", "relabelled", "reordered")
    }
    most = max(row["demos"] for row in found.rows)
    late = found.scores(demos=most, arm="bursty", demonstrations="swapped")
    made = [
        claim("", f"one {kind} demonstration costs: {DEMONSTRATIONS[kind]}",
              difference(whole, poor[kind]), ABOVE)
        for kind in poor
    ]  # fmt: skip
    made.append(
        claim("", f"with {most} demonstrations the model gets over a first one of another level",
              difference(late, poor["swapped"]), ABOVE)
    )  # fmt: skip
    made += [
        claim("S6", f"on corrupted demonstrations the model beats the {reader} reader",
              difference(poor["corrupted"],
                         found.scores(arm=reader, demonstrations="corrupted")), ABOVE)
        for reader in READERS
    ]  # fmt: skip
    return made


QUALITY = Study(
    "demo-quality",
    "What must a demonstration be like to be of use?",
    ("demonstrations", "arm"),
    _quality,
    _quality_claims,
)


# Dynamics. ---------------------------------------------------------------------------------
TRAINED = (0.0, 0.1, 0.3)
PLAYED = (0.0, 0.1, 0.3, 0.5)


def _stickiness(base: CompareConfig) -> list[Point]:
    points = []
    for test in PLAYED:
        for train in TRAINED:
            config = vary(base, stickiness=train, test_stickiness=test)
            points.append(Point({"test": test, "train": str(train)}, config, "bursty"))
        for reader in READERS:
            config = dataclasses.replace(read(base, reader), test_stickiness=test)
            points.append(Point({"test": test, "train": reader}, config, reader))
    return points


def _stickiness_claims(found: Found) -> list[Verdict]:
    def cell(train: str, test: float) -> dict[int, float]:
        return found.scores(train=train, test=test)

    sticky, fixed = (mean_of(cell(train, t) for t in PLAYED[1:]) for train in ("0.1", "0.0"))
    made = [
        claim("S7", "training with stickiness 0.1 wins where tests are sticky, one-shot",
              difference(sticky, fixed), ABOVE, ".85 against .71"),
        claim("S7", "training with stickiness 0.1 wins where tests are deterministic, one-shot",
              difference(cell("0.1", 0.0), cell("0.0", 0.0)), ABOVE, ".96 against .82"),
    ]  # fmt: skip
    for reader in READERS:
        made += [
            claim("S6", f"without stickiness the {reader} reader is nearly an oracle (above 0.9)",
                  level(cell(reader, 0.0)), (0.9, math.inf)),
            claim("S6", f"at stickiness {PLAYED[-1]} the model trained at 0.3 beats the {reader} "
                  "reader, one-shot",
                  difference(cell("0.3", PLAYED[-1]), cell(reader, PLAYED[-1])), ABOVE),
            claim("S6", f"the {reader} reader falls faster with stickiness than the model trained "
                  "at 0.3 (difference of slopes)",
                  _steeper([cell(reader, t) for t in PLAYED], [cell("0.3", t) for t in PLAYED]),
                  BELOW),
        ]  # fmt: skip
    return made


def _steeper(first: list[dict[int, float]], second: list[dict[int, float]]):
    """The slope over the tests' stickiness of first - second."""
    apart = [{seed: a[seed] - b[seed] for seed in a} for a, b in zip(first, second, strict=True)]
    return slope(PLAYED, apart)


STICKINESS = Study(
    "stickiness",
    "What does stickiness do, in training and in the test?",
    ("test", "train"),
    _stickiness,
    _stickiness_claims,
    "Raparthy et al.: trained sticky .96 and .85 on deterministic and sticky tests; trained "
    "deterministic .82 and .71.",
)

LETHALITY = (0.0, 0.5, 1.0)


def _lethality(base: CompareConfig) -> list[Point]:
    return [
        Point({"lethality": x, "arm": arm},
              vary(base, lethality=x) if arm == "bursty"
              else dataclasses.replace(read(base, arm), lethality=x), arm)
        for x in LETHALITY
        for arm in ("bursty", *READERS)
    ]  # fmt: skip


def _lethality_claims(found: Found) -> list[Verdict]:
    made = []
    for arm in ("bursty", *READERS):
        cells = [found.scores(lethality=x, arm=arm) for x in LETHALITY]
        who = "the model" if arm == "bursty" else f"the {arm} reader"
        made.append(
            claim("S11", f"{who} falls where mistakes end the episode, one-shot (slope)",
                  slope(LETHALITY, cells), BELOW,
                  "unforgiving Memento-F4: action agreement .85, return −.09")
        )  # fmt: skip
    return made


LETHAL = Study(
    "lethality",
    "What does it cost that mistakes are final?",
    ("lethality", "arm"),
    _lethality,
    _lethality_claims,
    "Raparthy et al.: tasks that forgive nothing fail at high agreement with the expert.",
)

STUDIES = (DEMOS, FOREIGN, QUALITY, STICKINESS, LETHAL)
