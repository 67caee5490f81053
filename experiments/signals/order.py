"""Cells of the order of training: every order of four tasks, and what was predicted of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from agents.perceptron import Perceptron, merged, untrained
from envs.core import Env, Level
from envs.keys import new_key
from envs.levels import Split, draw_levels
from envs.wrappers import pad
from experiments.signals.config import SignalsConfig
from icl.signals import order
from icl.signals.coverage import Open
from icl.signals.stages import Course, StageConfig, imitate, stage
from icl.signals.tasks import Tasks, scored, tabulated

TASKS = ("dark-room", "key-door", "combination-lock", "coverage")
OPEN = TASKS.index("coverage")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Attributes:
    size: cells along an edge of the rooms.
    horizon: steps of an episode.
    levels: of each task to train on; as many as a cell's ``levels`` are tested on.
    view: tiles along an edge of what is seen: a room whole, from everywhere.
    imitated: updates of imitation that make the checkpoint where orders start.
    budget: actions of a stage.
    trials: runs of a test level where coverage is measured.
    """

    size: int = 4
    horizon: int = 16
    levels: int = 256
    view: int = 7
    imitated: int = 60
    rate: float = 1e-3
    practised: int = 0
    budget: int = 200_000
    trials: int = 32
    stage: StageConfig = dataclasses.field(default_factory=StageConfig)


STARTS = {"imitated": Plan(), "practised": Plan(practised=200_000)}
"""Checkpoints that orders start from: one that was shown the closed tasks for a while, and one that
has then practised all tasks for as long as a stage."""


def ordered(
    config: SignalsConfig, start: str, seed: int, plan: Plan | None = None
) -> dict[str, Any]:
    """All orders of the tasks, trained stage after stage; all tasks at once for as many actions,
    and the mean of the weights of four that learned one task each.

    Orders share their beginnings, so 64 stages make all 24.

    Args:
        config: of it, how many levels are tested on, and whether it is the smallest preset.
        start: a checkpoint of ``STARTS``.
        seed: of levels, network and runs.
        plan: the numbers; by default those of ``start``.

    Returns:
        ``orders``: by the rank of their prediction, 1 is the best, the scores as measured and as
        predicted, and those of the rivals. ``views``: how well transfer foretells them, measured
        from the ``base``, from where j was just ``trained``, after all tasks together (``joint``)
        and from what was shown and no more (``imitated``). ``courses``: entropy in nats by the
        hundredth of a stage, of each task as the ``first`` stage and in ``any``.
        ``transfer``: b[i, j] from each checkpoint.
    """
    plan = plan or STARTS[start]
    if config.preset == "smoke":
        few = StageConfig(groups=4, runs=4)
        small = {"levels": 16, "budget": 2000, "practised": min(plan.practised, 2000), "trials": 4}
        plan = dataclasses.replace(plan, **small, stage=few)
    sizes = (plan.size, plan.horizon, plan.view)
    train, other, test = _tasks(sizes, plan.levels, config.levels, seed)
    key = jax.random.fold_in(new_key(seed), 12)
    blank = untrained(jax.random.fold_in(key, 0), plan.view, 4)
    groups = jnp.arange(plan.stage.groups)
    closed = jnp.asarray([i for i in range(len(TASKS)) if i != OPEN])
    shown = _imitate(
        train, blank, jax.random.fold_in(key, 1), closed[groups % len(closed)],
        jnp.int32(plan.imitated), plan.rate,
    )  # fmt: skip
    together = groups % len(TASKS)
    early = jax.random.fold_in(key, 4)
    base, _ = _stage(train, shown, early, together, jnp.int32(plan.practised), plan.stage)
    score_key = jax.random.fold_in(key, 2)

    def score(network: Perceptron, on: Tasks = test) -> np.ndarray:
        return np.asarray(_score(on, network, score_key, runs=plan.trials))

    def after(network: Perceptron, task: int, dice: int = 3) -> tuple[Perceptron, Course]:
        # A stage of a task meets the same levels and dice wherever in an order it stands.
        own, which = (
            jax.random.fold_in(jax.random.fold_in(key, dice), task),
            jnp.full_like(groups, task),
        )
        return _stage(train, network, own, which, jnp.int32(plan.budget), plan.stage)

    networks: dict[order.Order, Perceptron] = {(): base}
    scores: dict[order.Order, np.ndarray] = {(): score(base)}
    courses: dict[order.Order, Course] = {}
    for length in range(1, len(TASKS) + 1):
        for taken in itertools.permutations(range(len(TASKS)), length):
            networks[taken], courses[taken] = after(networks[taken[:-1]], taken[-1])
            scores[taken] = score(networks[taken])
    whole = jnp.int32(plan.budget * len(TASKS))
    joint, _ = _stage(train, base, jax.random.fold_in(key, 5), together, whole, plan.stage)
    singles = [networks[(i,)] for i in range(len(TASKS))]
    soup = merged(jax.tree.map(lambda *x: jnp.stack(x), *singles))
    # What foretells is measured apart: with other dice, in other levels than orders are scored in.
    moved = {}
    for name, network in (("base", base), ("joint", joint), ("imitated", shown)):
        found = np.stack([score(after(network, i, 13)[0], other) for i in range(len(TASKS))])
        moved[name] = order.transfer(score(network, other), found)
    moved["trained"] = np.zeros_like(moved["base"])
    for j in range(len(TASKS)):
        learned = after(base, j, 13)[0]
        before = score(learned, other)
        for i in range(len(TASKS)):
            if i != j:
                moved["trained"][i, j] = score(after(learned, i, 13)[0], other)[j] - before[j]
    rivals = {"joint": score(joint), "merged": score(soup), "start": scores[()]}
    return told(scores, moved, rivals) | {"courses": _courses(courses)}


