"""Step signals: which steps of a run earned its reward, told from chunks of it or its structure."""
