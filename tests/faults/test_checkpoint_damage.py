"""Checkpoints with another bit, cut, gone or exchanged: found, every one of them."""

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from agents import checkpoint
from envs import manifest
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.saves import NEWEST, Saves

FLIPS = 300
CELL = ("bursty", 0)


def arrays(seed: int) -> dict:
    draw = np.random.default_rng(seed)
    weights = {"a": draw.normal(size=(8, 16)).astype(np.float32), "b": np.zeros(3, np.float32)}
    return {
        "parameters": weights,
        "moments": [weights],
        "step": np.int32(seed),
        "key": np.uint32(7),
    }


def notes(update: int, cell=CELL) -> dict:
    return {"arm": cell[0], "seed": cell[1], "update": update, "loss": 1.0 / update, "lines": []}


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    """Two checkpoints of one training, and one of another; nobody may change them."""
    root = tmp_path_factory.mktemp("intact") / "run" / "training"
    for update in (20, 40):
        checkpoint.save(root / "bursty-seed0" / str(update), arrays(update), notes(update))
    checkpoint.save(root / "bursty-seed1" / "40", arrays(1), notes(40, ("bursty", 1)))
    return root.parent


@pytest.fixture
def run(intact, tmp_path) -> Path:
    shutil.copytree(intact, tmp_path / "run")
    return tmp_path / "run"


def files(path: Path) -> list[Path]:
    return sorted(x for x in path.rglob("*") if x.is_file())


def silent_flips(path: Path, count: int) -> list[str]:
    """Flips of one bit that nobody notices."""
    draw, found = random.Random(0), []
    every = [x for x in files(path) if x.stat().st_size]
    for index in range(count):
        file = every[index % len(every)]
        whole = file.read_bytes()
        place, bit = draw.randrange(len(whole)), draw.randrange(8)
        broken = bytearray(whole)
        broken[place] ^= 1 << bit
        file.write_bytes(broken)
        try:
            checkpoint.verify(path)
            found.append(f"{file.name} byte {place} bit {bit}")
        except manifest.Damaged as error:
            assert str(path) in str(error) and "\n" not in str(error)
        file.write_bytes(whole)
    checkpoint.verify(path)
    return found


def test_no_flip_is_silent(run):
    assert silent_flips(run / "training/bursty-seed0/40", FLIPS) == []


def test_twin_that_compares_sizes_only_is_found(run, monkeypatch):
    monkeypatch.setattr(manifest.File, "check", manifest.File.check_size)
    assert len(silent_flips(run / "training/bursty-seed0/40", FLIPS)) > FLIPS / 2


def loose(path: Path) -> dict:
    """The twin: a manifest that is read, and not compared with its own hash."""
    return json.loads(path.read_bytes())["body"]


@pytest.mark.parametrize("reader", [manifest.unseal, loose])
def test_a_manifest_vouches_for_itself(run, monkeypatch, reader):
    path = run / "training/bursty-seed0/40"
    text = (path / manifest.MANIFEST).read_text()
    monkeypatch.setattr(manifest, "unseal", reader)
    silent = 0
    for old, new in (('{"sha256"', '{"SHA256"'), ('"body":', '"body": '), ("}\n", "}")):
        (path / manifest.MANIFEST).write_text(text.replace(old, new, 1))
        try:
            checkpoint.verify(path)
            silent += 1
        except manifest.Damaged:
            pass
    assert silent == (3 if reader is loose else 0)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def swap(file: Path) -> None:
    """With the file of that name, or else with the largest, of the checkpoint before."""
    mine = next(x for x in file.parents if x.name == "40")
    others = files(mine.with_name("20"))
    largest = max(others, key=lambda x: x.stat().st_size)
    other = next((x for x in others if x.name == file.name), largest)
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(content)


def link(file: Path) -> None:
    content = file.with_name(f"{file.name}.real")
    file.rename(content)
    shutil.move(content, file.parents[3])
    file.symlink_to(file.parents[3] / content.name)


