"""Rivals: other ways to train the same model on the same levels (icl/conditions.py names them)."""

from collections.abc import Mapping
from types import MappingProxyType

from icl.rivals.conditioning import Conditioned
from icl.rivals.distillation import Distillation
from icl.rivals.pretraining import Pretraining
from icl.rivals.reinforcement import Reinforcement
from icl.train import Program

PROGRAMS: Mapping[str, type[Program]] = MappingProxyType(
    {
        "imitation": Program,
        "return-conditioned": Conditioned,
        "distillation": Distillation,
        "pretraining": Pretraining,
        "reinforcement": Reinforcement,
    }
)
