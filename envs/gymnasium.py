"""Gymnasium environments over any family; envs/vector.py has them in batches.

``import envs`` registers every family with Gymnasium: ``dark-room`` is ``levelburst/DarkRoom-v0``.
Observations, rewards and flags come out as NumPy arrays and Python numbers; the dynamics stay
compiled, once for a family and its sizes, whatever levels are played. The horizon of the core
truncates episodes, so the ids have no ``max_episode_steps`` of their own.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from envs.core import Env, Episode, Level, TimeStep, advance, begin
from envs.keys import new_key
from envs.levels import LevelSet
from envs.oracle import optimal_return, random_return
from envs.pixels import Pixels
from envs.registry import listen, make
from envs.render import image
from envs.wrappers import Sticky, wrap

Observations = Literal["symbols", "pixels"]
SEEDS = 2**32  # levels and episodes are drawn from keys of 32-bit seeds
PATIENCE = 1000  # draws in search of an admissible level before it is given up


def env_id(name: str) -> str:
    """The Gymnasium id of a family: ``levelburst/DarkRoom-v0`` for ``dark-room``."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    return f"levelburst/{''.join(word[0].upper() + word[1:] for word in words)}-v0"


def register_all() -> None:
    """Gives every family its Gymnasium id: those registered already and those to come."""
    listen(_register)


def _register(name: str) -> None:
    known = gymnasium.registry.get(env_id(name))
    if known is not None and known.kwargs == {"family": name}:
        return
    gymnasium.register(
        id=env_id(name),
        entry_point="envs.gymnasium:LevelburstEnv",
        vector_entry_point="envs.vector:LevelburstVectorEnv",
        kwargs={"family": name},
    )


def build(
    family: str | Env, observations: Observations, stickiness: float, fields: dict[str, Any]
) -> Env:
    """The environment inside: a family with its fields, its wrappers and its way of being seen.

    Raises:
        ValueError: an unknown name, field or kind of observation, or a number out of range.
    """
    if isinstance(family, Env) and fields:
        raise ValueError(
            f"fields {', '.join(fields)} for a ready {type(family).__name__}; "
            "set them where it is made, or give the family's name"
        )
    if not 0 <= stickiness <= 1:
        raise ValueError(f"stickiness {stickiness}: it is a probability, use a number from 0 to 1")
    env = family if isinstance(family, Env) else make(family, **fields)
    if stickiness:
        env = wrap(Sticky, env, stickiness=stickiness)
    if observations == "pixels":
        return wrap(Pixels, env)
    if observations != "symbols":
        raise ValueError(f"observations {observations!r}: use 'symbols' or 'pixels'")
    return env


def spaces(env: Env) -> tuple[Box | MultiDiscrete, Discrete]:
    """Of observations, MultiDiscrete int32[F] or Box uint8[64, 64, 3], and of actions."""
    if env.observation_dtype == "uint8":
        seen = Box(0, 255, env.observation_shape, np.uint8)
    else:
        seen = MultiDiscrete(np.full(env.num_fields, env.num_symbols), dtype=np.int32)
    return seen, Discrete(env.num_actions)


def fit(env: Env, level: Level, stacked: bool = False) -> Level:
    """``level`` as arrays of the dtypes that ``env`` draws, ``stacked`` on a leading axis or not.

    Raises:
        ValueError: it is no level of this environment, by its structure or its shapes.
    """
    like = jax.eval_shape(env.level, new_key(0))
    leaves, kind = jax.tree.leaves(level), jax.tree.structure(level)
    lead = np.shape(leaves[0])[:1] if stacked and leaves else ()
    given = [np.shape(leaf) for leaf in leaves]
    wanted = [(*lead, *leaf.shape) for leaf in jax.tree.leaves(like)]
    if kind != jax.tree.structure(like) or given != wanted or len(lead) != stacked:
        raise ValueError(
            f"a {type(level).__name__} with arrays {given} is no {'stack' if stacked else 'level'} "
            f"of {type(env).__name__}: expected a {type(like).__name__} with arrays {wanted}"
            f"{' on a leading axis' if stacked else ''}, as its level() makes them"
        )
    return jax.tree.map(
        lambda x, y: x if getattr(x, "dtype", None) == y.dtype else jnp.asarray(x, y.dtype),
        level,
        like,
    )