FAULTS = {
    "truncated": truncate,
    "emptied": lambda file: file.write_bytes(b""),
    "deleted": Path.unlink,
    "swapped": swap,
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "doubled": lambda file: file.with_name(f"{file.name}2").write_bytes(file.read_bytes()),
    "a link": link,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_damage_of_any_file_is_silent(intact, tmp_path, fault):
    path = Path("training/bursty-seed0/40")
    for index, file in enumerate(files(intact / path)):
        copy = tmp_path / str(index)
        shutil.copytree(intact, copy)
        target = copy / file.relative_to(intact)
        before = target.read_bytes()
        FAULTS[fault](target)
        if fault == "swapped" and target.read_bytes() == before:
            continue  # they are the same
        with pytest.raises(manifest.Damaged, match=str(copy)):
            checkpoint.verify(copy / path)


def test_what_files_hide_their_arrays_show(run, monkeypatch):
    """Where a manifest vouches for other files, the arrays have another SHA-256."""
    path, other = (run / "training/bursty-seed0" / update for update in ("40", "20"))
    shutil.rmtree(path / "arrays")
    shutil.copytree(other / "arrays", path / "arrays")
    (path / manifest.MANIFEST).unlink()
    manifest.seal_folder(path)
    checkpoint.verify(path)
    with pytest.raises(manifest.Damaged, match="its arrays have another SHA-256"):
        checkpoint.restore(path, arrays(40))


# Who goes on from them. ---------------------------------------------------------------------


@pytest.fixture
def saves(run):
    """saves(wanted) -> the Saves of the run, and what they say."""

    def make(wanted: int = NEWEST):
        said: list[str] = []
        progress = SimpleNamespace(say=said.append)
        job = SimpleNamespace(folder=RunFolder(run), progress=progress, config=CompareConfig())
        return Saves(job, wanted), said

    return make


def damage(run: Path, update: int) -> None:
    truncate(run / f"training/bursty-seed0/{update}/notes.json")


def test_the_newest_is_taken(saves):
    own, said = saves()
    assert own.start([CELL]) == 40 and said == ["bursty seed 0: going on from update 40"]


def test_a_damaged_newest_falls_back_and_says_so(run, saves):
    damage(run, 40)
    own, said = saves()
    assert own.start([CELL]) == 20
    assert "bursty-seed0/40/notes.json holds" in said[0] and "(an older" in said[0]
    damage(run, 20)
    assert own.start([CELL]) == 0 and "starts anew" in said[-1]


def test_cells_of_a_wave_go_on_from_the_same_update(run, saves):
    own, _ = saves()
    both = [CELL, ("bursty", 1)]
    assert own.start(both) == 40
    damage(run, 40)
    assert own.start(both) == 0  # seed 1 has no other


@pytest.mark.parametrize("update", [20, 40])
def test_one_asked_for_by_number_is_taken_or_an_error(run, saves, update):
    own, _ = saves(update)
    assert own.start([CELL]) == update
    damage(run, update)
    with pytest.raises(ConfigError, match=rf"checkpoint {update}: .*/notes\.json holds"):
        own.start([CELL])


def test_one_that_is_not_there_is_an_error(saves):
    own, _ = saves(30)
    with pytest.raises(ConfigError, match=r"checkpoint 30: .*there are: 20, 40"):
        own.start([CELL])
    with pytest.raises(ConfigError, match=r"checkpoint 30: .*no such one .* there are: 20, 40"):
        own.begun([CELL])


@pytest.mark.parametrize(
    ("first", "second"),
    [("bursty-seed0/20", "bursty-seed0/40"), ("bursty-seed0/40", "bursty-seed1/40")],
)
def test_whole_checkpoints_that_changed_places_are_found(run, saves, first, second):
    one, two, aside = run / "training" / first, run / "training" / second, run / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    own, _ = saves(40)
    with pytest.raises(ConfigError, match="it does not belong there"):
        own.start([CELL])


def test_twin_without_verification_goes_on_from_damage(run, saves, monkeypatch):
    damage(run, 40)
    monkeypatch.setattr("experiments.saves._verify", lambda *_: None)
    assert saves()[0].start([CELL]) == 40


def test_a_checkpoint_that_was_restored_and_found_wanting_names_the_model(run):
    path = run / "training/bursty-seed0/40"
    like = jax.tree.map(lambda x: np.zeros((*x.shape, 2), x.dtype), arrays(40))
    with pytest.raises(ValueError, match=r"another model: .*expected float32 \(8, 16, 2\)"):
        checkpoint.restore(path, like)
