"""Learning from context: arms, training, evaluation, statistics."""
