"""Cells of reward models: how they score steps, whom they select, and what learning makes of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import envs
from agents import transformer
from agents.grpo import GRPOConfig
from agents.transformer import Interface
from envs.core import Level
from envs.families.gauntlet import Gauntlet
from envs.keys import new_key
from envs.levels import draw_levels
from experiments.signals.config import SignalsConfig
from icl.signals import judge, lessons, selection
from icl.signals.answering import worth
from icl.signals.judge import Course, Lesson
from icl.signals.labels import Terms
from icl.signals.lanes import Table
from icl.signals.lessons import Clean, Explored, Setting
from icl.signals.rewarding import Rewarded
from icl.signals.student import clone, student
from icl.signals.thinking import Record, check, think
from icl.signals.training import Curve, learn
from icl.signals.world import World, world


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of everything that reward models are asked about."""

    moments: int = 8
    """Of a level."""
    dials: int = 4
    """Tokens, one of which is right at a decisive moment."""
    density: float = 0.5
    """Share of the moments that are decisive."""
    horizon: int = 12
    """Steps of an attempt, or an answer."""
    train_levels: int = 4
    """Levels that judges learn from, for each that they are tested on."""
    several: int = 8
    """Runs that the best is chosen of."""
    pool: int = 16
    """Runs of each training level that the best share is selected from."""
    share: float = 0.1
    """That share."""
    alphas: tuple[float, ...] = (0.1, 0.8, 1.0, 1.5)
    """α, as in the paper."""
    alpha: float = 1.0
    """That of the selection."""
    updates: int = 800
    """Of a judge."""
    lessons: int = 400
    """Updates of a student."""


@dataclasses.dataclass(frozen=True)
class Practice:
    """How a policy learns from a judge's word."""

    beta: float = 0.3
    """β of the reward."""
    skill: float = 0.0
    """Of the policy at the start, which plays at random."""
    runs: int = 8
    """Of a group."""
    actions: int = 6000
    """Of one level that it may generate."""
    learning_rate: float = 0.1
    """Of Adam, in logits."""
    epochs: int = 2
    """Passes over a group."""


PLAN = Plan()
SMALL = dataclasses.replace(PLAN, updates=4, lessons=4, several=4, pool=4)
PRACTICE = Practice()


def sizes(config: SignalsConfig) -> dict[str, Any]:
    """The settings that a cell of a reward model depends on."""
    plan = SMALL if config.preset == "smoke" else PLAN
    return {"levels": config.levels} | dataclasses.asdict(plan)


def practised(config: SignalsConfig) -> dict[str, Any]:
    """The settings that learning from a reward model depends on."""
    return sizes(config) | dataclasses.asdict(PRACTICE)


TERMS: Mapping[str, Terms] = {
    "trajectory-aware": Terms(),
    "no-alignment": Terms(alignment=False),
    "no-quality": Terms(quality=False),
    "no-coherence": Terms(coherence=False),
    "no-information": Terms(information=False),
    "realised": Terms(expected=False),
}
"""What the labels of steps are mixed from."""
FORKED = ("standard", "standard-explored")
"""Judges that learn the labels of forks: from clean runs, or from thinking and answers."""
JUDGES = (*TERMS, *FORKED)
SEVERAL = 8  # runs of a student in each level


def judge_steps(config: SignalsConfig, name: str, seed: int) -> dict[str, Any]:
    """Of a judge: the AUROC of its step scores on clean and on exploring runs, of useful detours
    against what taught nothing, and the worth of the run that it chooses of eight, in every way."""
    at = _At(config.levels, seed, config.preset == "smoke")
    seen = _seen(name, at.tested.record)
    found = _grade(at.graph, _judge(at, name), seen, at.tested, at.clean_tested, at.plan.alphas)
    return jax.tree.map(float, jax.device_get(found))


def select(config: SignalsConfig, way: str, seed: int) -> dict[str, Any]:
    """Of the best tenth of many runs, ``JUDGE/SCORE``, ``anyone`` or ``ideal``: what their answers
    are worth, the share of their steps that are good, and how far a student comes that imitates
    their thinking, on levels that are new to it."""
    at = _At(config.levels, seed, config.preset == "smoke")
    plan, pool = at.plan, at.pool
    if way == "anyone":
        scores = jax.random.uniform(at.key(20), pool.worth.shape)
    elif way == "ideal":
        scores = pool.worth
    else:
        name, _, score = way.partition("/")
        steps, runs = _read(at.graph, _judge(at, name), _seen(name, pool.record))
        scores = selection.run_scores(steps, runs, pool.record, plan.alpha)[score]
    chosen = selection.top(scores.reshape(-1), plan.share)
    record = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[chosen], pool.record)
    graph, parameters = transformer.define(judge.SIZES, at.interface, at.key(21))
    course = Course(updates=plan.lessons)
    thinking = jax.tree.map(lambda x: x[:, : at.setting.steps], record)
    solves = _imitate(graph, parameters, at.key(22), thinking, course, at.env, at.levels[1],
                      at.setting)  # fmt: skip
    good = jnp.where(selection.thought(record), record.good, False).sum()
    return {
        "solves": float(pool.worth.reshape(-1)[chosen].mean()),
        "good": float(good / selection.thought(record).sum()),
        "imitated": float(solves),
    }


