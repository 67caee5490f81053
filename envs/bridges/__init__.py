"""Bridges: environments that others wrote, as families. ``make("xland:MiniGrid-DoorKey-6x6")``.

A name is a prefix and the id that the package itself gives. Each prefix is a module of this
package, imported only when it is named: the packages behind them are the extra ``bridges``. A
module defines ``family(identifier)``, the class of one id, made once: each id is a family of its
own, with its own levels. Everything that the core asks for holds there, too: levels come first, no
key is kept, nothing resets by itself, and only ``horizon`` cuts an episode off.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs.core import Env

BRIDGES = {"xland": "xminigrid", "gymnax": "gymnax"}
"""Prefix, which is the module's name -> the package behind it."""


def family(name: str) -> type[Env]:
    """The class of ``prefix:id``.

    Raises:
        ValueError: the package is not installed, or there is no such id (with the nearest one).
    """
    prefix, _, identifier = name.partition(":")
    try:
        bridge = importlib.import_module(f"{__name__}.{prefix}")
    except ImportError as error:
        raise ValueError(
            f"{name} needs the extra: pip install 'levelburst[bridges]' ({error})"
        ) from error
    return bridge.family(identifier)


def choose(prefix: str, identifier: str, known: Iterable[str]) -> str:
    """``identifier`` itself, if it is one of the ``known``.

    Raises:
        ValueError: it is not; the message names the nearest, or all there are.
    """
    ids = list(known)
    if identifier in ids:
        return identifier
    near = difflib.get_close_matches(identifier, ids, n=1, cutoff=0.5)
    hint = f"did you mean '{prefix}:{near[0]}'?" if near else f"known ids: {', '.join(ids)}"
    raise ValueError(f"unknown family '{prefix}:{identifier}'; {hint}")
