"""Studies of the training data: which of its properties make a model learn in context."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from experiments.config import CompareConfig
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
    slope,
    within,
)

ALIKE = within(0.05)  # scores that differ by less count as equal


def vary(base: CompareConfig, arm: str = "bursty", **fields: Any) -> CompareConfig:
    """The config with other fields, of one arm."""
    return dataclasses.replace(base, arms=(arm,), readers=(), **fields)


# Burstiness. -------------------------------------------------------------------------------
P_B = (0.0, 0.25, 0.5, 0.75, 1.0)


def burst(p: float) -> str:
    """The arm of whole trajectories at a burstiness."""
    return {0.0: "nonbursty", 1.0: "bursty"}.get(p, f"bursty:p={p:g}")


def _burstiness(base: CompareConfig) -> list[Point]:
    return [Point({"p_b": p}, vary(base, burst(p)), burst(p)) for p in P_B]


def _burstiness_claims(found: Found) -> list[Verdict]:
    one = [found.scores(p_b=p) for p in P_B]
    none = [found.scores(p_b=p, demos=0) for p in P_B]
    paper = "one-shot −.13, .18, .35 at p_b = 0, .6, 1"
    return [
        claim("S2", "one-shot on unseen levels rises with p_b (slope)", slope(P_B, one), ABOVE,
              paper),
        claim("S2", "zero-shot on unseen levels stays flat in p_b (slope within ± 0.05)",
              slope(P_B, none), ALIKE, "zero-shot −.19, −.18, −.11"),
        claim("S3", "at p_b = 0 one demonstration brings nothing (within ± 0.05)",
              difference(one[0], none[0]), ALIKE, "−.13 against −.19"),
        claim("S2", "one-shot on unseen families rises with p_b (slope)",
              slope(P_B, [found.scores("unseen-family", p_b=p) for p in P_B]), ABOVE, paper),
    ]  # fmt: skip


BURSTINESS = Study(
    "burstiness",
    "Does one demonstration help more, the more training contexts repeat a level?",
    ("p_b",),
    _burstiness,
    _burstiness_claims,
    "Raparthy et al. (arXiv 2312.03801): one-shot return rises with p_b, zero-shot stays flat.",
    (("k = 0", ((0, -0.19), (0.6, -0.18), (1, -0.11))),
     ("k = 1", ((0, -0.13), (0.6, 0.18), (1, 0.35)))),
)  # fmt: skip


# Chunks. -----------------------------------------------------------------------------------
def lengths(base: CompareConfig) -> list[int]:
    """1, 2, 4 … T, of those the divisors of T."""
    powers = [2**i for i in range(base.horizon.bit_length()) if base.horizon % 2**i == 0]
    return powers if powers[-1] == base.horizon else [*powers, base.horizon]


REACHED = 0.3  # one-shot score on unseen levels that counts as having learned
PLANE = (0.0, 0.5, 1.0)


def _chunks(base: CompareConfig) -> list[Point]:
    points = []
    for c in lengths(base):
        for p in PLANE:
            arm = burst(p) if c == base.horizon else f"bursty-chunks:{c},p={p:g}"
            points.append(Point({"chunk": c, "p_b": p}, vary(base, arm), arm))
    return points


def _chunks_claims(found: Found) -> list[Verdict]:
    cs = sorted({int(point.at["chunk"]) for point in found.points})
    own = {c: found.scores(chunk=c, p_b=1.0) for c in cs}
    apart = {c: found.scores(chunk=c, p_b=0.0) for c in cs}
    whole = cs[-1]
    made = [
        claim("S12", f"whole trajectories beat chunks of {c} of the same level, one-shot",
              difference(own[whole], own[c]), ABOVE)
        for c in cs[:-1]
    ]  # fmt: skip
    soon = found.updates_to(REACHED, chunk=whole, p_b=1.0)
    made += [
        claim("S12", f"chunks of {c} of the same level need more updates than whole trajectories "
              f"to a one-shot score of {REACHED} (a run that never got there counts with its last)",
              difference(found.updates_to(REACHED, chunk=c, p_b=1.0), soon), ABOVE)
        for c in cs[:-1]
    ]  # fmt: skip
    made.append(
        claim("S12", "one-shot rises with the length of same-level chunks (slope a doubling)",
              slope([math.log2(c) for c in cs], [own[c] for c in cs]), ABOVE)
    )  # fmt: skip
    made += [
        claim("S12", f"chunks of {c} of the same level beat those of other levels, one-shot",
              difference(own[c], apart[c]), ABOVE)
        for c in cs
    ]  # fmt: skip
    made += [
        claim("S12", f"chunks of {c} of other levels teach nothing (one-shot within ± 0.05 of 0)",
              level(apart[c]), ALIKE)
        for c in cs
    ]  # fmt: skip
    return made


CHUNKS = Study(
    "chunks",
    "What do whole trajectories give over chunks of the same transitions, at every burstiness?",
    ("chunk", "p_b"),
    _chunks,
    _chunks_claims,
    "Not in the paper, which had no arm of isolated chunks.",
)


# How many share the level. -----------------------------------------------------------------
def _multiplicity(base: CompareConfig) -> list[Point]:
    points = []
    for query in ("among", "apart"):
        most = base.slots - (query == "apart")
        for sharing in range(2, most + 1):
            whole = query == "among" and sharing == base.slots
            arm = "bursty" if whole else f"bursty:sharing={sharing},query={query}"
            points.append(Point({"sharing": sharing, "query": query}, vary(base, arm), arm))
    return points


def _multiplicity_claims(found: Found) -> list[Verdict]:
    among = [int(p.at["sharing"]) for p in found.points if p.at["query"] == "among"]
    apart = [int(p.at["sharing"]) for p in found.points if p.at["query"] == "apart"]
    cells = [found.scores(sharing=s, query="among") for s in among]
    return [
        claim("S2", "one-shot rises with the number of trajectories that share the query's level "
              "(slope a trajectory)", slope(among, cells), ABOVE),
        claim("S2", "two that share suffice: their one-shot score is above 0",
              level(cells[0]), ABOVE),
        *(
            claim("S3", f"{s} of one level that is not the query's teach nothing: one-shot within "
                  "± 0.05 of zero-shot",
                  difference(found.scores(sharing=s, query="apart"),
                             found.scores(sharing=s, query="apart", demos=0)), ALIKE)
            for s in apart
        ),
    ]  # fmt: skip


MULTIPLICITY = Study(
    "multiplicity",
    "How many trajectories must share a level, and must the query be one of them?",
    ("sharing", "query"),
    _multiplicity,
    _multiplicity_claims,
    "Left open in the paper: at least two of a context share a level.",
)


# Levels, families, frequencies. -------------------------------------------------------------
SHARES = (32, 8, 2, 1)  # of the base's training levels, one in so many


def _levels(base: CompareConfig) -> list[Point]:
    counts = [base.train_levels // share for share in SHARES]
    return [Point({"train_levels": n}, vary(base, train_levels=n), "bursty") for n in counts]


def _levels_claims(found: Found) -> list[Verdict]:
    counts = [int(point.at["train_levels"]) for point in found.points]
    one = [found.scores(train_levels=n) for n in counts]
    none = [found.scores(train_levels=n, demos=0) for n in counts]
    doublings = [math.log2(n) for n in counts]
    paper = "one-shot .03, .17, .46, .34 at 2k, 10k, 30k, 100k levels"
    return [
        claim("S8", f"one-shot on unseen levels is higher with {counts[-1]} levels than with "
              f"{counts[0]}", difference(one[-1], one[0]), ABOVE, paper),
        claim("S8", f"it is in plateau: {counts[-1]} levels bring less than 0.05 over "
              f"{counts[-2]}", difference(one[-1], one[-2]), (-math.inf, 0.05), paper),
        claim("S8", "zero-shot stays flat in the number of levels (slope a doubling within ± 0.05)",
              slope(doublings, none), ALIKE, "−.14, −.18, −.21, −.12"),
    ]  # fmt: skip


LEVELS_STUDY = Study(
    "levels",
    "How many different levels must training hold?",
    ("train_levels",),
    _levels,
    _levels_claims,
    "Raparthy et al.: a rise, then a plateau; zero-shot flat.",
)

FAMILIES = {
    1: ("dark-room",),
    2: ("dark-room", "key-door"),
    4: ("dark-room", "teleporters", "lava-crossing", "key-door"),
    8: ("dark-room", "teleporters", "lava-crossing", "key-door", "ice", "four-rooms", "memory",
        "heist"),
}  # fmt: skip


def _families(base: CompareConfig) -> list[Point]:
    return [
        Point({"families": n}, vary(base, families=names), "bursty")
        for n, names in FAMILIES.items()
    ]


def _families_claims(found: Found) -> list[Verdict]:
    one = [found.scores("unseen-family", families=n) for n in FAMILIES]
    none = [found.scores("unseen-family", families=n, demos=0) for n in FAMILIES]
    doublings = [math.log2(n) for n in FAMILIES]
    return [
        claim("S9", "one-shot on unseen families rises with the number of training families "
              "(slope a doubling)", slope(doublings, one), ABOVE,
              "one-shot −.33, .34, .30, .34 with 1, 4, 8, 12 tasks"),
        claim("S9", "zero-shot on unseen families rises with the number of training families "
              "(slope a doubling)", slope(doublings, none), ABOVE,
              "zero-shot −1.02, −.57, −.32, −.13"),
    ]  # fmt: skip


FAMILIES_STUDY = Study(
    "families",
    "Do more training families help on families never seen?",
    ("families",),
    _families,
    _families_claims,
    "Raparthy et al.: with more tasks zero-shot rises and one-shot reaches a plateau.",
    (("k = 0", ((1, -1.02), (4, -0.57), (8, -0.32), (12, -0.13))),
     ("k = 1", ((1, -0.33), (4, 0.34), (8, 0.30), (12, 0.34)))),
)  # fmt: skip

ZIPF = (0.0, 1.0, 2.0)


def _zipf(base: CompareConfig) -> list[Point]:
    return [Point({"zipf": z}, vary(base, zipf=z), "bursty") for z in ZIPF]


def _zipf_claims(found: Found) -> list[Verdict]:
    one = [found.scores(zipf=z) for z in ZIPF]
    seen = [found.scores("seen-level", zipf=z, demos=0) for z in ZIPF]
    return [
        claim("", "exponent 1 costs less than 0.05 of the one-shot score on unseen levels",
              difference(one[0], one[1]), (-math.inf, 0.05),
              "Chan et al.: near exponent 1 both abilities live side by side"),
        claim("", "seen levels (the frequent ones) are learned in weights: zero-shot rises with "
              "the exponent (slope)", slope(ZIPF, seen), ABOVE),
        claim("", "one-shot on unseen levels falls with the exponent (slope)",
              slope(ZIPF, one), BELOW),
    ]  # fmt: skip


ZIPF_STUDY = Study(
    "zipf",
    "Do levels of unequal frequency put knowledge into weights, and what becomes of the context?",
    ("zipf",),
    _zipf,
    _zipf_claims,
    "Chan et al. (arXiv 2205.05055), image classes: an exponent near 1 keeps both abilities.",
)

STUDIES = (BURSTINESS, CHUNKS, MULTIPLICITY, LEVELS_STUDY, FAMILIES_STUDY, ZIPF_STUDY)
