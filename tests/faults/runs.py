"""The smallest runs that train for real: one family, one arm, a model of a few thousand numbers."""

import copy
import dataclasses
import json
import threading
from pathlib import Path

from experiments.compare import Comparison
from experiments.config import CompareConfig
from experiments.creation import stored
from experiments.folder import RunFolder
from experiments.presets import PRESETS
from experiments.progress import Progress

TINY = dataclasses.replace(
    PRESETS["smoke"],
    arms=("bursty",),
    readers=(),
    test_families=(),
    updates=20,
    report_every=4,
    slots=2,
    demos=1,
    demonstrations=("whole",),
    horizon=8,
    contexts=4,
    train_levels=32,
    width=8,
    heads=2,
    devices=1,
    save_every=0.0,
)
# In place of what draws replays, which takes a fifth of a run that is this small.
NO_REPLAYS = """
import sys, types
sys.modules["experiments.replays"] = types.SimpleNamespace(write=lambda job: None)
"""
# Takes the moments from the start, as a checkpoint of parameters alone would.
FORGETS = """
from experiments.saves import Saves
whole = Saves.restore
def forgetful(self, cell, update):
    state, lines = whole(self, cell, update)
    return state.replace(moments=self.job.initial(cell[1])[1].moments), lines
Saves.restore = forgetful
"""


def flags(config: CompareConfig) -> list[str]:
    """The command line of a config, but for its folder."""
    usual, words = dataclasses.asdict(PRESETS["smoke"]), ["compare", "--preset", "smoke"]
    for name, value in dataclasses.asdict(config).items():
        if value != usual[name]:
            own = value if isinstance(value, tuple | list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, own)]
    return words


def job(path: Path, config: CompareConfig = TINY) -> Comparison:
    """A run in a folder, begun or gone on with."""
    if not (path / "config.json").exists():
        folder = RunFolder.create(path, overwrite=False)
        folder.write("config.json", {"command": "compare"} | stored(config))
        folder.log([])
    return Comparison(config, RunFolder.open(path), Progress(silent=True))


def again(base: Comparison, path: Path) -> Comparison:
    """The same run in another folder, begun there or gone on with; nothing is compiled anew."""
    made = copy.copy(base)
    made.folder = RunFolder(path)
    if not path.exists():
        made.folder.write("config.json", base.folder.read("config.json"))
        made.folder.log([])
    assert base.trainer(base.cells) and base.snapshot and base.batches
    made.__dict__.update(
        {name: base.__dict__[name] for name in ("_trainer", "snapshot", "batches")}
    )
    made._ahead = threading.Thread()  # what it would compile ahead is there
    made._ahead.start()
    return made


def updates(path: Path) -> list[int]:
    """The updates of the lines of training, in the order of the file."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line["update"] for line in lines if line["kind"] == "train"]


def digests(path: Path, cell: str = "bursty-seed0", update: int = TINY.updates) -> dict[str, str]:
    """The SHA-256 of what a training came to."""
    notes = json.loads((path / "training" / cell / str(update) / "notes.json").read_text())["notes"]
    return notes["sha256"]
