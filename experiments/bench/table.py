"""The benchmark's result in a terminal: the targets, then a table for each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MARK = {True: "reached", False: "missed", None: "not measured"}


def text(found: Mapping[str, Any]) -> str:
    """What ``bench.json`` holds, in plain lines of aligned columns."""
    blocks = [_machine(found["machine"])]
    for name, part in found["parts"].items():
        rows = [("work", "setting", "side", "median", "min … max", "speed", "ours is")]
        rows += [_row(cell) for cell in part["cells"]]
        head = f"{name} ({part['seconds']:.0f} s)"
        if part["reason"]:
            head += f", broke down: {part['reason']}"
        blocks.append(head + "\n" + columns(rows))
        if part.get("slopes"):
            fits = (f"{work} {slope:.2f}" for work, slope in part["slopes"].items())
            blocks.append("exponents on log-log axes: " + ", ".join(fits))
    if found["targets"]:
        blocks.append("targets\n" + columns([_target(target) for target in found["targets"]]))
    return "\n\n".join(blocks)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Aligned, two spaces apart; a reason at the end of a row needs no room of its own."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(word.ljust(width) for word, width in zip(row, widths)) for row in rows)
    return "\n".join("  " + line.rstrip() for line in lines)


def seconds(value: float | None) -> str:
    """Seconds in a unit that suits them."""
    if value is None:
        return "–"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{1e3 * value:.3g} ms" if value >= 1e-3 else f"{1e6 * value:.3g} µs"


def rate(value: float | None, unit: str) -> str:
    """Units a second with a prefix, which joins a symbol (GB/s) but no word (M steps/s)."""
    if value is None:
        return "–"
    joint = "" if unit.isupper() else " "
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{joint}{unit}/s"
    return f"{value:.3g} {unit}/s"


def ratio(value: float | None) -> str:
    """How many times as fast."""
    return "" if value is None else f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def span(low: float | None, high: float | None, show: Any) -> str:
    """Two ends, or nothing."""
    return "" if low is None or high is None else f"{show(low)} … {show(high)}"


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    head = (cell["work"], cell["setting"], cell["who"])
    if cell["median"] is None:
        return (*head, "–", "", "", cell["reason"])
    ends = span(cell["ratio_low"], cell["ratio_high"], ratio)
    return (
        *head,
        seconds(cell["median"]),
        span(cell["low"], cell["high"], seconds) if len(cell["seconds"]) > 1 else "",
        rate(cell["rate"], cell["unit"]) if cell["rate"] else "",
        f"{ratio(cell['ratio'])} [{ends}]" if ends else "",
    )


def _target(target: Mapping[str, Any]) -> tuple[str, ...]:
    sign, unit = ("≥" if target["least"] else "≤"), target["unit"]
    value = target["measured"]
    ends = span(target["low"], target["high"], lambda x: f"{x:.3g}")
    return (
        MARK[target["reached"]],
        target["work"],
        f"{sign} {target['bar']:g} {unit}",
        "–" if value is None else f"{value:.3g} {unit}",
        f"[{ends}]" if ends else "",
    )


def _machine(machine: Mapping[str, Any]) -> str:
    peak = " and ".join(
        f"{rate(machine[kind], 'FLOP')} in {kind}" for kind in ("float32", "bfloat16")
    )
    load = ", ".join(map(str, machine["load"])) or "unknown"
    return (
        f"{machine['device']}, {machine['processor']}; load {load}\n"
        f"matmul {peak}; memory {rate(machine['bandwidth'], 'B')}"
    )