def told(
    scores: dict[order.Order, np.ndarray],
    moved: dict[str, np.ndarray],
    rivals: dict[str, np.ndarray],
) -> dict[str, Any]:
    """What the scores float[K] after every beginning of an order, the transfer [K, K] from every
    checkpoint, and the scores of the rivals come to."""
    tasks, base = len(scores[()]), moved["base"]
    ranks = order.ranked(base)
    measured = [float(scores[taken].mean()) for taken in ranks]
    # What a task comes to by its own stage, and what those after it do to it: means over tasks.
    own = np.mean([scores[(i,)][i] for i in range(tasks)])
    between = ~np.eye(tasks, dtype=bool)
    views = {}
    for name, b in moved.items():
        guess = [order.predicted(b, taken) for taken in ranks]
        best = int(np.argmax(guess))
        views[name] = {
            "spearman": order.agreement(guess, measured),
            "standing": order.standing(measured, best),
            "best": measured[best],
            "alike": order.likeness(b, base),
            "shift": float(np.abs(b - base)[between].mean()),
            "mean": float(b[between].mean()),
        }
    every = {
        "additive": order.additive(ranks, measured),
        "lowest": min(measured),
        "highest": max(measured),
        "average": float(np.mean(measured)),
    }
    return {
        "orders": {
            str(rank): {
                "measured": {"reached": measured[rank - 1], "order": _words(taken)}
                | dict(zip(TASKS, scores[taken].tolist()))
                | (views["base"] | every if rank == 1 else {}),
                "predicted": {"reached": float(own) + order.predicted(base, taken) / tasks},
            }
            | {name: {"reached": float(x.mean())} for name, x in rivals.items()}
            for rank, taken in enumerate(ranks, 1)
        },
        "rivals": {name: dict(zip(TASKS, x.tolist())) for name, x in rivals.items()},
        "views": views,
        "transfer": {name: b.tolist() for name, b in moved.items()},
    }


def _courses(courses: dict[order.Order, Course]) -> dict[str, Any]:
    """Of every task, as the first stage and in all stages: entropy and earnings by part."""
    made: dict[str, Any] = {"first": {}, "any": {}}
    for i, task in enumerate(TASKS):
        own = [course for taken, course in courses.items() if taken[-1] == i]
        for name, some in (("first", [courses[(i,)]]), ("any", own)):
            entropy, earned = (
                np.mean([getattr(course, field) for course in some], 0)
                for field in ("entropy", "earned")
            )
            parts = len(entropy) - 1
            made[name][task] = {
                str(100 * part // parts): {
                    "nats": float(entropy[part]), "earned": float(earned[part])
                }
                for part in range(parts + 1)
            }  # fmt: skip
    return made


def _words(taken: order.Order) -> str:
    return ", ".join(TASKS[i] for i in taken)


_stage = jax.jit(stage)
_imitate = jax.jit(imitate)
_score = jax.jit(scored, static_argnames="runs")


@functools.lru_cache(maxsize=16)
def _tasks(
    sizes: tuple[int, int, int], count: int, tested: int, seed: int
) -> tuple[Tasks, Tasks, Tasks]:
    """The tasks of a seed, ``count`` levels each to train on, and twice ``tested``: to measure
    transfer in, and to test orders in; no level is in two of them. ``sizes``: of a plan, its size,
    horizon and view."""
    key = jax.random.fold_in(new_key(seed), 11)
    return (
        _tabulated(sizes, key, jnp.arange(count), "train"),
        _tabulated(sizes, key, jnp.arange(tested, 2 * tested), "test"),
        _tabulated(sizes, key, jnp.arange(tested), "test"),
    )


def _tabulated(
    sizes: tuple[int, int, int], key: jax.Array, which: jax.Array, split: Split
) -> Tasks:
    """Tasks in the levels of these numbers int32[n] of a split."""
    size, horizon, view = sizes
    room = {"size": size, "density": 0.2, "horizon": horizon}
    lock = envs.make("combination-lock", stages=8, shortest=4, dials=3, horizon=horizon)
    families = (
        envs.make("dark-room", **room),
        envs.make("key-door", size=size, density=0.1, horizon=horizon),
        pad(lock, lock.num_fields, lock.num_symbols + 1, 4),
        envs.make("dark-room", **room),
    )

    def drawn(number: int, env: Env) -> tuple[Env, Level]:
        pool = draw_levels(env, jax.random.fold_in(key, number), int(which[-1]) + 1, split=split)
        return (Open(**room) if number == OPEN else env), pool.levels(which)

    made = [drawn(number, env) for number, env in enumerate(families)]
    return tabulated(made, jax.random.fold_in(key, len(families)), view)
