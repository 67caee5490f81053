"""The family that signals are measured in."""

from __future__ import annotations

from envs.core import Env
from envs.wrappers import Sticky, wrap
from experiments.cli_envs import made, settings
from experiments.errors import ConfigError
from experiments.signals.config import SignalsConfig


def environment(config: SignalsConfig) -> Env:
    """The family as set.

    Raises:
        ConfigError: there is none of that name, a field is wrong, or it has no oracle.
    """
    env = made(config.family, settings(config.set))
    if not env.num_states:
        raise ConfigError(
            f"family {config.family} has no oracle: its states cannot be enumerated, so credit "
            "cannot be graded; use one that `levelburst envs` lists with a number of states"
        )
    return wrap(Sticky, env, stickiness=config.stickiness) if config.stickiness else env
