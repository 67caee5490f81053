"""The conditions of a k-shot test, by name: axes of its results. No JAX here."""

from collections.abc import Mapping
from types import MappingProxyType

DEMONSTRATIONS: Mapping[str, str] = MappingProxyType(
    {
        "whole": "whole trajectories of the level, one after the other",
        "as-trained": "arranged as the arm arranges its training contexts",
        "foreign": "whole trajectories of another level of the family",
        "swapped": "whole; the first one is of another level, the later ones are of this one",
        "suboptimal": "whole; at each step the expert plays at random with probability 0.5",
        "truncated": "the first half of each trajectory",
        "corrupted": "whole; each action shown is replaced by a random one with probability 0.25",
        "relabelled": "whole; every action shown is renamed by one cyclic shift a level",
        "reordered": "the steps of all demonstrations of a context in random order",
    }
)  # what is shown before the agent acts
ACTINGS = ("sampled", "greedy")  # how an action is taken from the logits
OWN = "own attempts"  # in the place of what is shown, where nothing is: k counts attempts
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "imitation": "say every action of the context",
        "return-conditioned": "imitation, told what is still to be earned (decision transformer)",
        "distillation": "imitation of a learner's attempts, in the order in which it got better",
        "pretraining": "say the expert's action in a state, from transitions of its level (DPT)",
        "reinforcement": "proximal policy optimisation over attempts, remembering them (RL²)",
    }
)  # how a model is trained
