"""The families, listed for a person."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap

import jax

import envs
from envs.core import Env
from envs.levels import draw_levels


def catalogue(names: tuple[str, ...]) -> str:
    """A block a family: sizes, spaces, oracle, admitted share, exact returns, one level drawn."""
    return "\n\n".join(_entry(name) for name in names)


def _entry(name: str, count: int = 256) -> str:
    env = envs.make(name)
    about = (inspect.getdoc(type(env)) or "").split("\n\n")[0].replace("\n", " ")
    own = [f for f in dataclasses.fields(env) if f.name not in ("horizon", "margin")]
    lines = [
        f"{name}",
        *textwrap.wrap(about, 96, initial_indent="  ", subsequent_indent="  "),
        f"  fields       {', '.join(f'{f.name} {getattr(env, f.name)}' for f in own)}",
        f"  observation  int32[{env.num_fields}], symbols 0 … {env.num_symbols - 1}",
        f"  actions      int32[], 0 … {env.num_actions - 1}",
        f"  horizon      {env.horizon}",
        f"  oracle       {f'yes, {env.num_states} states' if env.num_states else 'no'}",
    ]
    if env.num_states:
        levels = draw_levels(env, jax.random.key(0), count)
        random, optimal = levels.references.mean(0).tolist()
        share = count / (int(levels.ids[-1]) + 1)
        lines += [
            f"  levels       {share:.0%} of draws admitted (margin {env.margin})",
            f"  returns      random {random:.2f}, optimal {optimal:.2f}, within the horizon",
        ]
        if type(env).draw is not Env.draw:  # a picture is optional
            level = levels.level(0)
            picture = env.text(level, env.reset(jax.random.key(0), level)).splitlines()
            lines += ["", *(f"    {line}" for line in picture[:12])]
            if len(picture) > 12:
                lines.append(f"    … {len(picture) - 12} more lines")
    return "\n".join(lines)
