"""Methods by name, sized so that a group costs about a budget of generated actions."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from icl.signals import credit
from icl.signals.methods import Called, Chains, Exact, Forest, Method, Valued
from icl.signals.sizes import Costs, chains, forest, valued
from icl.signals.tools import MEANINGS

Maker = Callable[[float, Costs], Method]
"""(budget, costs) -> Method: actions of one level and group, forks included."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Attributes:
    make: sizes the method.
    about: what it does and whose it is, in one line.
    """

    make: Maker
    about: str


_ENTRIES: dict[str, Entry] = {}


def register(name: str, make: Maker, about: str) -> None:
    """Adds a method; ``make(budget, costs)`` raises ValueError where the budget is too small."""
    _ENTRIES[name] = Entry(make, about)


def entries() -> Mapping[str, Entry]:
    """All methods."""
    return dict(_ENTRIES)


def find(name: str) -> Maker:
    """Who makes a method.

    Args:
        name: a registered one, or ``module:function`` of a Maker from anywhere; what follows an @
            is not looked at.

    Raises:
        ValueError: there is none of that name.
    """
    name = name.partition("@")[0]
    if ":" in name:
        module, _, function = name.partition(":")
        try:
            made: Any = getattr(importlib.import_module(module), function)
            if not callable(made):
                raise TypeError(f"{function} is of type {type(made).__name__}")
        except Exception as error:  # whatever a person's module does
            raise ValueError(
                f"method {name!r} cannot be loaded ({error}); name an importable module and a "
                "function (budget, costs) in it, and mind the PYTHONPATH"
            ) from None
        return cast(Maker, made)
    if name not in _ENTRIES:
        near = difflib.get_close_matches(name, _ENTRIES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_ENTRIES)}"
        raise ValueError(f"unknown method {name!r}; {hint}")
    return _ENTRIES[name].make


def sized(name: str, budget: float, costs: Costs) -> Method:
    """A method for a budget.

    Args:
        name: as ``find`` takes it; after an @ fields that are set by hand, as in
            ``tree-grpo-intra@trees=2,nodes=6``.
        budget: actions of one level and group, forks included.
        costs: of runs of the policy.

    Raises:
        ValueError: there is none of that name, or the budget is too small for it.
    """
    bare, _, fields = name.partition("@")
    try:
        method = find(bare)(budget, costs)
    except ValueError:
        raise
    except Exception as error:  # of a person's own
        raise ValueError(
            f"method {bare!r} cannot be made: {type(error).__name__}: {error}; it is called with a "
            "budget in actions and the Costs of runs"
        ) from None
    if not callable(method):
        raise ValueError(
            f"method {bare!r} made a {type(method).__name__}; it has to return what draws and "
            "pays: (world, agent, key) -> Signal (icl/signals/methods.py)"
        )
    return _changed(method, fields) if fields else method


def _changed(method: Method, fields: str) -> Method:
    """A method with fields ``name=whole number, …`` in place of its own."""
    known = {f.name for f in dataclasses.fields(method) if isinstance(getattr(method, f.name), int)}
    changes = {}
    for word in fields.split(","):
        name, _, value = word.partition("=")
        if name not in known or not value.isdigit() or int(value) < 1:
            raise ValueError(
                f"method field {word!r}: use name=number of {', '.join(sorted(known))}, numbers of "
                "1 or more"
            )
        changes[name] = int(value)
    return dataclasses.replace(method, **changes)


def _chains(rule) -> Maker:
    return lambda budget, costs: Chains(chains(budget, costs.steps), rule)


def _forest(**fields) -> Maker:
    def make(budget: float, costs: Costs) -> Forest:
        unit = fields.get("unit", Forest.unit)
        _told(unit, costs)
        return forest(budget, costs, **{"unit": unit} | fields)

    return make


def _valued(pieces: str, **fields) -> Maker:
    def make(budget: float, costs: Costs) -> Valued:
        _told(pieces, costs)
        return valued(budget, costs, pieces, **fields)

    return make


def _called(**fields) -> Maker:
    def make(budget: float, costs: Costs) -> Called:
        _told("call", costs)
        return Called(chains(budget, costs.steps), **fields)

    return make


def _told(unit: str, costs: Costs) -> None:
    if unit == "inside" and costs.pieces.get(unit, 2) <= 1:
        raise ValueError(
            "forks in the middle of moves need a family whose moves take several actions; use "
            "another method, or gauntlet with spelling=2"
        )
    if unit not in costs.pieces:
        what, family = {
            "call": ("calls of tools, and hands that do not stick", "workshop"),
        }.get(unit, ("sub-goals (Env.milestone)", "gauntlet"))
        raise ValueError(
            f"what is paid or cut by a {unit} needs a family that tells its {what}; use another "
            f"method, or a family such as {family}"
        )


def _unscaled(lanes):
    return credit.group(lanes, scaled=False)


register(
    "grpo",
    _chains(credit.group),
    "chains paid by their lead over the group (GRPO)",
)
register("dr-grpo", _chains(_unscaled), "the same, not divided by the spread")
register(
    "gigpo",
    _chains(credit.same_state),
    "chains, and steps compared where they were in the same state (GiGPO)",
)
for _unit, _about in (
    ("move", "before moves"),
    ("step", "before any action"),
    ("sub-goal", "where a sub-goal was reached"),
    ("chunk", "every third action"),
    ("inside", "in the middle of moves"),
    ("unsure", "where an action was unlikely"),
):
    register(
        f"tree-grpo-{_unit}",
        _forest(unit=_unit),
        f"trees that fork {_about} (Tree-GRPO)",
    )
register(
    "tree-grpo-intra",
    _forest(operator=credit.INTRA),
    "Tree-GRPO that compares within trees only",
)
register(
    "tree-grpo-inter",
    _forest(operator=credit.INTER),
    "Tree-GRPO that compares all leaves only",
)
register(
    "tree-rl",
    _forest(operator=credit.TREE_RL),
    "trees paid by the lead over all and over the parent (TreeRL)",
)
register(
    "vine-ppo",
    _valued("step"),
    "every state valued by forks (VinePPO)",
)
register(
    "spo-chunk",
    _valued("chunk"),
    "chunks of three actions valued by forks (SPO)",
)
register(
    "spo-sub-goal",
    _valued("sub-goal"),
    "cut where a sub-goal was reached, valued by forks",
)
register(
    "spo-unsure",
    _valued("unsure"),
    "cut at unlikely actions, valued by forks (SPO)",
)
register(
    "spo-masked",
    _valued("unsure", masked=True),
    "the same, and only unlikely actions are paid (SPO's probability mask)",
)
register(
    "spo-oracle",
    _valued("oracle"),
    "cut around the steps that matter, which only the oracle knows: a ceiling",
)
register(
    "pure",
    _valued("step", aggregator="soft-min", compared=True, least=2),
    "the worst gain still to come, softly, and its lead over other runs (PURE), gains by forks",
)
for _name, _about in (
    ("sum", "the sum"),
    ("mean", "the mean"),
    ("tail", "the last"),
    ("bottom-10", "the lowest tenth"),
    ("min", "the least"),
):
    register(
        f"vine-{_name}",
        _valued("step", aggregator=_name, compared=True, least=2),
        f"the same of {_about} of the gains still to come",
    )
register(
    "exact",
    lambda budget, costs: Exact(chains(budget, costs.steps)),
    "chains paid by the exact advantage: the ceiling of every grade",
)
for _meaning, _about in zip(
    MEANINGS,
    ("that work", "that bring the goal nearer", "that the oracle would have made"),
    strict=True,
):
    for _suffix, _fields, _how in (
        ("", {}, "paid to the tokens of calls and folds (ToolPO)"),
        ("-unmasked", {"masked": False}, "paid to all tokens"),
        ("-mean", {"mean": True}, "by their share, paid to the tokens of calls and folds"),
        ("-flat", {"folded": 0.0}, "paid to their tokens, and folds not at all"),
    ):
        register(
            f"toolpo-{_meaning}{_suffix}",
            _called(meaning=_meaning, **_fields),
            f"chains paid for success and for calls {_about}, {_how}",
        )
