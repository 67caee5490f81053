"""The questions that signals are asked, by name."""

from __future__ import annotations

from experiments.signals.confidence_questions import LATENESS, OMENS, READER, VOTES
from experiments.signals.curriculum_questions import CURRICULUM
from experiments.signals.density_questions import DENSITY, IDLING
from experiments.signals.order_questions import ENTROPY, ORDER, TRANSFER
from experiments.signals.tree_questions import FORKS

QUESTIONS = {
    question.name: question
    for question in (
        OMENS, LATENESS, READER, VOTES, FORKS, DENSITY, IDLING, ORDER, TRANSFER, ENTROPY,
        CURRICULUM,
    )
}  # fmt: skip
