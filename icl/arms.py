"""Arms: the rules that arrange a pool of groups into contexts, and what a rule asks of its pool.

No JAX here, so that a command line can be checked before JAX is imported; ``icl/contexts.py``
carries the rules out.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any

import numpy as np

WHOLE = 0  # a chunk length that stands for the whole horizon


@dataclasses.dataclass(frozen=True)
class Arm:
    """A rule that arranges a pool into contexts. A pytree: all but ``alone`` are traced leaves.

    Attributes:
        chunk: c, steps of a cell; it divides the horizon T. ``WHOLE`` stands for T.
        burstiness: p_b in [0, 1]; round(p_b * n) of the pool's n contexts are bursty.
        sharing: how many of a bursty context's E slots, the query's included, come from the
            query's level; the others are foreign. At most E (larger values mean E).
        shuffled: whether the cells of a context are put in random order.
        alone: each trajectory is a context of its own; the other fields mean nothing then.
    """

    chunk: Any = WHOLE
    burstiness: Any = 1.0
    sharing: Any = 2**15
    shuffled: Any = False
    alone: bool = False


NAMED: dict[str, Arm] = {
    "bursty": Arm(),
    "nonbursty": Arm(burstiness=0.0),
    "bursty-chunks": Arm(chunk=4, shuffled=True),
    "isolated-chunks": Arm(chunk=4, burstiness=0.0, shuffled=True),
    "shuffled": Arm(chunk=1, shuffled=True),
    "single": Arm(alone=True),
}


def named(name: str, chunk: int = 4) -> Arm:
    """The arm of a name, or of ``name:c`` for another chunk length.

    Args:
        name: as in ``NAMED``, with ``:c`` behind it for the chunked arms.
        chunk: c of the chunked arms where the name says none.

    Raises:
        ValueError: unknown name (with the nearest known one) or a chunk length out of place.
    """
    base, _, length = name.partition(":")
    if base not in NAMED:
        near = difflib.get_close_matches(base, NAMED, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(NAMED)}"
        raise ValueError(f"unknown arm {name!r}; {hint}")
    arm = NAMED[base]
    chunked = base.endswith("-chunks")
    if length and not (chunked and length.isdigit() and int(length)):
        raise ValueError(
            f"arm {name!r}: a chunk length is a whole number of 1 or more after the name of a "
            "chunked arm, as in 'isolated-chunks:1'"
        )
    return dataclasses.replace(arm, chunk=int(length or chunk)) if chunked else arm


@dataclasses.dataclass(frozen=True)
class Deal:
    """What ``check`` finds out about an arm on a pool.

    Attributes:
        bursty: contexts of the pool that are bursty.
        realised: the burstiness that comes out, bursty / n.
        multiplicity: the most foreign cells that a context has from one level; 1 but for c = 1.
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
    chunk, sharing = int(arm.chunk) or horizon, min(int(arm.sharing), slots)
    burstiness = float(arm.burstiness)
    if chunk < 1 or horizon % chunk:
        divisors = [c for c in range(1, horizon + 1) if horizon % c == 0]
        raise ValueError(f"chunk {chunk} does not divide horizon {horizon}; use one of {divisors}")
    if not 0 <= burstiness <= 1:
        raise ValueError(f"burstiness {burstiness} is no probability; use a number from 0 to 1")
    if sharing < 2:
        raise ValueError(
            f"sharing {sharing}: a bursty context shares its level in at least 2 slots"
        )
    # In float32, as ``arrange`` has it, so that ties round alike.
    bursty = round(float(np.float32(burstiness) * np.float32(levels)))
    each = horizon // chunk
    multiplicity = 1
    for ring, slots_away in ((bursty, slots - sharing), (levels - bursty, slots - 1)):
        foreign = slots_away * each
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
