"""Command lines, read into dataclasses. No JAX here."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any, TypeVar

from experiments.errors import ConfigError

Config = TypeVar("Config")


def parse(kind: type[Config], command: str, arguments: list[str], default: Any = None) -> Config:
    """Reads a dataclass from flags; mistakes become one line."""
    import tyro

    loud = io.StringIO()
    try:
        with contextlib.redirect_stderr(loud):
            return tyro.cli(kind, prog=f"levelburst {command}", args=arguments, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        words = " ".join(line.strip(" │╭╮╰╯─\n") for line in loud.getvalue().splitlines())
        message = " ".join(words.split()) or "cannot be read"
        given = " ".join(arguments).replace("=", " ")
        stray = re.search(r"Unrecognized options: ([^-\s]\S*)", message)
        before = stray and re.search(rf"(--[\w-]+) {re.escape(stray[1])}(\s|$)", given)
        message += f"; {before[1]} takes no such value" if before else ""
        raise ConfigError(f"{command}: {message}") from None


def positional(arguments: list[str]) -> list[str]:
    """Lets the run's folder be given without its flag."""
    if arguments and not arguments[0].startswith("-"):
        return ["--run", *arguments]
    return arguments
