"""A person's mistakes."""


class ConfigError(ValueError):
    """A person's mistake: one line that says what was given, what was expected, what to try."""
