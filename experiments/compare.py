"""The main job: train every arm on the same transitions, test it k-shot, and say what holds."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from agents import sharding
from agents.transformer import ModelConfig
from envs.keys import new_key
from envs.levels import LevelSet
from experiments import processes, replays
from experiments import results as results_lib
from experiments import suite as suite_lib
from experiments.again import read, restored
from experiments.config import CompareConfig
from experiments.experts import equip
from experiments.feed import Feed
from experiments.folder import RunFolder, environment
from experiments.gather import gather
from experiments.log import Log
from experiments.progress import Progress
from experiments.saves import NEWEST, Saves, arrays
from experiments.training import Wave
from experiments.wave import wave_of
from icl import arms as arms_lib
from icl import parallel
from icl.actor import Actor, ModelActor
from icl.arms import Arm
from icl.attempts import attempts
from icl.conditions import OWN
from icl.demonstrations import show
from icl.evaluate import EvaluateConfig, evaluate
from icl.parallel import Layout
from icl.regent import RegentActor
from icl.rivals import PROGRAMS
from icl.train import Numbers, Program, Run, TrainConfig, TrainState
from icl.train import initial as start

Cell = tuple[str, int]  # an arm's name and a seed
Listener = Callable[[list[dict[str, Any]]], None]
"""Hears of each test on the way: lines of kind ``evaluation``, as in metrics.jsonl, of a wave."""
EXPERTS = "experts"  # their place in a run's folder


@dataclasses.dataclass
class Comparison:
    """A config made ready to run: environments, programs, and the level sets of each seed."""

    config: CompareConfig
    folder: RunFolder
    progress: Progress = dataclasses.field(default_factory=Progress)
    made: dataclasses.InitVar[suite_lib.Suite | None] = None  # with its experts, if it is there

    def __post_init__(self, made: suite_lib.Suite | None):
        self._sets: dict[int, suite_lib.Sets] = {}
        kept = self.folder.path / EXPERTS
        self.suite = made or equip(self.config, suite_lib.build(self.config), kept, self.progress)
        self.program, _ = self.initial(0)
        c = self.config
        self.layout = Layout(c.data, c.model, c.fsdp, c.devices)
        # One size in all processes, whatever memory each has.
        self.wave = processes.agree(wave_of(c, self.suite.interface, self.layout))
        self._ahead: Thread | None = None

    # What is trained, and with what. ------------------------------------------------------
    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return list(range(self.config.seed, self.config.seed + self.config.seeds))

    @property
    def cells(self) -> list[Cell]:
        """Every arm and seed; arms of a seed stand together, so what is cut short stays paired."""
        return [(arm, seed) for seed in self.seeds for arm in self.config.arms]

    def arm(self, name: str) -> Arm:
        """The rule of an arm's name."""
        return arms_lib.named(name, self.config.chunk)

    def levels(self, seed: int) -> suite_lib.Sets:
        """The level sets of a seed, drawn once."""
        if seed not in self._sets:
            self._sets[seed] = suite_lib.draw(self.config, self.suite, seed)
        return self._sets[seed]

    def initial(self, seed: int) -> tuple[Program, TrainState]:
        """The program, and the state that a seed's training starts from."""
        c = self.config
        model = ModelConfig(
            c.width, c.layers, c.heads, c.dtype, c.remat, c.tokens, c.rewards, c.kind
        )
        shapes = TrainConfig(
            slots=c.slots,
            levels=c.contexts // len(c.families),
            pool=c.pool,
            query_loss=c.query_loss,
            accumulate=c.accumulate,
            history=c.history,
            fsdp=c.fsdp,
            fresh=c.fresh,
        )
        return start(model, self.suite.interface, new_key(seed), shapes, PROGRAMS[c.method])

    def run(self, cell: Cell, levels: tuple[LevelSet, ...] | None = None) -> Run:
        """What a cell trains on."""
        c = self.config
        numbers = Numbers(
            c.learning_rate, float(c.warmup), float(c.updates), c.weight_decay, c.head_start
        )
        return Run(self.arm(cell[0]), numbers, levels or self.levels(cell[1]).train)

    # Compiled programs, one for all arms of a form. ----------------------------------------
    def side_by_side(self, function: Callable[..., Any], donate: int | None = None) -> Any:
        """A function of one run's trees, compiled for a wave of stacked runs."""
        return parallel.side_by_side(function, self.wave, donate, self.layout)

    def stack(self, trees: list[Any]) -> Any:
        """The trees of a wave, stacked over the devices."""
        return parallel.stack(trees, self.layout)

    @property
    def everywhere(self) -> Any:
        """The place of arrays that are whole on every device of a wave."""
        return NamedSharding(self.layout.mesh(self.wave), PartitionSpec())

    def model(self, parameters: Any) -> Actor:
        """A trained model as an actor, with retrieval around it where asked."""
        actor = self.program.actor(parameters)
        if not self.config.regent:
            return actor
        assert isinstance(actor, ModelActor)  # other methods are refused with it
        return RegentActor(actor, self.config.regent, self.suite.interface.actions)

    @functools.cached_property
    def _trainer(self) -> Any:
        pools = self.config.report_every // self.config.pool
        return self.side_by_side(
            lambda state, run, *stored: self.program.chunk(state, run, pools, *stored), donate=0
        )

    @functools.cached_property
    def snapshot(self) -> Callable[[Any], Any]:
        """A compiled copy of a wave's states, as arrays of numbers: the trainer takes theirs."""
        return jax.jit(arrays)

    @functools.cached_property
    def batches(self) -> Callable[..., Any]:
        """The compiled contexts of a pool, of one run: what a batch that went wrong is made by."""
        return jax.jit(self.program.contexts)

    def trainer(self, cells: list[Cell], start: int = 0) -> Callable[..., Any]:
        """The compiled training of a wave, filled up, for one chunk from update ``start`` on:
        (states, runs) -> (states, metrics). One that reads a store serves no other wave."""
        if self._ahead:
            self._ahead.join()
        return Feed(self, self._trainer, cells, start) if self.config.store else self._trainer

    def compile_ahead(self, cells: list[Cell]) -> None:
        """Begins to compile the training of the cells' first wave beside what is done next, once:
        levels are drawn on other cores, and JAX takes what it finds compiled."""
        wave = next(self.waves(cells), None)
        if self._ahead or not wave or self.config.store:  # stored groups: one more argument
            return
        blank = suite_lib.blank(self.config, self.suite)
        states, runs = (
            self.stack([make(cell) for cell in self.padded(wave)])
            for make in (lambda cell: self.initial(cell[1])[1], lambda c: self.run(c, blank))
        )
        lowered = self._trainer.lower(states, runs)  # in Python, which has one thread at a time

        def compile_() -> None:
            with contextlib.suppress(Exception):  # the call compiles again, and says it
                lowered.compile()

        self._ahead = Thread(target=compile_, name=processes.AHEAD)
        self._ahead.start()

    @functools.cached_property
    def _shower(self) -> Callable[..., Any]:
        c = self.config
        sizes = {"count": c.levels, "demos": c.demos, "kinds": c.demonstrations}
        return self.side_by_side(
            sharding.by_hand(lambda key, arm, families: show(key, arm, families, **sizes))
        )

    def tester(self, act: Callable[[Any], Actor], attempted: int = 0) -> Callable[..., Any]:
        """A compiled test of the actor that ``act`` makes of what is stacked for each run: the
        Results of k-shot episodes, and of so many attempts of its own, none for 0."""
        c = self.config
        shapes = EvaluateConfig(levels=c.levels, episodes=c.episodes, demos=c.demos)

        def test(mind: Any, key: jax.Array, families: Any, shown: Any) -> tuple[Any, Any]:
            actor = act(sharding.in_use(mind))
            shot = evaluate(actor, shapes, key, families, shown)
            if not attempted:
                return shot, ()
            own = jax.random.fold_in(key, 2**28)
            return shot, attempts(actor, shapes, own, families, attempted)

        return self.side_by_side(test)

    def test_keys(self, seed: int) -> tuple[jax.Array, jax.Array]:
        """What the tests of a seed show and play with."""
        base = jax.random.fold_in(new_key(seed), 2**29)
        return jax.random.fold_in(base, 0), jax.random.fold_in(base, 1)

    def test(self, tester: Callable[..., Any], cells: list[Cell], minds: Any) -> list[Any]:
        """What the tester returns (NumPy), a cell. The key is the seed's: all arms of a
        seed meet the same levels, demonstrations and dice."""
        keys = zip(*(self.test_keys(seed) for _, seed in cells))
        show_keys, play_keys = (self.stack([*own]) for own in keys)
        rules = [dataclasses.replace(self.arm(arm), alone=False) for arm, _ in cells]
        families = self.stack([self.levels(seed).test for _, seed in cells])
        shown = self._shower(show_keys, self.stack(rules), families)
        return parallel.unstack(parallel.fetch(tester(minds, play_keys, families, shown)))

    def rows(self, cell: Cell, results: tuple[Any, Any]) -> list[results_lib.Row]:
        """The rows of one cell; an arm whose contexts have no slots is shown whole ones only."""
        arm = self.arm(cell[0])
        unfit = ("as-trained",) if arm.alone else ()
        head = {
            "arm": cell[0],
            "chunk": int(arm.chunk) or self.config.horizon,
            "p_b": None if arm.alone else float(arm.burstiness),
            "seed": cell[1],
        }
        names, (shot, own) = self.levels(cell[1]).names, results
        rows = results_lib.rows_of(head, names, shot, self.config.demonstrations, leave_out=unfit)
        return rows + (results_lib.rows_of(head, names, own, (OWN,)) if own else [])

    def unfinished(self, cells: list[Cell]) -> list[Cell]:
        """Those of the cells that process 0 has no rows of yet."""
        left = [cell for cell in cells if not self.folder.finished(*cell)]
        return [(arm, seed) for arm, seed in processes.agree(left)]

    def waves(self, cells: list[Cell]) -> Iterator[list[Cell]]:
        """Cells that run side by side: all of one form, so that one program serves them."""
        for alone in (False, True):
            alike = [cell for cell in cells if self.arm(cell[0]).alone == alone]
            for first in range(0, len(alike), self.wave):
                yield alike[first : first + self.wave]

    def padded(self, wave: list[Cell]) -> list[Cell]:
        """A wave, a short one filled up with its last cell: programs are of one size."""
        return wave + [wave[-1]] * (self.wave - len(wave))


