"""Levels that emit whole trajectories: ``from envs import make``."""

from envs import families
from envs.core import Env, Episode, Outcome, Policy, TimeStep, advance, begin
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
    "register",
    "rollout",
]
