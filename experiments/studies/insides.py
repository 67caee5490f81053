"""Studies of what a model does inside: does it read its context, or does it know?"""

from __future__ import annotations

from typing import Any

from experiments.config import CompareConfig
from experiments.studies.data import ALIKE, burst, vary
from experiments.study import ABOVE, Found, Point, Study, Verdict, claim, difference, slope

P_B = (0.0, 0.5, 1.0)
MEANINGS = ("drawn", "fixed")  # of actions and symbols: anew for every level, or once for all


def _points(base: CompareConfig) -> list[Point]:
    points = []
    for meaning in MEANINGS:
        drawn = meaning == "drawn"
        fields = {} if drawn else {"scramble_actions": False, "scramble_symbols": False}
        points += [
            Point({"p_b": p, "meaning": meaning}, vary(base, burst(p), **fields), burst(p))
            for p in P_B
        ]
    return points


def _claims(found: Found) -> list[Verdict]:
    drawn: dict[str, Any] = {"p_b": 1.0, "meaning": "drawn"}
    fixed: dict[str, Any] = {"p_b": 1.0, "meaning": "fixed"}
    alone: dict[str, Any] = {"p_b": 0.0, "meaning": "drawn"}
    renamed: dict[str, Any] = {"demonstrations": "relabelled"}
    made = [
        claim("", "trained bursty, the model follows demonstrations whose actions were renamed: "
              "at demonstrated states it plays the new name more often than the old one",
              difference(found.probe("copy", **drawn, **renamed),
                         found.probe("original", **drawn, **renamed)), ABOVE),
        claim("", "trained at p_b = 0, it follows them less than trained bursty",
              difference(found.probe("copy", **drawn, **renamed),
                         found.probe("copy", **alone, **renamed)), ABOVE),
        claim("", "trained bursty, it plays the expert's action more often at states that were "
              "demonstrated than at novel ones",
              difference(found.probe("agree-hit", **drawn),
                         found.probe("agree-novel", **drawn)), ABOVE),
        claim("", "where meanings are fixed, a bursty model relies on the names shown less than "
              "where they are drawn for each level",
              difference(found.probe("copy", **drawn, **renamed),
                         found.probe("copy", **fixed, **renamed)), ABOVE),
    ]  # fmt: skip
    whole = found.probe("copy", **drawn)
    silent = {
        place: {
            seed: found.probe("copy without", unit=unit, **drawn)[seed]
            for seed, unit in heads(found, drawn, place).items()
        }
        for place in (-1, 0)
    }
    made += [
        claim("", "the head that looks most at the demonstrated answers copies: without it the "
              "model plays the action shown less often",
              difference(whole, silent[-1]), ABOVE),
        claim("", "it copies more than the head that looks at them least",
              difference(silent[0], silent[-1]), ABOVE),
    ]  # fmt: skip
    cells = [found.scores("seen-level", meaning="fixed", p_b=p) for p in P_B]
    none = [found.scores("seen-level", 0, meaning="fixed", p_b=p) for p in P_B]
    made += [
        claim("S4", "on training levels of fixed meaning p_b changes the one-shot score little "
              "(slope within ± 0.05)", slope(P_B, cells), ALIKE,
              "train tasks are solved in weights"),
        claim("S4", "on training levels of fixed meaning a demonstration changes little at "
              "p_b = 1 (within ± 0.05)", difference(cells[-1], none[-1]), ALIKE),
    ]  # fmt: skip
    return made


def heads(found: Found, at: dict[str, Any], place: int) -> dict[int, str]:
    """seed -> its head at a place in the order of attention on the demonstrated answers, from the
    least (0) to the most (-1)."""
    looks: dict[int, dict[str, float]] = {}
    for unit in dict.fromkeys(row["unit"] for row in found.probes if "unit" in row):
        for seed, value in found.probe("match", unit=unit, **at).items():
            looks.setdefault(seed, {})[unit] = value
    return {seed: sorted(own, key=lambda unit: own[unit])[place] for seed, own in looks.items()}


WEIGHTS = Study(
    "in-weights",
    "Does the model read its context, or does it know the answer from its weights?",
    ("p_b", "meaning"),
    _points,
    _claims,
    "Raparthy et al.: on train tasks k and p_b change little; they are solved in weights.",
    probes=True,
)

STUDIES = (WEIGHTS,)
