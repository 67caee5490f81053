"""Part ``disk``: training that reads its groups from a store, and what a checkpoint of it costs."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from experiments.bench.clock import OURS, Race, Side, timed
from experiments.bench.peer import Peers
from experiments.bench.sizes import Sizes
from experiments.cli_collect import CollectConfig, checked
from experiments.collect import collect
from experiments.compare import Comparison
from experiments.config import CompareConfig
from experiments.creation import stored
from experiments.feed import Feed
from experiments.folder import RunFolder
from experiments.presets import preset
from experiments.progress import Progress
from experiments.saves import Saves
from icl import parallel

CHUNK = "a chunk of training"
STORE, READING, CHECKPOINT = "from a store", "reading alone", "a checkpoint"
UPDATES = 10  # of a chunk: few, so that many goes fit
EVER = 10**6  # chunks, so that a feed never comes to the last


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """One race: a chunk whose groups are generated, one that reads them, the reading, a save."""
    with tempfile.TemporaryDirectory(prefix="levelburst-bench-") as spare:
        yield _race(sizes, Path(spare))


def _race(sizes: Sizes, spare: Path) -> Race:
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
    )
    made = _job(config, spare / "generated")
    cells, rows = made.cells, UPDATES * config.contexts
    runs = made.stack([made.run(cell) for cell in cells])
    store = _collected(config, spare / "store")
    read = _job(dataclasses.replace(config, store=store), spare / "read")
    generating, feed = made.trainer(cells), read.trainer(cells)
    assert isinstance(feed, Feed)
    size = sum(file.stat().st_size for file in Path(store).rglob("*") if file.is_file())
    what = f"{UPDATES} updates in one program, one device; groups "
    setting = f"preset {config.preset}, {UPDATES} updates, {sizes.admitted:,} levels a family"
    return Race(
        CHUNK,
        setting,
        UPDATES,
        "contexts",
        (
            Side(OURS, f"{what}generated in it", rows, _trained(made, generating, runs)),
            Side(f"{OURS}, {STORE}", f"{what}read from a store of {size / 2**20:,.0f} MiB, a chunk "
                 "ahead", rows, _trained(read, feed, runs)),
            Side(f"{OURS}, {READING}", "what such a chunk reads, put on the device; nobody trains",
                 rows, timed(lambda: feed.fetch(runs).result())),
            Side(f"{OURS}, {CHECKPOINT}", "the state copied, fetched, written, forced to the disk "
                 "and the one before removed; nobody trains", 0, _saved(made)),
        ),
        alike=False,
    )  # fmt: skip


def _job(config: CompareConfig, path: Path) -> Comparison:
    """A comparison in a folder of its own."""
    folder = RunFolder.create(path, overwrite=False)
    folder.write("config.json", {"command": "compare"} | stored(config))
    return Comparison(config, folder, Progress(silent=True))


def _collected(config: CompareConfig, path: Path) -> str:
    """A store of what a comparison trains on."""
    own = {field.name for field in dataclasses.fields(CollectConfig)}
    shared = {name: x for name, x in vars(config).items() if name in own}
    shared |= {"levels": config.train_levels, "rollouts": config.slots, "out": str(path)}
    collect(checked(CollectConfig(**shared)), Progress(silent=True))
    return str(path)


def _trained(job: Comparison, trainer: Callable[..., Any], runs: Any) -> Callable[[], float]:
    """A chunk more of training, every time."""
    states = [job.stack([job.initial(seed)[1] for _, seed in job.cells])]

    def train() -> Any:
        states[0], metrics = trainer(states[0], runs)
        return states[0], metrics

    return timed(train)


def _saved(job: Comparison) -> Callable[[], float]:
    """A checkpoint of the fresh state, every time of a later update."""
    state = job.stack([job.initial(seed)[1] for _, seed in job.cells])
    saves, update = Saves(job), [0]

    def save() -> None:
        update[0] += UPDATES
        line = {"kind": "train", "update": update[0], "loss": 1.0}
        arrays = parallel.unstack(parallel.fetch(job.snapshot(state)))
        saves.write(job.cells, update[0], arrays, {cell: [line] for cell in job.cells})
        saves.wait()

    return timed(save)