def run(
    job: Comparison, listen: Listener | None = None, checkpoint: int = NEWEST
) -> dict[str, Any]:
    """Runs what is not finished yet, and writes ``results.json``; returns what it holds. Of
    several processes, all train and the first one writes; the others return nothing. ``checkpoint``
    is the update that trainings which were cut short go on from, by default the newest."""
    progress = job.progress
    fresh = not (job.folder.path / "training").exists()
    with Log(job.config, job.folder, progress.say, leads=processes.leader()) as log:
        machine, todo = environment(jax.devices()), fill(job, listen, log, checkpoint)
        seconds = None  # unknown if resumed
        if fresh and len(todo) == len(job.cells):
            seconds = round(time.time() - progress.phases.began, 1)
        if not processes.leader():
            return {}
        machine |= {"seconds": seconds, "phases": progress.phases.report()}
        found = log.conclude(gather(job, machine))
        if not listen:  # nobody watches the trials of a sweep
            replays.write(job)  # at last: no picture may cost a run its results
        return found


def fill(
    job: Comparison,
    listen: Listener | None = None,
    log: Log | None = None,
    checkpoint: int = NEWEST,
) -> list[Cell]:
    """Trains and tests the cells that are not finished yet, and the readers; returns those cells.
    What was trained and not tested (as asked for now) is tested only; a training that was cut short
    goes on."""
    progress, todo = job.progress, job.unfinished(job.cells)
    log = log or Log(job.config, job.folder, progress.say, leads=processes.leader())
    kept = [cell for cell in todo if job.folder.checkpoint(*cell).is_dir()]
    kept = [(arm, seed) for arm, seed in processes.agree(kept)]
    fresh = [cell for cell in todo if cell not in kept]
    with Saves(job, checkpoint) as saves:
        begun = saves.begun(fresh)
        fresh = [cell for cell in fresh if cell not in begun]
        job.compile_ahead(begun + fresh)
        _train(job, begun, fresh, saves, log, listen or (lambda lines: None))
    if kept:
        progress.phases.enter("evaluate")
        for cell, rows in restored(job, kept):
            if processes.leader():
                job.folder.keep(*cell, rows)
    read(job)
    return todo


def _train(
    job: Comparison,
    begun: list[Cell],
    fresh: list[Cell],
    saves: Saves,
    log: Log,
    listen: Listener,
) -> None:
    """Trains and tests cells, wave by wave: first those that were begun."""
    count = len(begun) + len(fresh)
    if not count:
        return
    with job.progress.task("training", count * job.config.updates, "updates") as bar:
        tester = job.tester(job.model, job.config.attempts)
        on_the_way = job.tester(job.model) if job.config.attempts else tester
        for cells, start in ((begun, saves.start), (fresh, lambda wave: 0)):
            for wave in job.waves(cells):
                bar.say(", ".join(f"{arm} seed {seed}" for arm, seed in wave))
                testers = (on_the_way, tester)
                Wave(job, wave, testers, bar, log, listen, saves).complete(start(wave))
