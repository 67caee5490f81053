"""Any Gymnasium environment as groups of trajectories, played on the host: a level is a seed.

All rollouts of a group start with ``reset(seed=level)``, so they share whatever the environment
draws from its generator, layout and later chance alike; they differ through the policy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from envs.rollout import Trajectories

LARGEST = 1024  # symbols of a field and fields of an observation that still are symbols

Encode = Callable[[Any], Any]  # an observation to integers >= 0, always equally many


class Player(Protocol):
    """Who acts: a function, or an object that is called like one.

    One with memory may also have ``begin(level, rollout)``, called before each episode.
    """

    def __call__(self, observation: Any, rng: np.random.Generator) -> Any:
        """An action of the environment's own space for its own observation."""
        ...


@dataclasses.dataclass(frozen=True)
class Symbols:
    """How an observation becomes symbols.

    Attributes:
        low: int64[F], the least number of each field.
        count: int64[F], how many there are from it on.
    """

    low: np.ndarray
    count: np.ndarray

    @property
    def num_symbols(self) -> int:
        """V: every symbol is in [0, V)."""
        return int(self.count.max())

    def __call__(self, observation: Any) -> np.ndarray:
        """int64[F]: the numbers of an observation in the order of its array, from 0 on.

        Raises:
            ValueError: they lie outside the space.
        """
        numbers = np.asarray(observation).astype(np.int64).ravel()
        if numbers.shape != self.low.shape:
            raise ValueError(f"{numbers.size} numbers, its space has {self.low.size}")
        numbers = numbers - self.low
        if not ((numbers >= 0) & (numbers < self.count)).all():
            raise ValueError("numbers outside its space")
        return numbers


def symbols(space: spaces.Space) -> Symbols:
    """The symbols of a space of whole numbers: Discrete, MultiDiscrete, MultiBinary or a small
    Box of integers, at most 1,024 fields of at most 1,024 values.

    Raises:
        ValueError: another space.
    """
    match space:
        case spaces.Discrete():
            low, count = [space.start], [space.n]
        case spaces.MultiDiscrete():
            low, count = space.start.ravel(), space.nvec.ravel()
        case spaces.MultiBinary():
            low, count = np.zeros(space.shape).ravel(), np.full(space.shape, 2).ravel()
        case spaces.Box() if np.issubdtype(space.dtype, np.integer):
            low = space.low.astype(object).ravel()  # of Python's integers, which do not overflow
            count = space.high.astype(object).ravel() - low + 1
        case _:
            low, count = [], []
    if not 0 < len(low) <= LARGEST or max(count) > LARGEST:
        raise ValueError(
            f"observations in {space} are no symbols: expected Discrete, MultiDiscrete, "
            f"MultiBinary or a Box of integers, with at most {LARGEST} numbers of {LARGEST} "
            "values; give encode=, a function from an observation to a few integers"
        )
    return Symbols(np.array(low, np.int64), np.array(count, np.int64))


def fingerprint(name: str, level: int) -> np.ndarray:
    """uint32[2]: a 64-bit hash (BLAKE2b) of an environment's name and a seed.

    It stands for the seed, not for the content, which Gymnasium does not show: two seeds that
    make one level count as two, so keep the seeds of train and test apart in another way where
    an environment has few levels.
    """
    digest = hashlib.blake2b(f"{name} {level}".encode(), digest_size=8).digest()
    return np.frombuffer(digest, "<u4").astype(np.uint32)


def name_of(env: gymnasium.Env) -> str:
    """What identifies an environment: its id and the arguments it was made with, the way of
    rendering apart, or its class where it was made without Gymnasium's registry."""
    if env.spec is None:
        return f"{type(env.unwrapped).__module__}.{type(env.unwrapped).__qualname__}"
    given = {k: v for k, v in env.spec.kwargs.items() if k != "render_mode"}
    return f"{env.spec.id} {json.dumps(given, sort_keys=True, default=lambda v: type(v).__name__)}"


