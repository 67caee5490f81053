"""Whatever happens to a file of a store, it is not read as if nothing had: 0 silent."""

import json
import shutil

import numpy as np
import pytest

from envs import store
from envs.manifest import Damaged, File
from envs.store import Store
from envs.zarr import encode
from tests.faults.stores import contents, fill, numbers, plan


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "intact"
    fill(path, plan(6, 4))
    return path


def noticed(path) -> bool:
    """Reads all of a store; False where it gives other numbers than those that were written.

    Raises:
        AssertionError: what is said of the damage does not name the path, or has several lines.
    """
    try:
        opened = Store.open(path)
        groups = opened.groups("maze/0")
        found = groups.read(range(len(groups)))
    except Damaged as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    for name, array in numbers(0, 6).items():
        if not np.array_equal(found[name], array):
            return False
    return not any(opened.verify())  # nothing happened at all


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(path, intact, count: int) -> int:
    """How many of ``count`` flipped bits, spread over all files, are noticed."""
    shutil.copytree(intact, path)
    files, generator, found = contents(intact), np.random.default_rng(0), 0
    for index in range(count):
        name = sorted(files)[index % len(files)]
        bit = int(generator.integers(8 * len(files[name])))
        (path / name).write_bytes(flipped(files[name], bit))
        try:
            noisy = noticed(path)
            assert any(Store.open(path).verify())  # by itself, without reading
        except Damaged:
            pass
        found += noisy
        (path / name).write_bytes(files[name])
    return found


def test_no_flipped_bit_is_silent(tmp_path, intact):
    assert flips(tmp_path / "store", intact, 300) == 300


@pytest.mark.parametrize("kind", ["truncate", "delete", "swap", "grow"])
def test_no_lost_file_is_silent(tmp_path, intact, kind):
    files = contents(intact)
    for index, name in enumerate(sorted(files)):
        path = tmp_path / str(index)
        shutil.copytree(intact, path)
        other = sorted(files)[index - 1]
        match kind:
            case "truncate":
                (path / name).write_bytes(files[name][: len(files[name]) // 2])
            case "delete":
                (path / name).unlink()
            case "grow":
                (path / name).write_bytes(files[name] + b"\0")
            case "swap":
                if files[name] == files[other]:  # nothing would happen
                    continue
                (path / name).write_bytes(files[other])
                (path / other).write_bytes(files[name])
        assert noticed(path) and not silent_verify(path), name


def silent_verify(path) -> bool:
    try:
        return not any(Store.open(path).verify())
    except Damaged:
        return False


def test_without_the_hash_changed_numbers_are_silent(tmp_path, intact, monkeypatch):
    """The guard removed: numbers that another tool wrote, with a CRC-32C of their own."""
    path = tmp_path / "store"
    shutil.copytree(intact, path)
    form = Store.open(path).layout.parts["maze/0"].forms["reward"]
    for name, data in encode(form, numbers(100, 4)["reward"]).items():
        (path / "shards/000000/reward" / name).write_bytes(data)
    assert noticed(path)
    monkeypatch.setattr(File, "check", File.check_size)
    assert not noticed(path)


def test_without_its_hash_a_changed_manifest_is_silent(tmp_path, intact, monkeypatch):
    path = tmp_path / "store"
    shutil.copytree(intact, path)
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"CC0-1.0", b"CC0-1.1"))
    assert noticed(path)
    monkeypatch.setattr(store, "unseal", lambda file: json.loads(file.read_bytes())["body"])
    assert Store.open(path).layout.about["licence"] == "CC0-1.1"


def test_a_flip_after_the_hash_is_caught_by_the_crc(tmp_path, intact):
    path = tmp_path / "store"
    shutil.copytree(intact, path)
    groups = Store.open(path).groups("maze/0")
    groups.read([0])
    file = path / "shards/000000/reward/c.0.0.0"
    file.write_bytes(flipped(file.read_bytes(), 100))
    with pytest.raises(Damaged, match="restore it"):
        groups.read([0])
