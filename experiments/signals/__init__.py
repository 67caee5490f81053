"""Step signals as a person runs them: graded, learned from, and asked about."""
