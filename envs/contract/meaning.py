"""What the levels of a family are as problems, and how they are shown.

Every check takes a Specimen and raises Fault, or Inapplicable where there is nothing to check.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from envs import tiles
from envs.contract.faults import Fault, Inapplicable, explain
from envs.contract.specimen import COUNT, DRAWS, Specimen, at, differing, say
from envs.core import Env
from envs.film import draws
from envs.render import SIDE

FEW = 64  # different levels, under which a family is too small for any comparison
READ = 4  # levels written and read back


def solvable(specimen: Specimen) -> None:
    """Some levels can be solved within the horizon, better than by random play."""
    env = specimen.env
    if not env.num_states:
        raise Inapplicable("states are not numbered: an expert shows what can be solved")
    random, best = np.asarray(specimen.draws.returns).T
    if not (best > 0).any():
        raise Fault(
            f"level makes none of {DRAWS:,} levels in which a reward can be had within horizon "
            f"{env.horizon}: leave a way to it in level, pay for it in step, or raise horizon"
        )
    lead = best - random
    if not ((lead >= env.margin) & (lead > 0)).any():
        raise Fault(
            f"level makes none of {DRAWS:,} levels in which the optimum is ahead of random play "
            f"by margin {env.margin}: at best it is by {lead.max():.3f}; make random play fail "
            f"more often, raise horizon {env.horizon}, or lower margin"
        )


def different(specimen: Specimen) -> None:
    """There are many different levels."""
    prints, returns = map(np.asarray, specimen.draws)
    if specimen.env.num_states:
        lead = returns[:, 1] - returns[:, 0]
        prints = prints[(lead >= specimen.env.margin) & (lead > 0)]
    count = len(np.unique(prints, axis=0))
    if count < FEW and len(prints) >= 4 * count:
        raise Fault(
            f"level makes {count} different levels in {len(prints):,} admissible draws, too few "
            "to train on some and test on others: draw more of it from the key, or raise a size; "
            "where they do differ, symmetries or fingerprint takes them for one"
        )


def symmetric(specimen: Specimen) -> None:
    """The symmetric copies of a level are the same problem under the same fingerprint."""
    if type(specimen.env).symmetries is Env.symmetries:
        raise Inapplicable("symmetries is not defined")
    copies = jax.tree.leaves(specimen.shapes["copies"])[0].shape[0]  # K of every level
    rows = np.arange(COUNT) % (COUNT // copies * copies or COUNT)
    level, copy = rows // copies, rows % copies

    def every(env: Env, levels: Any) -> Any:
        stacked = jax.vmap(env.symmetries)(levels)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[rows], stacked)

    some = jax.tree.map(lambda x: x[: max(COUNT // copies, 1)], specimen.levels)
    found = specimen.worth(specimen.run("symmetries", every, some))
    other = (found.fingerprint != specimen.draws.fingerprint[level]).any(-1)
    if other.any():
        raise Fault(
            f"symmetries gives a copy (number {copy[np.argmax(other)]}) that has other copies than "
            "its level, and so another fingerprint: return the images under a whole group, or one "
            "normal form"
        )
    if found.returns is None or specimen.draws.returns is None:
        return
    gap = np.abs(found.returns - specimen.draws.returns[level]).max(-1)
    if gap.max() > 1e-4:
        row = np.argmax(gap)
        ours, theirs = specimen.draws.returns[level[row]], found.returns[row]
        raise Fault(
            f"symmetries gives a copy (number {copy[row]}) that is another problem: random play "
            f"and the optimum return {theirs[0]:.3f} and {theirs[1]:.3f} in it, {ours[0]:.3f} and "
            f"{ours[1]:.3f} in the level; move every part of the level in the same way"
        )


def drawn(specimen: Specimen) -> None:
    """Pictures are int32[H, W] of known tiles."""
    env = specimen.env
    if not draws(env):
        raise Inapplicable("draw is not defined: there are no pictures")
    for method, part in (("draw", "picture"), ("view", "view")):
        shape: Any = specimen.shapes.get(part)
        if not say(shape).startswith("int32[") or len(shape.shape) != 2:
            raise Fault(
                f"{method} returns {say(shape)}: expected int32[H, W], the number of a tile of "
                "envs/tiles.py at every place"
            )
        if not 0 < min(shape.shape) <= max(shape.shape) <= SIDE:
            raise Fault(f"{method} returns {say(shape)}: use 1 to {SIDE} rows and columns")

    def pictures(env: Env, levels: Any, states: Any):
        def both(level: Any, state: Any):
            return env.draw(level, state), env.view(level, state)

        return jax.vmap(jax.vmap(both, (None, 0)))(levels, states)

    found = specimen.run("draw", pictures, specimen.levels, specimen.episodes.state)
    for method, frames in zip(("draw", "view"), map(np.asarray, found), strict=True):
        wrong = (frames < 0) | (frames >= len(tiles.TILES))
        if wrong.any():
            raise Fault(
                f"{method} shows tile {frames[wrong][0]}: tiles are 0 to {len(tiles.TILES) - 1}, "
                "use the names of envs/tiles.py"
            )


def written(specimen: Specimen) -> None:
    """Levels can be written, and where they can be read, they are read back the same."""
    env = specimen.env
    if not draws(env) and type(env).text is Env.text:
        raise Inapplicable("neither draw nor text is defined")
    reads = type(env).parse is not Env.parse or type(env).from_tiles is not Env.from_tiles
    for number in range(READ):
        level = at(specimen.levels, number)
        method = "text"
        try:
            words = env.text(level, env.reset(jax.random.key(0), level))
            if not isinstance(words, str) or not words.strip():
                raise Fault(f"text returns {words!r}: return lines that a person can read")
            method = "parse" if type(env).parse is not Env.parse else "from_tiles"
            back = env.parse(words) if reads else level
        except Fault:
            raise
        except Exception as error:
            raise explain(error, method, specimen.family) from None
        if jax.tree.structure(back) != jax.tree.structure(level):
            raise Fault(f"{method} returns {say(back)}: return a Level like that of level")
        if path := differing(back, level):
            raise Fault(
                f"{method} reads another level than text wrote, the level's {path} differs: show "
                "all of the level in its first state, and take every part from there"
            )
