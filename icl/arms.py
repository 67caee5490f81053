"""Arms: the rules that arrange a pool of groups into contexts, and what a rule asks of its pool.

No JAX here, so that a command line can be checked before JAX is imported; ``icl/contexts.py``
carries the rules out.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

WHOLE = 0  # a chunk length that stands for the whole horizon


@dataclasses.dataclass(frozen=True)
class Arm:
    """A rule that arranges a pool into contexts. A pytree: all but ``alone`` are traced leaves.

    Attributes:
        chunk: c, steps of a cell; it divides the horizon T. ``WHOLE`` stands for T.
        burstiness: p_b in [0, 1]; round(p_b * n) of the pool's n contexts are bursty.
        sharing: how many of a bursty context's E slots come from one level, the query's slot
            among them; the others are foreign. At most E (larger values mean E).
        shuffled: whether the cells of a context are put in random order.
        apart: the query is not among those that share: ``sharing`` of the E - 1 other slots come
            from one level, which is not the query's. At most E - 1 share then.
        alone: each trajectory is a context of its own; the other fields mean nothing then.
    """

    chunk: Any = WHOLE
    burstiness: Any = 1.0
    sharing: Any = 2**15
    shuffled: Any = False
    apart: Any = False
    alone: bool = False


NAMED: dict[str, Arm] = {
    "bursty": Arm(),
    "nonbursty": Arm(burstiness=0.0),
    "bursty-chunks": Arm(chunk=4, shuffled=True),
    "isolated-chunks": Arm(chunk=4, burstiness=0.0, shuffled=True),
    "shuffled": Arm(chunk=1, shuffled=True),
    "single": Arm(alone=True),
}


SETTINGS = {
    "p": ("burstiness", "a number from 0 to 1", r"0|1|0?\.\d+|1\.0*"),
    "sharing": ("sharing", "a whole number of 2 or more", r"[2-9]|[1-9]\d{1,3}"),
    "query": ("apart", "among or apart", "among|apart"),
    "order": ("shuffled", "kept or shuffled", "kept|shuffled"),
}  # key in a name: field of Arm, what it takes, and as a pattern
READ: dict[str, Callable[[str], Any]] = {
    "p": float,
    "sharing": int,
    "query": lambda value: value == "apart",
    "order": lambda value: value == "shuffled",
}


def named(name: str, chunk: int = 4) -> Arm:
    """The arm of a name, with settings behind a colon: ``bursty:p=0.5``, ``bursty-chunks:8``,
    ``bursty-chunks:8,p=0.5,order=kept``, ``bursty:sharing=2,query=apart``.

    Args:
        name: as in ``NAMED``; then, divided by commas, c of a chunked arm, and p (burstiness),
            sharing, query (among, apart) and order (kept, shuffled) of any arm with slots.
        chunk: c of the chunked arms where the name says none.

    Raises:
        ValueError: unknown name or setting (with the nearest known one), or a value out of place.
    """
    base, _, rest = name.partition(":")
    if base not in NAMED:
        raise ValueError(f"unknown arm {name!r}; {_near(base, NAMED)}")
    chunked = base.endswith("-chunks")
    found = {"chunk": chunk} if chunked else {}
    said: list[str] = []
    for part in rest.split(",") if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            if not (chunked and not said and part.isdigit() and int(part)):
                raise ValueError(
                    f"arm {name!r}: a chunk length is a whole number of 1 or more after the name "
                    "of a chunked arm, as in 'isolated-chunks:1'; other settings have a name, as "
                    "in 'bursty:p=0.5'"
                )
            found["chunk"] = int(part)
        elif key not in SETTINGS:
            raise ValueError(f"arm {name!r}: unknown setting {key!r}; {_near(key, SETTINGS)}")
        elif key in said or NAMED[base].alone:
            why = "its contexts have no slots" if NAMED[base].alone else "it stands twice"
            raise ValueError(f"arm {name!r}: {key} has no place there, {why}; leave it out")
        else:
            field, wanted, pattern = SETTINGS[key]
            if not re.fullmatch(pattern, value):
                raise ValueError(f"arm {name!r}: {key} is {value!r}; use {wanted}")
            found[field] = READ[key](value)
        said.append(key)
    return dataclasses.replace(NAMED[base], **found)


def _near(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


@dataclasses.dataclass(frozen=True)
class Deal:
    """What ``check`` finds out about an arm on a pool.

    Attributes:
        bursty: contexts of the pool that are bursty.
        realised: the burstiness that comes out, bursty / n.
        multiplicity: the most foreign cells that a context has from one level, those that share
            theirs aside; 1 but for c = 1.
    """

    bursty: int
    realised: float
    multiplicity: int


def check(arm: Arm, levels: int, slots: int, horizon: int) -> Deal:
    """Checks that a pool is large enough for an arm.

    Args:
        arm: with concrete numbers.
        levels: n, levels of one family in the pool.
        slots: E.
        horizon: T.

    Raises:
        ValueError: the chunk does not divide the horizon, burstiness is no probability, fewer
            than two slots share a level, or foreign cells cannot come from different levels.
    """
    if arm.alone:
        return Deal(0, 0.0, 0)
    apart = int(bool(arm.apart))
    chunk, sharing = int(arm.chunk) or horizon, min(int(arm.sharing), slots - apart)
    burstiness = float(arm.burstiness)
    if chunk < 1 or horizon % chunk:
        divisors = [c for c in range(1, horizon + 1) if horizon % c == 0]
        raise ValueError(f"chunk {chunk} does not divide horizon {horizon}; use one of {divisors}")
    if not 0 <= burstiness <= 1:
        raise ValueError(f"burstiness {burstiness} is no probability; use a number from 0 to 1")
    if sharing < 2:
        raise ValueError(
            f"sharing {sharing} of {slots} slots{', the query apart' * apart}: a bursty context "
            "shares a level in at least 2 slots"
        )
    # In float32, as ``arrange`` has it, so that ties round alike.
    bursty = round(float(np.float32(burstiness) * np.float32(levels)))
    each = horizon // chunk
    multiplicity = 1
    # Where the query is apart, one more level is met: that which the others share.
    away = (slots - sharing - apart) * each + apart
    for ring, foreign in ((bursty, away), (levels - bursty, (slots - 1) * each)):
        if not ring or not foreign:
            continue
        spread = math.inf if ring == 1 else math.ceil(foreign / (ring - 1))
        if spread > 1 and (chunk > 1 or ring == 1):
            raise ValueError(
                f"pool too small: {foreign} foreign cells of {chunk} steps need {foreign + 1} "
                f"levels of a family to exchange among, the pool has {ring}; raise pool or contexts"
            )
        multiplicity = max(multiplicity, int(spread))
    return Deal(bursty, bursty / levels, multiplicity)
