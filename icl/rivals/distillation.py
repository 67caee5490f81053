"""Algorithm distillation (Laskin et al. 2022, arXiv 2210.14215).

A context holds attempts of a learner in one level, in the order in which it got better, instead of
an expert's demonstrations; the model says every action. To say the later ones it has to make of the
earlier ones what the learner made of them, so at a test it may get better over attempts of its own
(icl/attempts.py). The learner is tabular Q-learning (agents/learner.py), compiled and run anew in
every level of every pool.
"""

from __future__ import annotations

import jax

from agents.learner import Learner, history
from envs.levels import LevelSet
from envs.rollout import Trajectories
from icl.train import Program


class Distillation(Program):
    """Training on a learner's attempts; the arm is to keep their order, as ``bursty`` does. Of
    ``config.history`` episodes E are shown, evenly spaced from the first to the last."""

    def played(self, levels: LevelSet, keys: jax.Array, indices: jax.Array) -> Trajectories:
        """The learner's attempts, whoever demonstrates the levels.

        Raises:
            ValueError: the states of the family cannot be enumerated.
        """
        return history(
            levels.env,
            Learner(),
            keys,
            levels.levels(indices),
            attempts=self.config.slots,
            episodes=self.config.history,
        )
