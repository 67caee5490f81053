"""What training reads out of a store, a chunk ahead of the training.

Which levels an update visits follows from the run's key and its step, as where groups are generated
(icl/train.py), so a run that goes on in the middle reads on from there; where the store holds R > E
rollouts of a level, a visit draws E of them by the same key.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.keys import new_key
from envs.levels import LevelSet
from envs.origin import described
from envs.store import GROUP, Groups, Store
from envs.writer import differences
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.source import part_name
from icl.train import Program, Run

if TYPE_CHECKING:
    from experiments.compare import Cell, Comparison
    from experiments.suite import Suite


def find(config: CompareConfig, suite: Suite, seeds: list[int]) -> Store:
    """The store of a config, which has a part for every family and seed.

    Raises:
        ConfigError: one lacks, or was collected in another environment or with fewer rollouts.
        OSError: there is no store, or it is damaged.
    """
    store = Store.open(config.store)
    for seed in seeds:
        for family, env in suite.train.items():
            name = part_name(family, seed)
            if name not in store.layout.parts:
                have = ", ".join(list(store.layout.parts)[:8])
                raise ConfigError(
                    f"store {config.store} has no part {name}, it has {have}; collect it with "
                    "--families and --seeds as here"
                )
            about = store.layout.parts[name].about
            expected = json.loads(json.dumps(described(env)))
            for place, there, here in differences(about.get("environment"), expected):
                raise ConfigError(
                    f"store {config.store} was collected in another environment: {name} has "
                    f"{place} {str(there)[:60]}, here it is {str(here)[:60]}; give the same "
                    "settings"
                )
            forms = store.layout.parts[name].forms
            if not set(GROUP) <= set(forms) or forms["valid"].shape[0] < config.slots:
                raise ConfigError(
                    f"store {config.store}: {name} has too few rollouts for contexts of "
                    f"{config.slots} slots; lower slots or collect more"
                )
    return store


def places(groups: Groups, levels: LevelSet) -> np.ndarray:
    """int64[n]: where the groups of each level of a set are, found by fingerprint: a store may hold
    others, as those of the test, and they are never read.

    Raises:
        ConfigError: some are not there.
    """
    have = groups.array("fingerprint").astype(np.uint64)
    wanted = np.asarray(levels.fingerprints).astype(np.uint64)
    have, wanted = (x[:, 0] << np.uint64(32) | x[:, 1] for x in (have, wanted))
    order = np.argsort(have, kind="stable")
    found = np.searchsorted(have[order], wanted).clip(0, max(len(order) - 1, 0))
    missing = len(wanted) if not len(have) else int((have[order][found] != wanted).sum())
    if missing:
        raise ConfigError(
            f"store {groups.path}: {groups.part.name} has {len(have)} levels, and {missing} of the "
            f"{len(wanted)} training levels are not among them; lower train_levels or collect more"
        )
    return order[found]


def refuse(job: Comparison) -> None:
    """Finds out, before a run has a folder, whether its store will do, as far as that goes with the
    levels of its first seed.

    Raises:
        ConfigError: it will not.
        OSError: there is no store, or it is damaged.
    """
    config, store = job.config, find(job.config, job.suite, job.seeds)
    for name, levels in zip(job.suite.train, job.levels(config.seed).train):
        places(store.groups(part_name(name, config.seed)), levels)


class Feed:
    """Training on a store: called like the compiled training, (states, runs) -> (states, metrics).
    Where several processes train together, each reads what all of them train on; which levels those
    are is computed by the devices, and by nobody for the others.

    Args:
        job: whose config names the store.
        compiled: the training of a chunk, (states, runs, groups) -> (states, metrics).
        cells: the wave, filled up.
        start: the update that training begins with.
    """

    def __init__(
        self, job: Comparison, compiled: Any = None, cells: Sequence[Cell] = (), start: int = 0
    ):
        self._job, self._compiled = job, compiled
        self._seeds, self._step = [seed for _, seed in cells], start
        self._store = find(job.config, job.suite, job.seeds)
        self._pools = job.config.report_every // job.config.pool
        self._visits = job.side_by_side(self._chosen)
        self._everywhere = jax.jit(lambda tree: tree, out_shardings=job.everywhere)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="levelburst-feed")
        self._groups: dict[int, list[tuple[Groups, np.ndarray]]] = {}
        self._ahead: Future[Any] | None = None

    def __call__(self, states: Any, runs: Any) -> tuple[Any, Any]:
        """One chunk. What the next one reads is fetched while this one trains."""
        if self._ahead is None:
            self._ahead = self.fetch(runs)
        groups = self._ahead.result()
        self._step += self._pools * self._job.config.pool
        if self._step < self._job.config.updates:
            self._ahead = self.fetch(runs)  # before the devices are busy
        return self._compiled(states, runs, groups)

    def wait(self) -> None:
        """Waits until what the next chunk trains on is there."""
        if self._ahead is not None:
            self._ahead.result()

    def _open(self, seeds: list[int]) -> None:
        job = self._job
        for seed in set(seeds) - set(self._groups):
            parts = [self._store.groups(part_name(family, seed)) for family in job.suite.train]
            self._groups[seed] = [
                (groups, places(groups, levels))
                for groups, levels in zip(parts, job.levels(seed).train, strict=True)
            ]

    def pool(self, seed: int, step: int, run: Run) -> Any:
        """Trajectories[family, n, E, T] that a run of this seed reads in the pool that begins with
        update ``step``."""
        self._open([seed])
        visits = chosen(self._job.program, new_key(seed), jnp.array([step]), run, self._held())
        found = _groups(self._groups[seed], *jax.device_get(visits))
        return jax.tree.map(lambda x: x[0], found)

    def fetch(self, runs: Any) -> Future[Any]:
        """Begins to read what the next chunk trains on: Trajectories[run, pools, family, n, E, T],
        on the devices that train the runs."""
        self._open(self._seeds)
        steps = self._job.stack([np.int32(self._step)] * len(self._seeds))
        visits = self._visits(self._keys, steps, runs)
        return self._reader.submit(self._read, *self._everywhere(visits))

    @functools.cached_property
    def _keys(self) -> jax.Array:
        """Of the wave's runs, on their devices."""
        return self._job.stack([new_key(seed) for seed in self._seeds])

    def _chosen(self, key: jax.Array, step: jax.Array, run: Run) -> tuple[jax.Array, jax.Array]:
        """Of the pools of a chunk, the levels visited int32[pools, family, n], and the rollouts
        taken of each int32[pools, family, n, E]."""
        steps = step + self._job.config.pool * jnp.arange(self._pools)
        return chosen(self._job.program, key, steps, run, self._held())

    def _held(self) -> list[int]:
        """R of each family, the least over all seeds of the comparison, whichever train at once."""
        parts = self._store.layout.parts
        return [
            min(parts[part_name(x, seed)].forms["valid"].shape[0] for seed in self._job.seeds)
            for x in self._job.suite.train
        ]

    def _read(self, visits: Any, rollouts: Any) -> Any:
        """The groups of runs [run, pools, family, n], on the devices that train them."""
        visits, rollouts = jax.device_get((visits, rollouts))  # here: the trainer does not wait
        runs = [
            _groups(self._groups[seed], visits[i], rollouts[i])
            for i, seed in enumerate(self._seeds)
        ]
        return self._job.stack(runs)