def modes_of(env: Env, known: list[str], wanted: str | None) -> list[str]:
    """The render modes that the family has among the known ones: pictures and words are optional.

    Raises:
        ValueError: the wanted one is not among them.
    """
    bare = type(env.bare)
    draws = bare.draw is not Env.draw
    speaks = draws or bare.text is not Env.text
    modes = [mode for mode in known if (draws if mode == "rgb_array" else speaks)]
    if wanted is not None and wanted not in modes:
        raise ValueError(
            f"render_mode {wanted!r}: {bare.__name__} has {', '.join(modes) or 'none'}"
        )
    return modes


@jax.jit
def _draw(env: Env, index: jax.Array) -> Level:
    """The level of ``new_key(index)``, index uint32[]."""
    return env.level(new_key(index))


@jax.jit
def _candidate(env: Env, index: jax.Array) -> tuple[Level, jax.Array]:
    """The same, and bool[]: whether it is admissible, where that can be known."""
    level = env.level(new_key(index))
    if not env.num_states:
        return level, jnp.ones((), bool)
    table = env.tabulate(level)
    lead = optimal_return(table, env.horizon) - random_return(table, env.horizon)
    return level, (lead >= env.margin) & (lead > 0)


@jax.jit
def _member(levels: LevelSet, index: jax.Array) -> Level:
    return levels.level(index)


@jax.jit
def _begin(env: Env, seed: jax.Array, level: Level) -> Episode:
    return begin(env, jax.random.fold_in(new_key(seed), 0), level)


@jax.jit
def _advance(env: Env, seed: jax.Array, level: Level, episode: Episode, action) -> Episode:
    key = jax.random.fold_in(new_key(seed), episode.time + 1)
    return advance(env, key, level, episode, action)


@jax.jit
def _picture(env: Env, level: Level, episode: Episode) -> jax.Array:
    return env.draw(level, episode.state)


