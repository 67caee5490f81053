"""The questions that calls of tools are asked (ToolPO, DeepAgent, arXiv 2510.21618)."""

from __future__ import annotations

import dataclasses

from experiments.signals.config import SignalsConfig
from experiments.signals.question import Answers, Question, Spot
from experiments.signals.tooled import CLEAN
from experiments.study import ABOVE, BELOW, Verdict, claim, difference, level

MEANINGS = ("executes", "improves", "matches")
FIELDS = ("items=5", "horizon=24", "thoughts=4")
HARMLESS = (*FIELDS, "secrecy=0")  # no recipe has to be looked up
SKILL = 1.0  # at which about one run in a hundred wins, and a quarter of all tokens are thoughts
BUDGET = 192  # 8 runs that are as long as they can be, as those of the start are
PAID = {"calls": "", "all tokens": "-unmasked", "calls, folds unpaid": "-flat"}
"""Who is paid for calls -> the end of the method's name."""
FOLDLESS = "calls, no folding"
NOTHING, SUCCESS = "nothing but success", "dr-grpo"
FULL = (
    "DeepAgent (arXiv 2510.21618), mean over its tasks: ToolPO 48.1, without attribution 46.1, "
    "without the simulator of tools 44.8, without folding 44.2, before it 44.3."
)


def _spot(
    kind: str, base: SignalsConfig, at: dict[str, float | str], method: str, fields: tuple[str, ...]
) -> Spot:
    config = dataclasses.replace(
        base, method=(), family="workshop", set=fields, skill=SKILL, budget=BUDGET,
        levels=max(base.levels // 4, 1),
    )  # fmt: skip
    return Spot(at, kind, config, method)


# Who is paid. -------------------------------------------------------------------------------------
def _tools_spots(base: SignalsConfig) -> list[Spot]:
    return [
        _spot(kind, base, {"meaning": meaning, "paid": words}, method, FIELDS)
        for meaning in MEANINGS
        for kind, words, method in [
            ("tools", NOTHING, SUCCESS),
            *(("tools", words, f"toolpo-{meaning}{end}") for words, end in PAID.items()),
            ("foldless-tools", FOLDLESS, f"toolpo-{meaning}"),
        ]
    ]


def _tools_claims(found: Answers) -> list[Verdict]:
    made = []
    for meaning in MEANINGS:

        def success(paid: str, meaning: str = meaning) -> dict[int, float]:
            return found.mean("success", meaning=meaning, paid=paid)

        def precision(paid: str, meaning: str = meaning) -> dict[int, float]:
            return found(meaning, meaning=meaning, paid=paid)

        for what, told, paper in (
            ("success", success, "48.1 against 46.1"), ("precision", precision, ""),
        ):  # fmt: skip
            made += [
                claim("", f"{meaning}, {what}: paid to calls is above paid to all tokens",
                      difference(told("calls"), told("all tokens")), ABOVE, paper),
                claim("", f"{meaning}, {what}: paid to all tokens is above success only",
                      difference(told("all tokens"), told(NOTHING)), ABOVE),
            ]  # fmt: skip
        made += [
            claim("", f"{meaning}, success: folds paid is above folds unpaid",
                  difference(success("calls"), success("calls, folds unpaid")), ABOVE),
            claim("", f"{meaning}, success: folding is above no folding",
                  difference(success("calls"), success(FOLDLESS)), ABOVE, "48.1 against 44.2"),
        ]  # fmt: skip
    return made


TOOLS = Question(
    "tools",
    "Should only the tokens of calls be paid for them, and which calls are right?",
    ("meaning", "paid"),
    _tools_spots,
    _tools_claims,
    FULL,
    ("success", "improves", "matches"),
)

# What a harmless tool does. -----------------------------------------------------------------------
SUM, SHARE = "sum", "share of the calls"


def _inflation_spots(base: SignalsConfig) -> list[Spot]:
    return [
        _spot("tools", base, {"meaning": meaning, "paid": words}, method, HARMLESS)
        for meaning in MEANINGS
        for words, method in (
            (NOTHING, SUCCESS),
            (SUM, f"toolpo-{meaning}"),
            (SHARE, f"toolpo-{meaning}-mean"),
        )
    ]


def _inflation_claims(found: Answers) -> list[Verdict]:
    def added(meaning: str, paid: str) -> dict[int, float]:
        before, after = (
            found(name, meaning=meaning, paid=paid) for name in ("queries-before", "queries")
        )
        return {seed: after[seed] - before[seed] for seed in after}

    def success(paid: str) -> dict[int, float]:
        return found.mean("success", meaning="executes", paid=paid)

    made = [
        claim("", "calls that execute, their sum: harmless queries of a run rise",
              level(added("executes", SUM)), ABOVE),
        claim("", "calls that execute, their share: they do not",
              level(added("executes", SHARE)), BELOW),
        claim("", "success: their sum is below success only",
              difference(success(SUM), success(NOTHING)), BELOW),
        claim("", "success: their share is above their sum",
              difference(success(SHARE), success(SUM)), ABOVE),
        claim("", "success: their share is above success only",
              difference(success(SHARE), success(NOTHING)), ABOVE),
    ]  # fmt: skip
    return made + [
        claim("", f"{meaning}, the sum: harmless queries do not rise",
              level(added(meaning, SUM)), BELOW)
        for meaning in ("improves", "matches")
    ]  # fmt: skip


INFLATION = Question(
    "inflation",
    "Does a tool that is of no use inflate calls where their number is paid?",
    ("meaning", "paid"),
    _inflation_spots,
    _inflation_claims,
    "DeepAgent adds up correct calls; what a correct one is was never released.",
    ("queries", "success"),
)

# Where to learn, if tools fail. -------------------------------------------------------------------
LEARNERS = (SUCCESS, *(f"toolpo-{meaning}" for meaning in ("improves", "matches")))
WHERE = {"a simulator that never fails": f"@{CLEAN}", "tools that fail": ""}


def _flaky_spots(base: SignalsConfig) -> list[Spot]:
    return [
        _spot("flaky-tools", base, {"method": method, "learned with": words}, method + end, FIELDS)
        for method in LEARNERS
        for words, end in WHERE.items()
    ]


def _flaky_claims(found: Answers) -> list[Verdict]:
    clean, flaky = WHERE

    def lead(method: str, of: str) -> tuple[dict[int, float], dict[int, float]]:
        told = found.mean if of == "training" else found.last
        first, second = (
            told("success", **{"method": method, "learned with": where}) for where in (clean, flaky)
        )
        return first, second

    return [
        claim("", f"{method}, tested where tools fail: a simulator is above them {words}",
              difference(*lead(method, of)), ABOVE, "48.1 against 44.8")
        for method in LEARNERS
        for of, words in (("training", "over the training"), ("end", "at its end"))
    ]  # fmt: skip


FLAKY_TOOLS = Question(
    "flaky",
    "Is it better to learn with simulated tools that never fail, or with those that do?",
    ("method", "learned with"),
    _flaky_spots,
    _flaky_claims,
    FULL,
    ("success", "improves"),
)
