"""The conditions of a k-shot test, by name: axes of its results. No JAX here."""

DEMONSTRATIONS = ("whole", "as-trained")  # how the demonstrations are arranged
ACTINGS = ("sampled", "greedy")  # how an action is taken from the logits
