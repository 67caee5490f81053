"""Rulesets: what an XLand-MiniGrid level asks for, and what turns into what on the way there.

The benchmarks of XLand-MiniGrid (Nikulin et al. 2023, arXiv 2312.12044) are files to download;
these are drawn here, and mean the same: a goal about one object, which production rules make from
others, each from the one before. Neither goal nor rules are shown to the agent.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from xminigrid.core.constants import Colors, Tiles
from xminigrid.core.goals import MAX_GOAL_ENCODING_LEN
from xminigrid.core.rules import MAX_RULE_ENCODING_LEN
from xminigrid.types import RuleSet

SHAPES = (Tiles.BALL, Tiles.SQUARE, Tiles.PYRAMID, Tiles.KEY, Tiles.STAR, Tiles.HEX)
COLOURS = (
    *(Colors.RED, Colors.GREEN, Colors.BLUE, Colors.PURPLE, Colors.YELLOW),
    *(Colors.GREY, Colors.ORANGE, Colors.WHITE, Colors.BROWN, Colors.PINK),
)
OBJECTS = np.array([(shape, colour) for shape in SHAPES for colour in COLOURS], np.uint8)

# How xminigrid numbers them (xminigrid/core/goals.py, xminigrid/core/rules.py).
HOLD_GOAL, NEAR_GOAL, PAIR_GOAL = 1, 3, 4
HOLD_RULE, NEAR_RULE, PAIR_RULE = 1, 2, 3


def draw_ruleset(key: jax.Array, depth: int, distractors: int) -> RuleSet:
    """Draws a ruleset; the key is consumed.

    The goal is, with equal probability, to hold an object, to stand beside it, or to put it beside
    a second one. Each of the ``depth`` rules makes the object needed next from another: when the
    agent picks that up, when it comes to stand beside it, or when it puts it beside a third. All
    objects differ; those in the room at first are the one that the chain starts from, the second
    ones of the goal and of every rule, whether needed or not, and the distractors.

    Returns:
        RuleSet of goal uint8[5], rules uint8[max(depth, 1), 7] and init_tiles
        uint8[depth + 2 + distractors, 2].
    """
    object_key, goal_key, rule_key = jax.random.split(key, 3)
    order = jax.random.permutation(object_key, jnp.asarray(OBJECTS))
    made, beside, others = jnp.split(order, [depth + 1, 2 * (depth + 1)])
    kinds = jnp.asarray((HOLD_GOAL, NEAR_GOAL, PAIR_GOAL), jnp.uint8)
    kind = jax.random.choice(goal_key, kinds)
    goal = jnp.concatenate([kind[None], made[0], jnp.where(kind == PAIR_GOAL, beside[0], 0)])
    kinds = jnp.asarray((HOLD_RULE, NEAR_RULE, PAIR_RULE), jnp.uint8)
    kind = jax.random.choice(rule_key, kinds, (depth, 1))
    alone = jnp.concatenate([made[1:], made[:-1], jnp.zeros_like(made[1:])], axis=1)
    pair = jnp.concatenate([made[1:], beside[1:], made[:-1]], axis=1)
    rules = jnp.concatenate([kind, jnp.where(kind == PAIR_RULE, pair, alone)], axis=1)
    if not depth:  # one empty rule stands for none
        rules = jnp.zeros((1, MAX_RULE_ENCODING_LEN), jnp.uint8)
    assert goal.shape == (MAX_GOAL_ENCODING_LEN,) and rules.shape[1] == MAX_RULE_ENCODING_LEN
    return RuleSet(
        goal=goal,
        rules=rules,
        init_tiles=jnp.concatenate([made[-1:], beside, others[:distractors]]),
    )
