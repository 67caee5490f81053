"""One level, or the findings about one family, in the terminal; in colour where it has some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.style import Style
from rich.text import Text

from agents.policy import Oracle, Random
from envs import render, tiles
from envs.contract import examine
from envs.core import Env
from envs.film import Film, draws, film
from envs.oracle import optimal_return, random_return
from experiments.catalogue import has_text, member, spaces
from experiments.errors import ConfigError


def show(title: str, env: Env, index: int, gif: Path | None = None, png: Path | None = None):
    """Prints a level: its picture, legend, spaces and exact returns; writes pictures of it.

    Args:
        title: the first line.
        env: the family.
        index: of the level, as experiments/catalogue.py counts.
        gif: where to write the oracle's episode; random play's where there is no oracle.
        png: where to write the picture.

    Raises:
        ConfigError: a picture is asked for, and the family draws none.
        ValueError: there are not so many levels.
    """
    if (gif or png) and not draws(env):
        raise ConfigError(f"{title}: the family has no draw, so there is no picture to write")
    console = Console(highlight=False)
    level = member(env, index)
    seen = play(env, level)
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print()
    if seen.frames is not None and console.is_terminal and console.color_system:
        console.print(coloured(seen.frames[0]), soft_wrap=True)
        console.print()
    if has_text(env) and not (console.is_terminal and console.color_system and plain(env)):
        words = env.text(level, env.reset(jax.random.key(0), level))
        console.print(Text("\n".join(f"  {line}" for line in words.splitlines())), soft_wrap=True)
        console.print()
    if seen.frames is not None:
        shown = used(seen.frames[:1])
        legend = "   ".join(f"{tiles.TILES[t].character} {tiles.TILES[t].name}" for t in shown)
        console.print(Text(f"  {legend}\n"), soft_wrap=True)
    lines = spaces(env)
    if env.num_states:
        chance, best = _returns(env, level)
        lines.append(f"returns      random {chance:.2f}, optimal {best:.2f}, within the horizon")
    lines.append(f"play         {caption(env, seen)}")
    console.print(Text("\n".join(f"  {line}" for line in lines)), soft_wrap=True)
    if seen.frames is not None:
        side = render.side(seen.frames)
        frames = [render.image(frame, side) for frame in seen.frames]
        if gif:
            gif.parent.mkdir(parents=True, exist_ok=True)
            render.gif(gif, frames)
            console.print(Text(f"  gif          {gif}"), soft_wrap=True)
        if png:
            png.parent.mkdir(parents=True, exist_ok=True)
            render.png(png, frames[0])
            console.print(Text(f"  png          {png}"), soft_wrap=True)


def play(env: Env, level: Any) -> Film:
    """The oracle's episode in a level, or one of random play where there is no oracle."""
    return film(env, Oracle() if env.num_states else Random(), jax.random.key(0), level)


def caption(env: Env, seen: Film) -> str:
    """Who played how long, for what."""
    who = "oracle" if env.num_states else "random"
    steps = f"{seen.steps} step{'' if seen.steps == 1 else 's'}"
    return f"{who}, {steps}, return {seen.rewards.sum():.4g}"


def plain(env: Env) -> bool:
    """Whether the text of a level says no more than its picture."""
    return type(env.bare).text is Env.text


def used(frames: np.ndarray) -> list[int]:
    """The tiles that stand in frames int32[n, H, W], in order; no blank."""
    return [tile for tile in np.unique(frames).tolist() if tile != tiles.BLANK]


def coloured(picture: np.ndarray) -> Text:
    """A picture int32[H, W] for a terminal: a tile is two columns on its ground."""
    text = Text()
    for row in np.asarray(picture).tolist():
        text.append("  ")
        for number in row:
            if number == tiles.BLANK:  # the terminal's own ground
                text.append("  ")
                continue
            tile = tiles.TILES[number]
            mark = "  " if tile.shape in ("full", "none") else f"{tile.character} "
            text.append(mark, Style(color=_hex(tile.colour), bgcolor=_hex(tile.ground), bold=True))
        text.append("\n")
    text.right_crop()
    return text


def report(name: str, family: Any) -> bool:
    """Prints the findings about a family, a line each; returns whether it keeps the contract."""
    console = Console(highlight=False)
    console.print(Text(name, "bold"), soft_wrap=True)
    faults, waiting = 0, []
    for check, fault, note, waits in examine(family):
        if waits:
            waiting.append(check.name)
            continue
        mark, style = ("✗", "red") if fault else ("–", "dim") if note else ("✓", "green")
        line = Text("  ").append(mark, style).append(f" {check.name:<12} ")
        line.append(fault or note or check.claim, "dim" if note else "")
        console.print(line, soft_wrap=True)
        faults += bool(fault)
    if waiting:
        words = f"  not looked at before that is mended: {', '.join(waiting)}"
        console.print(Text(words, "dim"), soft_wrap=True)
    said = "keeps the contract" if not faults else f"breaks the contract: {faults} to mend"
    console.print(Text(f"  {name} {said}\n"), soft_wrap=True)
    return not faults


@jax.jit
def _returns(env: Env, level: Any) -> tuple[jax.Array, jax.Array]:
    """The exact returns float32[] of random play and of the optimum."""
    table = env.tabulate(level)
    return random_return(table, env.horizon), optimal_return(table, env.horizon)


def _hex(colour: tiles.Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
