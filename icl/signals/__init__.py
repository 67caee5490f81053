"""Step signals: what a step of a trajectory says about how the trajectory fares."""
