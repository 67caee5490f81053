"""A page that needs no server and no network: templates, escaped, with plotly inside."""

from __future__ import annotations

from collections.abc import Callable
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
