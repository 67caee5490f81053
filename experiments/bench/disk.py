"""Part ``disk``: training that reads its groups from a store, and what a checkpoint of it costs.

The store was just written, so it is read from the system's cache, and its files are hashed in the
warm-up; both lie in the folder for temporary files (``TMPDIR``).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from experiments.bench.clock import OURS, Race, Side, timed
from experiments.bench.peer import Peers
from experiments.bench.sizes import Sizes
from experiments.cli_collect import CollectConfig, checked
from experiments.collect import collect
from experiments.compare import Comparison
from experiments.config import CompareConfig
from experiments.feed import Feed
from experiments.folder import RunFolder
from experiments.presets import preset
from experiments.progress import Progress
from experiments.saves import Saves
from icl import parallel

TRAINING = "training"
STORE, READING, CHECKPOINT = "from a store", "reading alone", "a checkpoint"
UPDATES = 10  # of a go: few, so that there are many
EVER = 10**6  # goes, so that a feed never comes to the last


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """One race: groups that are generated, or read; the reading; a save."""
    usual = preset(sizes.preset)
    config = dataclasses.replace(
        usual,
        arms=usual.arms[:1],
        seeds=1,
        devices=1,
        test_families=(),
        train_levels=sizes.admitted,
        updates=EVER * UPDATES,
        report_every=UPDATES,
        pool=1,
        keep=1,
    )
    with tempfile.TemporaryDirectory(prefix="levelburst-bench-") as spare:
        path = Path(spare)
        store = _collected(config, path / "store")
        made = _job(config, path / "generated")
        read = _job(dataclasses.replace(config, store=store), path / "read")
        with Saves(made) as saves:
            yield _race(sizes, made, read, saves)


def _race(sizes: Sizes, made: Comparison, read: Comparison, saves: Saves) -> Race:
    config = made.config
    rows = UPDATES * config.contexts
    runs = made.stack([made.run(cell) for cell in made.cells])
    feed = read.trainer(read.cells)
    assert isinstance(feed, Feed)
    files = [file for file in Path(read.config.store).rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    what = f"{UPDATES} updates in one program, one device; groups "
    sides = (
        (OURS, f"{what}generated in it", _trained(made, made.trainer(made.cells), runs)),
        (f"{OURS}, {STORE}", f"{what}read from a store of {size:,.0f} MiB while those before "
         "train; a go ends when the next ones are there", _trained(read, feed, runs, feed.wait)),
        (f"{OURS}, {READING}", "what such a go reads, from the system's cache, put on the device; "
         "nobody trains", timed(lambda: feed.fetch(runs).result())),
        (f"{OURS}, {CHECKPOINT}", "the state copied, fetched, written, forced to the disk, and "
         "the one before removed; nobody trains", _saved(made, saves)),
    )  # fmt: skip
    return Race(
        TRAINING,
        f"preset {config.preset}, {UPDATES} updates, {sizes.admitted:,} levels a family",
        UPDATES,
        "contexts",
        tuple(Side(who, what, 0 if CHECKPOINT in who else rows, go) for who, what, go in sides),
        alike=False,
    )


def _job(config: CompareConfig, path: Path) -> Comparison:
    """A comparison in a folder of its own."""
    return Comparison(config, RunFolder.create(path, overwrite=False), Progress(silent=True))


def _collected(config: CompareConfig, path: Path) -> str:
    """A store of what a comparison trains on."""
    own = {field.name for field in dataclasses.fields(CollectConfig)}
    shared = {name: x for name, x in vars(config).items() if name in own}
    shared |= {"levels": config.train_levels, "rollouts": config.slots, "out": str(path)}
    collect(checked(CollectConfig(**shared)), Progress(silent=True))
    return str(path)


def _trained(
    job: Comparison, trainer: Callable[..., Any], runs: Any, ready: Callable[[], None] | None = None
) -> Callable[[], float]:
    """Goes on training, every time, and waits until the next go is ``ready`` to begin."""
    states = [job.stack([job.initial(seed)[1] for _, seed in job.cells])]

    def train() -> Any:
        states[0], metrics = trainer(states[0], runs)
        if ready:
            ready()
        return states[0], metrics

    jax.block_until_ready(train())  # compiled here: a race has so much time, and no more
    return timed(train)


def _saved(job: Comparison, saves: Saves) -> Callable[[], float]:
    """A checkpoint of the fresh state, every time of a later update and a smaller loss."""
    state = job.stack([job.initial(seed)[1] for _, seed in job.cells])
    update = [0]

    def save() -> None:
        update[0] += UPDATES
        line = {"kind": "train", "update": update[0], "loss": 1 / update[0]}
        arrays = parallel.unstack(parallel.fetch(job.snapshot(state)))
        saves.write(job.cells, update[0], arrays, {cell: [line] for cell in job.cells})
        saves.wait()

    return timed(save)
