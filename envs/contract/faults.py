"""What is wrong with a family, in one line: the method, the line of the file, the remedy."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import Any

from jax import errors

from envs.core import Env


class Fault(Exception):
    """A broken part of the contract: one line that names the method and the remedy."""


class Inapplicable(Exception):
    """A check that a family gives no reason to make; says why."""


_SIZE = "a size has to be a static field, `name: int = static(...)`"
_REMEDIES: tuple[tuple[type[Exception], str, str], ...] = (
    (
        errors.TracerBoolConversionError,
        "",
        "asks a traced value yes or no (if, while, and, or, not, a < b < c): use "
        "jnp.where(condition, yes, no) or jax.lax.cond, and &, |, ~ between conditions",
    ),
    (
        errors.TracerIntegerConversionError,
        "",
        "takes a traced value for a Python number (range, the index of a list): use "
        f"jnp.asarray(values)[index] or jax.lax.fori_loop; {_SIZE}",
    ),
    (
        errors.TracerArrayConversionError,
        "",
        "hands a traced value to numpy: write jnp in place of np",
    ),
    (
        errors.NonConcreteBooleanIndexError,
        "",
        "picks by a mask, so that the length is unknown: use jnp.where(mask, values, others)",
    ),
    (
        errors.ConcretizationTypeError,
        "",
        "needs the number behind a traced value (int, float, .item(), a shape): keep it an "
        f"array; {_SIZE}",
    ),
    (
        errors.UnexpectedTracerError,
        "",
        "keeps a traced value beyond the call (in self, a global, a list): return it in the "
        "level or the state instead",
    ),
    (
        dataclasses.FrozenInstanceError,
        "",
        "changes what is frozen: use state.replace(name=value), or return a new one",
    ),
    (
        TypeError,
        "item assignment",
        "assigns into an array: use x = x.at[index].set(value)",
    ),
    (TypeError, "Shapes must be", f"makes a shape of a traced value: {_SIZE}"),
    (
        TypeError,
        "valid JAX type",
        "returns what is no pytree of arrays: make it a `class State(struct.PyTreeNode)` whose "
        "fields are arrays (flax.struct)",
    ),
)


def explain(error: Exception, what: str, family: type) -> Fault:
    """The fault that an exception shows: the method, the place in the person's file, the remedy.

    Args:
        error: as caught.
        what: was called; the family's own method that the error came through is named in its place.
        family: whose files are the person's.
    """
    own = _files(family)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in own]
    if frames and hasattr(Env, frames[0].name):
        what = frames[0].name
    where = ""
    if frames:
        last = frames[-1]
        code = f": `{last.line}`" if last.line else ""
        where = f" ({Path(last.filename).name}, line {last.lineno}{code})"
    text = str(error)
    for kind, word, remedy in _REMEDIES:
        if isinstance(error, kind) and word in text:
            return Fault(f"{what}{where} {remedy}")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return Fault(f"{what}{where} fails: {type(error).__name__}: {first[:300]}")


def _files(family: type) -> set[str]:
    """Files in which the family and the families it extends are written, the core left out."""
    found = set()
    for kind in family.__mro__:
        if issubclass(kind, Env) and kind is not Env:
            for member in vars(kind).values():
                code = _code(member)
                found |= {code.co_filename} if code else set()
    written = {file for file in found if not file.startswith("<")}  # not what Python generates
    return written - {_code(Env.level).co_filename}


def _code(member: Any) -> Any:
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    return getattr(function, "__code__", None)
