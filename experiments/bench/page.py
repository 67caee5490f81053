"""The benchmark as one page that needs no network: ratios first, then a plot and a table a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from experiments.bench import table
from experiments.bench.charts import looks, panels
from experiments.bench.sizes import PARTS
from experiments.report import replace


def write_page(found: Mapping[str, Any], target: Path) -> Path:
    """Writes the page of what ``bench.json`` holds, whole or not at all."""
    return replace(target, lambda file: file.write(page(found).encode()))


def page(found: Mapping[str, Any]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "seconds": table.seconds,
        "ratio": table.ratio,
        "number": lambda value: f"{value:.3g}",
    }
    parts = [_part(name, part, found["machine"]) for name, part in found["parts"].items()]
    return environment.get_template("bench.html.j2").render(
        config=found["config"],
        machine=found["machine"],
        peak={kind: table.rate(found["machine"][kind], "FLOP") for kind in ("float32", "bfloat16")},
        bandwidth=table.rate(found["machine"]["bandwidth"], "B"),
        targets=found["targets"],
        parts=parts,
        figures=[[panel["figure"] for panel in part["panels"]] for part in parts],
        plotly=get_plotlyjs(),
    )


def _part(name: str, part: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    cells = part["cells"]
    drawn = panels(name, part, machine)
    shown = {trace.get("meta") for panel in drawn for trace in panel["figure"]["data"]}
    legend = [
        {"who": who, **look}
        for who, look in looks([c for c in cells if c["median"] is not None]).items()
        if who in shown
    ]
    return {
        "name": name,
        "about": PARTS[name],
        "reason": part["reason"],
        "seconds": part["seconds"],
        "panels": drawn,
        "legend": legend,
        "races": _races(cells, machine),
        "compiled": any(cell["compile"] is not None for cell in cells),
        "rated": any(cell["rate"] for cell in cells),
        "raced": any(cell["ratio"] is not None for cell in cells),
        "peaked": any(cell["operations"] for cell in cells),
        "sides": _sides(cells),
        "absent": list(dict.fromkeys(c["who"] for c in cells if "--peers" in c["reason"])),
    }


def _races(cells: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cells by race, with what the table says of each."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        place = (cell["work"], cell["setting"])
        race = found.setdefault(place, {"work": place[0], "setting": place[1], "cells": []})
        share = ""
        if cell["operations"] and cell["median"]:
            share = f"{100 * cell['operations'] / cell['median'] / machine['float32']:.0f} %"
        own = len(cell["seconds"]) > 1
        race["cells"].append(
            {
                **cell,
                "ratio_ends": table.span(cell["ratio_low"], cell["ratio_high"], table.ratio),
                "ends": table.span(cell["low"], cell["high"], table.seconds) if own else "",
                "speed": table.rate(cell["rate"], cell["unit"]) if cell["rate"] else "–",
                "share": share or "–",
            }
        )
    return list(found.values())


def _sides(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """What each side does, once each, in their order."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        words = "; ".join(word for word in (cell["what"], cell["note"]) if word)
        if words:
            found.setdefault(cell["who"], {})[words] = None
    return [(who, list(words)) for who, words in found.items()]
