"""Levels that emit whole trajectories: ``from envs import make``."""

from envs import families
from envs.core import Env, Episode, Outcome, Policy, TimeStep, advance, begin
from envs.gymnasium import register_all
from envs.keys import new_key
from envs.levels import LevelSet
from envs.registry import make, names, register
from envs.rollout import Trajectories, rollout

__all__ = [
    "Env",
    "Episode",
    "LevelSet",
    "Outcome",
    "Policy",
    "TimeStep",
    "Trajectories",
    "advance",
    "begin",
    "families",
    "make",
    "names",
    "new_key",
    "register",
    "rollout",
]

register_all()  # every family as a Gymnasium id: levelburst/DarkRoom-v0