def collect(
    make_env: str | Callable[[], gymnasium.Env],
    policy: Player,
    *,
    levels: Sequence[int],
    rollouts: int,
    horizon: int,
    seed: int = 0,
    encode: Encode | None = None,
    name: str | None = None,
) -> Trajectories:
    """Plays a policy ``rollouts`` times in every level.

    Args:
        make_env: an id, or a function that makes the environment. Its actions are Discrete; its
            rewards lie in [-1, 1].
        policy: who acts. ``rng`` is default_rng([seed, level, rollout]), so that an episode does
            not depend on the others.
        levels: L different seeds >= 0.
        rollouts: R, episodes of each level.
        horizon: T; an episode that is not over by then is truncated there.
        seed: of the policy's chance.
        encode: makes int[F] in [0, 2³¹) of an observation; without it the observation space has
            to be one of ``symbols``.
        name: stands for the environment in the fingerprints; ``name_of`` it by default.

    Returns:
        Trajectories[L, R, T]. As in envs/rollout.py, valid steps are a prefix, and the steps
        after an episode's end hold its last observation and no reward; their action is 0.
        Actions count from 0 whatever the space starts with.

    Raises:
        ValueError: levels that repeat, a space that does not fit, a policy that leaves the action
            space, or an environment whose observations or rewards leave theirs or whose first
            observation is not settled by the seed.
    """
    if (
        not levels
        or len(set(levels)) < len(levels)
        or min(levels) < 0
        or min(rollouts, horizon) < 1
    ):
        raise ValueError(
            "levels: different seeds, each 0 or more; rollouts and horizon: 1 or more; given "
            f"{list(levels)}, {rollouts} and {horizon}"
        )
    env = gymnasium.make(make_env) if isinstance(make_env, str) else make_env()
    try:
        name = name_of(env) if name is None else name
        if not isinstance(env.action_space, spaces.Discrete):
            raise ValueError(f"{name}: actions in {env.action_space}; expected Discrete")
        look = _Look(name, symbols(env.observation_space) if encode is None else encode)
        groups = []
        for level in levels:
            group = []
            for rollout in range(rollouts):
                rng = np.random.default_rng([seed, level, rollout])
                if hasattr(policy, "begin"):
                    policy.begin(level, rollout)  # type: ignore[attr-defined]
                group.append(_play(env, name, look, policy, rng, level, horizon))
                if (group[-1]["observation"][0] != group[0]["observation"][0]).any():
                    raise ValueError(
                        f"{name}: level {level} starts differently in rollout {rollout}; "
                        "reset(seed=) has to settle the level"
                    )
            groups.append(group)
    finally:
        env.close()
    steps = {
        field: jnp.asarray(np.stack([[steps[field] for steps in group] for group in groups]))
        for field in groups[0][0]
    }
    prints = np.stack([fingerprint(name, level) for level in levels])
    return Trajectories(**steps, fingerprint=jnp.asarray(prints))


class _Look:
    """Encodes observations and sees to it that all have the same number of fields."""

    def __init__(self, name: str, encode: Encode):
        self.name, self.encode = name, encode
        self.fields: int | None = None

    def __call__(self, observation: Any) -> np.ndarray:
        """int32[F]."""
        try:
            numbers = np.atleast_1d(np.asarray(self.encode(observation)))
        except ValueError as error:
            raise ValueError(f"{self.name}: an observation has {error}") from error
        self.fields = numbers.size if self.fields is None else self.fields
        if (
            numbers.shape != (self.fields,)
            or not np.issubdtype(numbers.dtype, np.integer)
            or not ((numbers >= 0) & (numbers < 2**31)).all()
        ):
            raise ValueError(
                f"{self.name}: encode= gave {numbers.dtype}{list(numbers.shape)}, {numbers}; "
                f"expected {self.fields} integers in [0, 2**31)"
            )
        return numbers.astype(np.int32)


def _play(
    env: gymnasium.Env,
    name: str,
    look: _Look,
    policy: Player,
    rng: np.random.Generator,
    level: int,
    horizon: int,
) -> dict[str, np.ndarray]:
    """One episode: the fields of Trajectories with the leading axis T alone."""
    actions = env.action_space
    assert isinstance(actions, spaces.Discrete)
    observation, _ = env.reset(seed=level)
    seen = look(observation)
    steps = {
        "observation": np.tile(seen, (horizon, 1)),
        "action": np.zeros(horizon, np.int32),
        "reward": np.zeros(horizon, np.float32),
        "terminated": np.zeros(horizon, bool),
        "truncated": np.zeros(horizon, bool),
        "successor": np.tile(seen, (horizon, 1)),
        "valid": np.zeros(horizon, bool),
    }
    for time in range(horizon):
        action = policy(observation, rng)
        if not actions.contains(action):
            raise ValueError(f"{name}: the policy chose {action!r}, which is not in {actions}")
        observation, reward, terminated, truncated, _ = env.step(action)
        if not -1 <= float(reward) <= 1:
            raise ValueError(
                f"{name}: reward {reward} at step {time + 1} of level {level} is outside [-1, 1]; "
                "scale it, with gymnasium.wrappers.TransformReward for one"
            )
        seen = look(observation)
        steps["observation"][time + 1 :] = seen
        steps["successor"][time:] = seen
        steps["action"][time] = action - actions.start
        steps["reward"][time] = reward
        steps["terminated"][time] = terminated
        steps["truncated"][time] = (truncated or time == horizon - 1) and not terminated
        steps["valid"][time] = True
        if terminated or truncated:
            break
    return steps