def reinforce(config: SignalsConfig, reward: str, seed: int) -> dict[str, Any]:
    """Success, and the share of idle steps, of a policy that learns from (1 - β) r_out + β r̂, r̂
    by a judge, or from ``outcome`` alone, after each tenth of its actions; means of levels."""
    at = _At(config.levels, seed, config.preset == "smoke")
    plan = PRACTICE
    alone = reward == "outcome"
    parameters = _judge(at, "standard" if alone else reward)
    beta = jnp.float32(0.0 if alone else plan.beta)
    place = world(at.env, at.levels[1])
    learner = GRPOConfig(plan.epochs, plan.learning_rate)
    curve = _learn(at.graph, parameters, beta, place, place.leaning(plan.skill), at.key(30),
                   learner, jnp.int32(plan.actions), plan.runs)  # fmt: skip
    told = jax.device_get(curve)
    return {name: getattr(told, name).mean(0).tolist() for name in ("success", "entropy", "idle")}


@dataclasses.dataclass(frozen=True)
class _At:
    """One seed's levels, runs and judges, made once: a question asks judge by judge, and each of
    every seed, so those of all seeds are remembered.

    Attributes:
        count: levels that judges are tested on.
        seed: of everything.
        small: for a smoke test.
    """

    count: int
    seed: int
    small: bool

    @property
    def plan(self) -> Plan:
        return SMALL if self.small else PLAN

    @property
    def env(self) -> Gauntlet:
        plan = self.plan
        env = envs.make(
            "gauntlet", moments=plan.moments, dials=plan.dials, density=plan.density,
            regularity=0.0, horizon=plan.horizon,
        )  # fmt: skip
        return check(env)

    @property
    def setting(self) -> Setting:
        return Setting(runs=self.plan.pool)

    @property
    def interface(self) -> Interface:
        return Interface(self.env.num_fields, self.env.num_symbols, self.env.num_actions)

    def key(self, number: int) -> jax.Array:
        return jax.random.fold_in(new_key(self.seed), 100 + number)

    @property
    def graph(self) -> Any:
        return _untaught(self)[0]

    @property
    def levels(self) -> tuple[Level, Level]:
        return _levels(self)

    @property
    def tested(self) -> Explored:
        return _runs(self)[1]

    @property
    def clean_tested(self) -> Clean:
        return _runs(self)[3]

    @property
    def pool(self) -> Explored:
        return _runs(self)[2]


@functools.lru_cache(maxsize=16)
def _levels(at: _At) -> tuple[Level, Level]:
    """Those that judges learn from, and those that they are tested on: different ones."""
    counts = (at.plan.train_levels * at.count, at.count)
    return tuple(
        draw_levels(at.env, at.key(i), count, split=split).levels(jnp.arange(count))
        for i, (count, split) in enumerate(zip(counts, ("train", "test"), strict=True))
    )  # type: ignore[return-value]


@functools.lru_cache(maxsize=16)
def _untaught(at: _At) -> tuple[Any, Any]:
    return judge.define(at.interface, at.key(2))


@functools.lru_cache(maxsize=16)
def _runs(at: _At) -> tuple[Explored, Explored, Explored, Clean, Clean]:
    """Runs to learn from, to choose the best of, and to select a share of; clean runs to be tested
    on and to learn from. Judges have seen the levels of what is selected, not the runs."""
    learned, tested = at.levels
    several = at.setting.replace(runs=at.plan.several)
    return (
        _explored(at.env, at.key(3), learned, at.setting, whole=False),
        _without_forks(at.env, at.key(4), tested, several),
        _without_forks(at.env, at.key(5), learned, at.setting),
        _clean(at.env, at.key(6), tested, several),
        _clean(at.env, at.key(7), learned, at.setting),
    )


