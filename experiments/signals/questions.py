"""The questions that signals are asked, by name."""

from __future__ import annotations

from experiments.signals.aggregator_questions import AGGREGATORS
from experiments.signals.confidence_questions import LATENESS, OMENS, READER, VOTES
from experiments.signals.curriculum_questions import CURRICULUM
from experiments.signals.density_questions import DENSITY, IDLING, VALUATION
from experiments.signals.expert_questions import EXPERT, FILTER, LIKENESS, REFERENCES
from experiments.signals.judged_questions import REWARD, SELECTION, STEPS_JUDGED
from experiments.signals.learner_questions import LEARNER
from experiments.signals.order_questions import ENTROPY, ORDER, TRANSFER
from experiments.signals.tool_questions import FLAKY_TOOLS, INFLATION, TOOLS
from experiments.signals.tree_questions import FORKS

QUESTIONS = {
    question.name: question
    for question in (
        OMENS, LATENESS, READER, VOTES, FORKS, DENSITY, VALUATION, AGGREGATORS, IDLING, LEARNER,
        EXPERT, FILTER, REFERENCES, LIKENESS, TOOLS, INFLATION, FLAKY_TOOLS,
        STEPS_JUDGED, SELECTION, REWARD,
        ORDER, TRANSFER, ENTROPY, CURRICULUM,
    )
}  # fmt: skip
