"""A question asked by hand: how runs of some regimes vote, with a budget and a warm-up."""

from __future__ import annotations

from experiments.signals.confidence_questions import WAYS
from experiments.signals.config import VoteConfig
from experiments.signals.question import Question, Spot


def question(config: VoteConfig) -> Question:
    """Every way to vote in every regime; nothing is claimed."""
    return Question(
        "vote",
        f"What do votes of up to {config.budget} runs get right, and what do they save?",
        ("regime", "way"),
        lambda _: [
            Spot({"regime": regime, "way": way}, "poll", config, regime, (way,))
            for regime in config.regime
            for way in WAYS
        ],
        lambda found: [],
        "",
        ("right", "saved"),
    )
