"""The families, described for a person: what their documentation says, and exact figures."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap

import jax
import jax.numpy as jnp

from envs.core import Env, Level
from envs.film import draws
from envs.levels import LevelSet, draw_levels
from envs.oracle import solve
from envs.unforgiving import forgiveness

COUNTS = (256, 16, 1)  # levels to measure; fewer only where the family has no more
SOLVED = 64  # of them, those whose mistakes are measured
_TOPIC = re.compile(
    r"(?:^|(?<=[.)] ))"
    r"(Observations?|Actions and rewards?|Actions?|Rewards?|Ends?|Dynamics|Levels?): "
)


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured on the first admitted levels of a family; all but ``share`` is exact.

    Attributes:
        levels: how many.
        share: of the draws, those that were admitted and new.
        random: mean return of uniform random play within the horizon.
        optimal: mean return of the optimum.
        lethality: share of the mistakes after which no reward can be earned any more.
        recoverability: share of the others that can be undone in a step.
        typical: the index of a level: a quarter of the SOLVED first ones are worth less.
    """

    levels: int
    share: float
    random: float
    optimal: float
    lethality: float
    recoverability: float
    typical: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """One family.

    Attributes:
        name: as registered, or ``module:Class``.
        env: with its default fields.
        about: the first paragraph of its documentation.
        topics: Observation, Actions, Reward, Levels … -> what the documentation says of them.
        fields: (name, default, meaning) of each field but the horizon and the margin.
        figures: None where states are not numbered.
    """

    name: str
    env: Env
    about: str
    topics: dict[str, str]
    fields: tuple[tuple[str, str, str], ...]
    figures: Figures | None


def entry(name: str, env: Env) -> Entry:
    """Describes and measures a family.

    Raises:
        ValueError: none of its levels is admissible.
    """
    family = type(env.bare)
    about, *rest = _prose(family) or [""]
    topics: dict[str, str] = {}
    for part in rest:
        _, *words = _TOPIC.split(part)
        topics |= dict(zip(words[::2], map(str.strip, words[1::2]), strict=True))
    own = [field for field in dataclasses.fields(family) if field.name not in ("horizon", "margin")]
    fields = [(f.name, str(getattr(env.bare, f.name)), _meaning(family, f.name)) for f in own]
    figures = _measure(env) if env.num_states else None
    return Entry(name, env, about, topics, tuple(fields), figures)


def members(env: Env, count: int) -> LevelSet:
    """The first ``count`` levels of the family, as every command counts them.

    Raises:
        ValueError: there are not so many, or there is no oracle to admit them.
    """
    return draw_levels(env, jax.random.key(0), count)


def member(env: Env, index: int) -> Level:
    """The level with an index, as ``members`` counts; without an oracle every draw counts.

    Raises:
        ValueError: there are not so many.
    """
    if env.num_states:
        return members(env, index + 1).level(index)
    return env.level(jax.random.fold_in(jax.random.key(0), index))


def block(found: Entry) -> str:
    """Lines of text: sizes, spaces, oracle, admitted share, exact figures, one level drawn."""
    env, figures = found.env, found.figures
    lines = [
        f"{found.name}",
        *textwrap.wrap(found.about, 96, initial_indent="  ", subsequent_indent="  "),
        f"  fields       {', '.join(f'{name} {value}' for name, value, _ in found.fields)}",
        *(f"  {line}" for line in spaces(env)),
    ]
    if figures:
        lines += [
            f"  levels       {figures.share:.0%} of draws admitted (margin {env.margin})",
            f"  returns      random {figures.random:.2f}, optimal {figures.optimal:.2f}, within "
            "the horizon",
            f"  mistakes     {figures.lethality:.0%} are fatal, {figures.recoverability:.0%} of "
            "the others can be undone in a step",
        ]
    if has_text(env):
        level = member(env, 0)
        picture = env.text(level, env.reset(jax.random.key(0), level)).splitlines()
        lines += ["", *(f"    {line}" for line in picture[:12])]
        if len(picture) > 12:
            lines.append(f"    … {len(picture) - 12} more lines")
    return "\n".join(lines)


def spaces(env: Env) -> list[str]:
    """Lines of a word and its meaning: observation, actions, horizon, oracle."""
    shape = ", ".join(map(str, env.observation_shape))
    symbols = f", symbols 0 … {env.num_symbols - 1}" if env.num_symbols else ""
    return [
        f"observation  {env.observation_dtype}[{shape}]{symbols}",
        f"actions      int32[], 0 … {env.num_actions - 1}",
        f"horizon      {env.horizon}",
        f"oracle       {f'yes, {env.num_states:,} states' if env.num_states else 'no'}",
    ]


def has_text(env: Env) -> bool:
    """Whether a level can be written: ``draw`` and ``text`` are optional."""
    return draws(env) or type(env.bare).text is not Env.text


def _measure(env: Env) -> Figures:
    for count in COUNTS:
        try:
            levels = members(env, count)
            break
        except ValueError:
            if count == COUNTS[-1]:
                raise
    random, optimal = levels.references.mean(0).tolist()
    some = min(count, SOLVED)
    lethality, recoverability, value = _mistakes(env, levels.levels(jnp.arange(some)))
    return Figures(
        levels=count,
        share=count / (int(levels.ids[-1]) + 1),
        random=random,
        optimal=optimal,
        lethality=float(lethality.mean()),
        recoverability=float(recoverability.mean()),
        typical=int(jnp.argsort(value)[some // 4]),
    )


@jax.jit
def _mistakes(env: Env, levels: Level) -> tuple[jax.Array, jax.Array, jax.Array]:
    """float32[L] each: lethality, recoverability, the discounted value of the start."""

    def one(level: Level):
        table = env.tabulate(level)
        solution = solve(table)
        found = forgiveness(table, solution)
        return found.lethality, found.recoverability, solution.v[table.start, -1]

    return jax.vmap(one)(levels)


def _prose(family: type) -> list[str]:
    """The paragraphs of the documentation, each on one line, without its list of fields."""
    text = inspect.getdoc(family) or ""
    if text.startswith(f"{family.__name__}("):  # what dataclasses say where a person said nothing
        return []
    return [" ".join(p.split()) for p in text.split("\n\n") if not p.startswith("Attributes:")]


def _meaning(family: type, field: str) -> str:
    """What the documentation of a family, or of one that it extends, says of a field."""
    for kind in family.__mro__:
        text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
        if found := re.search(rf"^    {field}: (.*(?:\n {{8}}.*)*)", text, re.MULTILINE):
            return " ".join(found[1].split())
    return ""
