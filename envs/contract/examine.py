"""The examination: every check in its order, each with one line of result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from envs.contract import conduct, form, meaning
from envs.contract.faults import Fault, Inapplicable, explain
from envs.contract.specimen import Specimen


class Check(NamedTuple):
    """One part of the contract.

    Attributes:
        name: a word.
        claim: what holds of a family that passes.
        look: raises Fault where it does not hold, Inapplicable where it says nothing.
        needs: the check without which this one means nothing.
    """

    name: str
    claim: str
    look: Callable[[Specimen], None]
    needs: str = "types"


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        check: what was checked.
        fault: what is wrong, in one line: method and remedy; empty where nothing is.
        note: why there was nothing to check; empty where there was.
        waits: the name of the broken check without which this one means nothing; empty where it
            was made.
    """

    check: Check
    fault: str = ""
    note: str = ""
    waits: str = ""


CHECKS = (
    Check("family", "a subclass of Env", form.is_family, ""),
    Check("fields", "sizes are static, numbers traced, defaults fit", form.fields, "family"),
    Check("sizes", "actions, fields, symbols and states are counted", form.sizes, "fields"),
    Check("methods", "none is missing, the level comes first", form.methods, "sizes"),
    Check("compiles", "no Python control flow on traced values", form.compiles, "methods"),
    Check("keys", "no random key in a level or a state", form.no_keys, "compiles"),
    Check("types", "shapes and dtypes are as documented", form.types, "keys"),
    Check("agreement", "plain, compiled and vectorised calls agree", conduct.agrees),
    Check("one program", "nothing is compiled again between levels", conduct.one_program),
    Check("episodes", "they end once, by the horizon, and freeze", conduct.episodes),
    Check("ranges", "symbols in [0, V), rewards in [-1, 1]", conduct.ranges),
    Check("start", "reset does not depend on its key", conduct.one_start),
    Check("codes", "encode and decode are inverse", conduct.codes),
    Check("table", "the oracle's table says what step does", conduct.table, "codes"),
    Check("solvable", "some levels can be solved within the horizon", meaning.solvable, "codes"),
    Check("many", "there are many different levels", meaning.different, "codes"),
    Check("symmetries", "copies are the same problem", meaning.symmetric, "codes"),
    Check("picture", "int32[H, W] of known tiles", meaning.drawn),
    Check("text", "levels are written, and read back the same", meaning.written),
)


def examine(family: Any) -> Iterator[Finding]:
    """Checks a family against the contract, one finding at a time.

    Args:
        family: a class, made with its defaults, or an environment.
    """
    specimen, broken, seen = Specimen(family), set(), dict[str, str]()
    for check in CHECKS:
        if check.needs in broken:
            broken.add(check.name)
            yield Finding(check, waits=check.needs)
            continue
        try:
            check.look(specimen)
        except Inapplicable as reason:
            yield Finding(check, note=str(reason))
        except Exception as error:
            fault = error if isinstance(error, Fault) else None
            text = str(fault or explain(error, check.name, specimen.family))
            broken.add(check.name)
            first = seen.setdefault(text, check.name)  # one mistake is told once
            yield Finding(check, fault=text) if first == check.name else Finding(check, waits=first)
        else:
            yield Finding(check)
