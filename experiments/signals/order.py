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
from experiments.signals.config import SignalsConfig
from icl.signals import order
from icl.signals.coverage import Open
from icl.signals.stages import Course, StageConfig, imitate, stage
from icl.signals.tasks import Tasks, scored, tabulated

TASKS = ("dark-room", "key-door", "combination-lock", "coverage")
OPEN = TASKS.index("coverage")
STARTS = ("untrained", "base", "joint")
"""Checkpoints that transfer is measured from, beside those in which j was trained right before i
(``trained``)."""
TRAINED = "trained"


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

    size: int = 5
    horizon: int = 20
    levels: int = 256
    view: int = 9
    imitated: int = 150
    budget: int = 300_000
    trials: int = 32
    stage: StageConfig = StageConfig()


def ordered(config: SignalsConfig, method: str, seed: int, plan: Plan = Plan()) -> dict[str, Any]:
    """All orders of the tasks, trained stage after stage; all tasks at once for as many actions,
    and the mean of the weights of four that learned one task each.

    Orders share their beginnings, so 64 stages make all 24. ``method`` is not used.

    Returns:
        ``orders``: by the rank of its prediction, 1 is the best: the order in words, its measured
        and its predicted score, of all and of each task. ``told``: how well the prediction did.
        ``rivals``. ``courses``: of each task and tenth of its stage, the entropy, as the first
        stage and in all. ``transfer``: of each checkpoint, b of every pair.
    """
    if config.preset == "smoke":
        few = StageConfig(groups=4, runs=4)
        plan = dataclasses.replace(plan, levels=16, imitated=20, budget=2000, trials=4, stage=few)
    train, test = _tasks(plan, config.levels, seed)
    key = jax.random.fold_in(new_key(seed), 12)
    blank = untrained(jax.random.fold_in(key, 0), plan.view, 4)
    groups = jnp.arange(plan.stage.groups)
    closed = jnp.asarray([i for i in range(len(TASKS)) if i != OPEN])
    base = _imitate(
        train, blank, jax.random.fold_in(key, 1), closed[groups % len(closed)],
        jnp.int32(plan.imitated), 1e-3,
    )  # fmt: skip
    score_key = jax.random.fold_in(key, 2)
    count = iter(range(3, 2**20))

    def score(network: Perceptron) -> np.ndarray:
        return np.asarray(_score(test, network, score_key, runs=plan.trials))

    def learn(network: Perceptron, which: jax.Array, budget: int) -> tuple[Perceptron, Course]:
        own = jax.random.fold_in(key, next(count))
        return _stage(train, network, own, which, jnp.int32(budget), plan.stage)

    def after(network: Perceptron, task: int) -> tuple[Perceptron, Course]:
        return learn(network, jnp.full(groups.shape, task), plan.budget)

    networks: dict[order.Order, Perceptron] = {(): base}
    scores, courses = {(): score(base)}, {}
    for length in range(1, len(TASKS) + 1):
        for taken in itertools.permutations(range(len(TASKS)), length):
            networks[taken], courses[taken] = after(networks[taken[:-1]], taken[-1])
            scores[taken] = score(networks[taken])
    joint, _ = learn(base, groups % len(TASKS), plan.budget * len(TASKS))
    singles = [networks[(i,)] for i in range(len(TASKS))]
    soup = merged(jax.tree.map(lambda *x: jnp.stack(x), *singles))
    alone = np.stack([scores[(i,)] for i in range(len(TASKS))])
    moved = {"base": order.transfer(scores[()], alone)}
    for name, network in (("untrained", blank), ("joint", joint)):
        found = np.stack([score(after(network, i)[0]) for i in range(len(TASKS))])
        moved[name] = order.transfer(score(network), found)
    moved[TRAINED] = np.zeros_like(alone)
    for j, i in itertools.permutations(range(len(TASKS)), 2):
        moved[TRAINED][i, j] = scores[(j, i)][j] - scores[(j,)][j]
    rivals = {"joint": score(joint), "merged": score(soup), "start": scores[()]}
    return told(scores, moved, rivals) | {"courses": _courses(courses)}


def told(
    scores: dict[order.Order, np.ndarray],
    moved: dict[str, np.ndarray],
    rivals: dict[str, np.ndarray],
) -> dict[str, Any]:
    """What the scores float[K] after every beginning of an order, the transfer [K, K] from every
    checkpoint, and the scores of the rivals come to, in words and numbers."""
    tasks = len(scores[()])
    ranks = order.ranked(moved["base"])
    measured = [float(scores[taken].mean()) for taken in ranks]
    # What each task comes to alone, and what the others do to it: the mean over tasks, as measured.
    own = np.mean([scores[(i,)][i] for i in range(tasks)])
    guesses = {name: [order.predicted(b, x) / tasks for x in ranks] for name, b in moved.items()}
    found = {
        str(rank): {
            "measured": {"score": measured[rank - 1], "order": _words(taken)}
            | dict(zip(TASKS, scores[taken].tolist())),
            "predicted": {"score": float(own) + guesses["base"][rank - 1], "order": _words(taken)},
        }
        for rank, taken in enumerate(ranks, 1)
    }
    best = {name: int(np.argmax(guess)) for name, guess in guesses.items()}
    return {
        "orders": found,
        "told": {
            name: {
                "spearman": order.agreement(guess, measured),
                "standing": order.standing(measured, best[name]),
                "score": measured[best[name]],
                "additive": order.additive(ranks, measured),
                "spread": max(measured) - min(measured),
                "mean": float(np.mean(measured)),
            }
            for name, guess in guesses.items()
        },
        "rivals": {
            name: {"score": float(x.mean())} | dict(zip(TASKS, x.tolist()))
            for name, x in rivals.items()
        },
        "transfer": {
            name: {
                f"{TASKS[i]} → {TASKS[j]}": {"transfer": float(b[i, j])}
                for i, j in itertools.permutations(range(tasks), 2)
            }
            for name, b in moved.items()
        },
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
                str(100 * part // parts): {"entropy": float(entropy[part]),
                                           "earned": float(earned[part])}
                for part in range(parts + 1)
            }  # fmt: skip
    return made


def _words(taken: order.Order) -> str:
    return ", ".join(TASKS[i] for i in taken)


_stage = jax.jit(stage)
_imitate = jax.jit(imitate)
_score = jax.jit(scored, static_argnames="runs")


@functools.lru_cache(maxsize=2)
def _tasks(plan: Plan, tested: int, seed: int) -> tuple[Tasks, Tasks]:
    """The tasks of a seed, to train on and to test on; no level is in both."""
    key = jax.random.fold_in(new_key(seed), 11)
    return (
        _tabulated(plan, key, plan.levels, "train"),
        _tabulated(plan, key, tested, "test"),
    )


def _tabulated(plan: Plan, key: jax.Array, count: int, split: Split) -> Tasks:
    room = {"size": plan.size, "density": 0.2, "horizon": plan.horizon}
    families = (
        envs.make("dark-room", **room),
        envs.make("key-door", size=plan.size, horizon=plan.horizon),
        envs.make("combination-lock", stages=8, shortest=4, horizon=plan.horizon),
        envs.make("dark-room", **room),
    )

    def drawn(number: int, env: Env) -> tuple[Env, Level]:
        pool = draw_levels(env, jax.random.fold_in(key, number), count, split=split)
        return (Open(**room) if number == OPEN else env), pool.levels(jnp.arange(count))

    made = [drawn(number, env) for number, env in enumerate(families)]
    return tabulated(made, jax.random.fold_in(key, len(families)), plan.view)