class LevelburstEnv(gymnasium.Env):
    """One environment of a family, one level at a time.

    Observation: int32[F] in MultiDiscrete([V] * F), or uint8[64, 64, 3] of pixels. Action: an
    integer in [0, A). Reward: a float in [-1, 1]. An episode ends by ``terminated``, or by
    ``truncated`` at the core's horizon; stepped on, it stays as it is and pays 0.

    ``info["level"]`` is the number of the level being played, where it has one. All chance comes
    from ``np_random``: reset(seed=) draws the level (where it is open) and then s, the episode's
    seed; its reset uses fold_in(key(s), 0) and its step t = 1, 2 … fold_in(key(s), t).

    Attributes:
        core: the Env inside, wrappers included.
        level: the level being played; None before the first reset.
        episode: its Episode (envs/core.py), whose ``state`` an oracle may look at.
    """

    metadata = {"render_modes": ["rgb_array", "ansi", "human"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        family: str | Env,
        *,
        level: int | str | LevelSet | Level | None = None,
        observations: Observations = "symbols",
        stickiness: float = 0.0,
        render_mode: str | None = None,
        **fields: Any,
    ):
        """Makes the environment.

        Args:
            family: a registered name, ``module:Class`` or a ready Env.
            level: what resets play. None: another level each time, drawn from the generator
                among the admissible ones (solvable within the horizon, the optimum ``margin``
                above random play; all of them where states cannot be enumerated). An int i in
                [0, 2³²): the level drawn from ``new_key(i)``, admissible or not. Text: the
                level that it shows (``Env.parse``). A LevelSet: one of its levels each time,
                uniformly. Anything else: a level itself, as ``Env.level`` makes it.
            observations: ``symbols`` or ``pixels`` (envs/pixels.py).
            stickiness: probability in [0, 1] of a sticky action (envs/wrappers.py).
            render_mode: ``rgb_array`` (an image), ``ansi`` (text), ``human`` (text printed at
                every reset and step), or None.
            **fields: fields of the family.

        Raises:
            ValueError: one of these is not what it should be.
        """
        self.core = build(family, observations, stickiness, fields)
        self.observation_space, self.action_space = spaces(self.core)
        modes = modes_of(self.core, self.metadata["render_modes"], render_mode)
        self.metadata = {**self.metadata, "render_modes": modes}
        self.render_mode = render_mode
        self.level: Level | None = None
        self.episode: Episode | None = None
        self._index: int | None = None
        self._seed = np.uint32(0)
        self._source = self._read(level)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: of the generator; None goes on with it.
            options: ``{"level": …}`` plays another level this once: what the constructor takes.

        Returns:
            (observation, info).
        """
        super().reset(seed=seed)
        source = self._source
        if options and "level" in options:
            source = self._read(options["level"])
        self.level, self._index = self._choose(source)
        self._seed = self.np_random.integers(SEEDS, dtype=np.uint32)
        self.episode = episode = _begin(self.core, self._seed, self.level)
        if self.render_mode == "human":
            self.render()
        return np.array(episode.timestep.observation), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Acts: (observation, reward, terminated, truncated, info).

        Raises:
            ResetNeeded: before the first reset.
            ValueError: no action of the space.
        """
        if self.episode is None:
            raise gymnasium.error.ResetNeeded("step before reset: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r}: expected an integer in {self.action_space}")
        after = _advance(self.core, self._seed, self.level, self.episode, np.int32(action))
        self.episode = after
        now: TimeStep = jax.device_get(after.timestep)
        if self.render_mode == "human":
            self.render()
        flags = bool(now.terminated), bool(now.truncated)
        return np.array(now.observation), float(now.reward), *flags, self._info()

    def render(self) -> np.ndarray | str | None:  # type: ignore[override]
        """uint8[h, w, 3], text, or None after printing it, after ``render_mode``.

        Raises:
            ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render_mode shows nothing; give it to make()")
            return None
        if self.episode is None:
            raise gymnasium.error.ResetNeeded("render before reset: call reset() first")
        if self.render_mode == "rgb_array":
            return image(np.asarray(_picture(self.core, self.level, self.episode)))
        text = self.core.text(self.level, self.episode.state)
        if self.render_mode == "ansi":
            return text
        print(text, end="\n\n", flush=True)
        return None

    def _info(self) -> dict[str, Any]:
        return {} if self._index is None else {"level": self._index}

    def _read(self, level: Any) -> LevelSet | tuple[Level, int | None] | None:
        """What resets choose from; a level comes with its number."""
        if level is None:
            return None
        if isinstance(level, LevelSet):
            fit(self.core, jax.eval_shape(level.level, jnp.int32(0)))
            return level
        if isinstance(level, int | np.integer):
            if not 0 <= level < SEEDS:
                raise ValueError(f"level {level}: use a number in [0, 2**32)")
            return _draw(self.core, np.uint32(level)), int(level)
        if isinstance(level, str):
            level = self.core.bare.parse(level)
        return fit(self.core, level), None

    def _choose(self, source: LevelSet | tuple[Level, int | None] | None):
        """A level and its number, None where it has none."""
        if isinstance(source, tuple):
            return source
        if source is not None:
            index = int(self.np_random.integers(source.ids.shape[0]))
            return _member(source, np.int32(index)), index
        for _ in range(PATIENCE):
            index = int(self.np_random.integers(SEEDS))
            level, admitted = _candidate(self.core, np.uint32(index))
            if admitted:
                return level, index
        raise ValueError(
            f"{type(self.core.bare).__name__} has no admissible level among {PATIENCE} drawn; "
            "raise its horizon or lower its margin"
        )
