"""Gymnasium's VectorEnv over any family: N environments in one compiled step, L levels held."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.core import Env, Episode, Level, State, TimeStep, advance, begin
from envs.gymnasium import SEEDS, Observations, build, fit, modes_of, spaces
from envs.keys import new_key
from envs.levels import LevelSet, draw_levels
from envs.render import image
from envs.wrappers import Wrapper, wrap


class Batch(struct.PyTreeNode):
    """The episodes of N sub-environments.

    Attributes:
        key: what the next step's chance comes from.
        index: int32[N], the level that each plays.
        episode: Episode[N], without observations.
    """

    key: jax.Array
    index: jax.Array
    episode: Episode


class Unseen(Wrapper):
    """Shows nothing, so that a step looks once at the state it ends in, however it came there."""

    def observe(self, level: Level, state: State) -> jax.Array:
        """int32[0]."""
        return jnp.zeros(0, jnp.int32)


def _select(mask: jax.Array, yes: Any, no: Any) -> Any:
    """``yes`` where bool[N] ``mask`` is true, else ``no``, over the leading axis of pytrees."""
    return jax.vmap(lambda m, y, n: jax.tree.map(lambda a, b: jnp.where(m, a, b), y, n))(
        mask, yes, no
    )


def _take(levels: Level, index: jax.Array) -> Level:
    return jax.tree.map(lambda x: x[index], levels)


def _new(env: Env, key: jax.Array, level: Level, count: int) -> Episode:
    keys = jax.random.split(key, count)
    return jax.vmap(begin, (None, 0, 0))(wrap(Unseen, env), keys, level)


@jax.jit
def _start(env: Env, levels: Level, key: jax.Array, index: jax.Array) -> Batch:
    """New episodes in the levels int32[N] of the buffer."""
    key, begin_key = jax.random.split(key)
    return Batch(key, index, _new(env, begin_key, _take(levels, index), index.shape[0]))


@functools.partial(jax.jit, static_argnames="mode")
def _step(
    env: Env, levels: Level, batch: Batch, action: jax.Array, *, mode: AutoresetMode
) -> tuple[Batch, TimeStep, jax.Array]:
    """One step of all: the new batch, what it paid and showed, and the successors' observations,
    which differ from those shown where an episode was started anew in the same step."""
    count = action.shape[0]
    key, step_key, level_key, start_key = jax.random.split(batch.key, 4)
    keys = jax.random.split(step_key, count)

    blind = wrap(Unseen, env)
    same = mode == AutoresetMode.SAME_STEP
    index, level = batch.index, _take(levels, batch.index)
    play = jax.vmap(advance, (None, 0, 0, 0, 0))
    episode = moved = play(blind, keys, level, batch.episode, action)
    final = jax.vmap(env.observe)(level, moved.state)
    if mode != AutoresetMode.DISABLED:
        over = (moved if same else batch.episode).timestep.last
        size = jax.tree.leaves(levels)[0].shape[0]
        index = jnp.where(over, jax.random.randint(level_key, (count,), 0, size), index)
        level = _take(levels, index)
        episode = _select(over, _new(env, start_key, level, count), moved)
    seen = jax.vmap(env.observe)(level, episode.state)
    shown = (moved if same else episode).timestep.replace(observation=seen)
    return Batch(key, index, episode), shown, final if same else seen


_merge = jax.jit(_select)
_see = jax.jit(
    lambda env, levels, batch: jax.vmap(env.observe)(
        _take(levels, batch.index), batch.episode.state
    )
)
_pictures = jax.jit(
    lambda env, levels, batch: jax.vmap(env.draw)(_take(levels, batch.index), batch.episode.state)
)


class LevelburstVectorEnv(VectorEnv):
    """N environments of a family in one compiled step, over a buffer of L levels.

    A reset, an autoreset included, picks a level of the buffer uniformly and never generates one.
    ``info["level"]`` int64[N] is its index. Observations are int32[N, F] or
    uint8[N, 64, 64, 3], rewards float32[N], ``terminations`` and ``truncations`` bool[N]. All
    chance comes from reset(seed=): one generator for the whole batch.

    Finished episodes are started anew as ``metadata["autoreset_mode"]`` says. NEXT_STEP: by the
    next step, which ignores the action and pays 0. SAME_STEP: by the step that ends them, whose
    ``info`` holds ``final_obs`` and ``final_info``. DISABLED: by reset(options={"reset_mask": …});
    until then they stay as they are and pay 0.

    Attributes:
        core: the Env inside, wrappers included.
        levels: the buffer, levels stacked on a leading axis L.
        batch: the episodes; None before the first reset.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        family: str | Env,
        *,
        num_envs: int = 1,
        levels: int | LevelSet | Level = 1024,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observations: Observations = "symbols",
        stickiness: float = 0.0,
        render_mode: str | None = None,
        **fields: Any,
    ):
        """Makes the environments and their buffer of levels.

        Args:
            family: a registered name, ``module:Class`` or a ready Env.
            num_envs: N.
            levels: the buffer: a LevelSet, levels stacked on a leading axis, or a number L, the
                first different admissible levels of ``draw_levels(core, new_key(0), L)``
                (where states cannot be enumerated, those of ``new_key(0 … L - 1)``).
            autoreset_mode: an AutoresetMode, or ``NextStep``, ``SameStep`` or ``Disabled``.
            observations: ``symbols`` or ``pixels`` (envs/pixels.py).
            stickiness: probability in [0, 1] of a sticky action (envs/wrappers.py).
            render_mode: ``rgb_array``, a picture of every environment, or None.
            **fields: fields of the family.

        Raises:
            ValueError: one of these is not what it should be.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs {num_envs}: use 1 or more")
        self.core = build(family, observations, stickiness, fields)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = spaces(self.core)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.mode = AutoresetMode(autoreset_mode)
        modes = modes_of(self.core, self.metadata["render_modes"], render_mode)
        self.metadata = {**self.metadata, "render_modes": modes, "autoreset_mode": self.mode}
        self.render_mode = render_mode
        self.levels = fit(self.core, self._buffer(levels), stacked=True)
        self.size = int(jax.tree.leaves(self.levels)[0].shape[0])
        self.batch: Batch | None = None

    def _buffer(self, levels: int | LevelSet | Level) -> Level:
        if isinstance(levels, int | np.integer):
            if levels < 1:
                raise ValueError(f"levels {levels}: use 1 or more")
            if not self.core.num_states:
                keys = jax.vmap(new_key)(jnp.arange(levels, dtype=jnp.uint32))
                return jax.jit(jax.vmap(self.core.level))(keys)
            levels = draw_levels(self.core, new_key(0), int(levels))
        if isinstance(levels, LevelSet):
            return jax.jit(LevelSet.levels)(levels, jnp.arange(levels.ids.shape[0]))
        return levels

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts episodes.

        Args:
            seed: of the one generator; None goes on with it.
            options: ``{"level": …}`` int[N] picks levels by index instead of by chance;
                ``{"reset_mask": …}`` bool[N] restarts these only.

        Returns:
            (observations, infos) of all environments; infos of those restarted.

        Raises:
            ValueError: an index or a mask of another shape or out of range.
        """
        self._open()
        super().reset(seed=seed)
        options = options or {}
        mask = np.asarray(options.get("reset_mask", np.ones(self.num_envs, bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(f"reset_mask: expected bool[{self.num_envs}] with a True in it")
        drawn = self.np_random.integers(self.size, size=self.num_envs)
        index = self._whole("level", options.get("level", drawn), self.size)
        key = new_key(self.np_random.integers(SEEDS, dtype=np.uint32))
        batch = _start(self.core, self.levels, key, index)
        if not mask.all():
            old = self._running()
            kept = _merge(mask, (batch.index, batch.episode), (old.index, old.episode))
            batch = Batch(batch.key, *kept)
        self.batch = batch
        return np.array(_see(self.core, self.levels, batch)), self._infos(batch.index, mask)

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Acts with int[N]: (observations, rewards, terminations, truncations, infos).

        Raises:
            ResetNeeded: before the first reset.
            ValueError: actions of another shape, kind or range.
        """
        old = self._running()
        action = self._whole("actions", actions, self.core.num_actions)
        batch, shown, seen = _step(self.core, self.levels, old, action, mode=self.mode)
        self.batch = batch
        now = jax.tree.map(np.array, shown)
        infos = self._infos(batch.index)
        ended = now.terminated | now.truncated
        if self.mode == AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, object)
            observed = np.array(seen)
            for i in np.flatnonzero(ended):
                final[i] = observed[i]
            infos |= {"final_obs": final, "_final_obs": ended.copy()}
            infos |= {"final_info": self._infos(old.index, ended), "_final_info": ended.copy()}
        return now.observation, now.reward, now.terminated, now.truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """uint8[h, w, 3] for each environment, or None without a render_mode."""
        if self.render_mode is None:
            return None
        pictures = np.asarray(_pictures(self.core, self.levels, self._running()))
        return tuple(image(picture) for picture in pictures)

    def close_extras(self) -> None:
        """Lets the episodes and the levels go."""
        self.batch = self.levels = None

    def _open(self) -> None:
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("it was closed; make another")

    def _running(self) -> Batch:
        self._open()
        if self.batch is None:
            raise gymnasium.error.ResetNeeded("no episode is running: call reset() first")
        return self.batch

    def _infos(self, index: jax.Array, mask: np.ndarray | None = None) -> dict[str, Any]:
        """The levels' numbers, with the mask that says whose they are, all by default."""
        mask = np.ones(self.num_envs, bool) if mask is None else mask.copy()
        return {"level": np.where(mask, np.asarray(index, np.int64), 0), "_level": mask}

    def _whole(self, what: str, given: Any, count: int) -> np.ndarray:
        """int32[N]: ``given``, whole numbers in [0, count)."""
        numbers = np.asarray(given)
        if (
            numbers.shape != (self.num_envs,)
            or not np.issubdtype(numbers.dtype, np.integer)
            or not ((numbers >= 0) & (numbers < count)).all()
        ):
            raise ValueError(
                f"{what}: expected {self.num_envs} integers in [0, {count}), given "
                f"{numbers.dtype}{list(numbers.shape)}"
            )
        return numbers.astype(np.int32)