def chosen(
    program: Program, key: jax.Array, steps: jax.Array, run: Run, held: list[int]
) -> tuple[jax.Array, jax.Array]:
    """What pools that begin at ``steps`` int32[pools] visit: levels int32[pools, family, n] and
    rollouts int32[pools, family, n, E] of the ``held`` ones of each family."""
    slots = program.config.slots

    def pool(step: jax.Array) -> tuple[jax.Array, jax.Array]:
        visits, keys = program.visits(jax.random.fold_in(key, step), run)
        taken = []
        for own, rollouts in zip(keys, held):
            each = jax.random.split(own, visits.shape[1])
            drawn = jax.vmap(lambda k, n=rollouts: jax.random.permutation(k, n)[:slots])(each)
            every = jnp.broadcast_to(jnp.arange(slots), drawn.shape)
            taken.append(every if rollouts == slots else drawn)
        return visits, jnp.stack(taken)

    return jax.vmap(pool)(steps)


def _groups(
    sources: list[tuple[Groups, np.ndarray]], visits: np.ndarray, rollouts: np.ndarray
) -> Any:
    """Trajectories[pools, family, n, E, T] of one run: each level is read once, however often it is
    visited."""
    families = []
    for index, (groups, places) in enumerate(sources):
        wanted, where = np.unique(places[visits[:, index]], return_inverse=True)
        read = groups.trajectories(wanted)
        where = where.reshape(visits[:, index].shape)
        taken = rollouts[:, index]

        def visit(x: np.ndarray, where: np.ndarray = where, taken: np.ndarray = taken) -> Any:
            if x.ndim == 2:  # a fingerprint
                return x[where]
            return x[where[..., None], taken]

        families.append(jax.tree.map(visit, read))
    return jax.tree.map(lambda *x: np.stack(x, axis=1), *families)