_explored = jax.jit(lessons.explored, static_argnames="whole")
_clean = jax.jit(lessons.clean)
_labels = jax.jit(lessons.labels)


@jax.jit
def _without_forks(env: Gauntlet, key: jax.Array, levels: Level, setting: Setting) -> Explored:
    """Whole runs; their steps' forks, which nobody asks for, are not computed."""
    found = lessons.explored(env, key, levels, setting, whole=True)
    return found.replace(forked=jnp.zeros(()))


@functools.lru_cache(maxsize=128)
def _judge(at: _At, name: str) -> Any:
    """The parameters of a judge after its course."""
    graph, parameters = _untaught(at)
    found, _, _, _, clean = _runs(at)
    if name == "standard":
        none = jnp.zeros(clean.record.live.shape[:2])
        lesson = Lesson(clean.record, clean.forked, none, none.astype(bool))
    else:
        step = found.forked if name in FORKED else _labels(
            at.env, at.key(8), found, jax.tree.map(jnp.asarray, TERMS[name])
        )  # fmt: skip
        lesson = Lesson(found.record, step, found.won, found.thinks)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lesson)
    taught, _ = _teach(graph, parameters, at.key(9), flat, Course(updates=at.plan.updates))
    return taught


def _seen(name: str, record: Record) -> Record:
    """What a judge reads of it. The standard one never heard of thinking: every step bears the mark
    of an answer, as all did that it learned from, so that nothing but the run itself is new."""
    return record.replace(answer=jnp.ones_like(record.answer)) if name == "standard" else record


_teach = jax.jit(judge.teach, static_argnames="graph")


@functools.partial(jax.jit, static_argnames="graph")
def _read(graph: Any, parameters: Any, record: Any) -> tuple[jax.Array, jax.Array]:
    """float32[L, N, S], float32[L, N] of Record[L, N, S]; a level at a time."""
    return jax.lax.map(lambda one: judge.read(graph, parameters, one), record)


@functools.partial(jax.jit, static_argnames="graph")
def _imitate(
    graph: Any, parameters: Any, key: jax.Array, record: Any, course: Course, env: Gauntlet,
    levels: Level, setting: Setting,
) -> jax.Array:  # fmt: skip
    """float32[]: the worth of what a student finds out that learned from Record[B, S]."""
    learn_key, think_key = jax.random.split(key)
    taught, _ = clone(graph, parameters, learn_key, record, course)
    mind = student(graph, taught, env.num_fields, setting.steps)
    count = jax.tree.leaves(levels)[0].shape[0]
    budgets = jnp.full((count, SEVERAL), setting.steps)
    thoughts = think(env, think_key, levels, mind, budgets, setting.steps)
    return worth(env, levels, thoughts.template, jnp.float32(setting.skill)).mean()


@functools.partial(jax.jit, static_argnames=("graph", "runs"))
def _learn(
    graph: Any, parameters: Any, beta: jax.Array, place: World, policy: Table, key: jax.Array,
    config: GRPOConfig, budget: jax.Array, runs: int,
) -> Curve:  # fmt: skip
    method = Rewarded(parameters, beta, graph, runs)
    return learn(place, method, key, policy, config, budget)[1]


@functools.partial(jax.jit, static_argnames=("graph", "alphas"))
def _grade(
    graph: Any, parameters: Any, seen: Record, tested: Explored, clean: Clean,
    alphas: tuple[float, ...],
) -> dict[str, Any]:  # fmt: skip
    record = tested.record
    steps, runs = _read(graph, parameters, seen)
    on_clean, _ = _read(graph, parameters, clean.record)
    among = selection.thought(record)
    lesser = among & ~record.optimal
    waits = record.action == record.action.max()
    told = {
        "clean": selection.area(on_clean, clean.record.good, clean.record.open),
        "exploration": selection.area(steps, record.good, among),
        "detours": selection.area(steps, record.detour, lesser),
        "waits": selection.area(steps, record.detour, lesser & (record.detour | waits)),
        "repeats": selection.area(steps, record.detour, lesser & (record.detour | ~waits)),
    }
    scores = selection.run_scores(steps, runs, record, 1.0)
    scores |= {f"alpha {a:g}": scores["mean"] + a * scores["run"] for a in alphas}
    scores.pop("joint")
    chosen = {way: selection.best(x, tested.worth).mean() for way, x in scores.items()}
    chosen["anyone"] = tested.worth.mean()
    chosen["ideal"] = tested.worth.max(-1).mean()
    return {
        "steps": {where: {"tells": area} for where, area in told.items()},
        "best": {way: {"solves": x} for way, x in chosen.items()},
    }
