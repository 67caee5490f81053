"""A page that needs no server and no network: templates, escaped, with plotly inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs


def page(template: str, filters: dict[str, Callable[..., str]], **content: Any) -> str:
    """A page as text. What comes from configs and names is escaped, wherever it stands.

    Args:
        template: of experiments/templates.
        filters: for the template, by name.
        content: for the template; ``groups`` are the charts (templates/page.html.j2).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= filters
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template(template).render(plotly=get_plotlyjs(), **content)


def words(value: object) -> str:
    """A value of an environment or a config for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value)) or "none"
    return str(value)


def told(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """How many claims came out which way."""
    parts = {True: "{} hold{s}", False: "{} do{es} not", None: "{} {is_} not decided"}
    said = []
    for way, text in parts.items():
        count = sum(verdict["holds"] is way for verdict in verdicts)
        one = count == 1
        if count:
            forms = {"s": "s" * one, "es": "es" * one, "is_": "is" if one else "are"}
            said.append(text.format(count, **forms))
    total = len(verdicts)
    return f"Of {total} claim{'s' * (total != 1)} {', '.join(said) or 'none is decided'}."
