"""Groups come back from a store as they went in, by level and in any order."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from envs import layout
from envs.layout import Layout, Part
from envs.manifest import Damaged, seal
from envs.rollout import Trajectories
from envs.store import Store
from envs.writer import Writer
from envs.zarr import DTYPES, LARGEST, Form, crc32c, encode, opened
from tests.faults.stores import fill, numbers, plan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 3)])
def test_an_array_comes_back(tmp_path, dtype, shape):
    axes = tuple(f"axis{i}" for i in range(len(shape)))
    form = Form.of(dtype, shape, axes, most=4)
    array = (np.random.default_rng(0).random((10, *shape)) * 100).astype(dtype)
    for name, data in encode(form, array).items():
        (tmp_path / name).write_bytes(data)
    found = opened(tmp_path, form, 10)
    np.testing.assert_array_equal(found.read().result(), array)
    assert found.domain.labels == ("level", *axes)
    assert (tmp_path / form.data(10)[0]).stat().st_size == form.data(10)[1]
    data = (tmp_path / form.data(10)[0]).read_bytes()
    assert data.endswith(form.index(10))
    zeros = encode(form, np.zeros_like(array))  # those, too, are written
    assert [len(data) for data in zeros.values()] == [len(form.header(10)), form.data(10)[1]]


def test_a_checksum_is_the_standards():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_chunks_are_of_a_handy_size():
    assert Form.of("int32", (4, 16), ("rollout", "time")).chunk == 64
    assert Form.of("uint8", (4, 16, 64, 64, 3), tuple("rtyxc")).chunk == 1
    with pytest.raises(ValueError, match="bytes are the most"):
        Form.of("uint8", (LARGEST + 1,), ("x",))
    with pytest.raises(ValueError, match="dtype float16"):
        Form.of("float16", (), ())


def test_levels_come_in_the_order_asked_for(tmp_path):
    fill(tmp_path, plan(10, 4, ("maze/0", "ice/0")))
    store = Store.open(tmp_path)
    assert store.whole and list(store.parts) == ["maze/0", "ice/0"]
    groups = store.groups("ice/0")
    assert len(groups) == 10
    for indices in ([9, 0, 4, 4, 3], [], range(10)):
        found = groups.read(indices)
        for name, array in numbers(0, 10).items():
            np.testing.assert_array_equal(found[name], array[list(indices)])
            assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(groups.array("reward"), numbers(0, 10)["reward"])
    assert [list(block) for block in groups.blocks(3)] == [
        [0, 1, 2], [3], [4, 5, 6], [7], [8, 9]
    ]  # fmt: skip
    for wrong in ([10], [-1]):
        with pytest.raises(IndexError, match="10 levels of ice/0"):
            groups.read(wrong)


def test_what_is_written_so_far_can_be_read(tmp_path):
    fill(tmp_path, plan(), shards=1)
    store = Store.open(tmp_path)
    assert not store.whole and len(store.groups("maze/0")) == 4
    assert list(store.verify()) == []
    (tmp_path / "shards" / "000007").mkdir()
    assert ["000007" in line for line in store.verify()] == [True]


def test_trajectories_come_back(tmp_path):
    shapes = {"observation": (3, 4, 2), "successor": (3, 4, 2), "fingerprint": (2,)}
    kinds = {"reward": np.float32, "fingerprint": np.uint32, "observation": np.int32}
    kinds |= {"successor": np.int32, "action": np.int32}
    groups = Trajectories(
        **{
            field.name: np.random.default_rng(len(field.name))
            .integers(0, 2, (6, *shapes.get(field.name, (3, 4))))
            .astype(kinds.get(field.name, bool))
            for field in dataclasses.fields(Trajectories)
        }
    )
    arrays = {name: np.asarray(x) for name, x in vars(groups).items()}
    axes = ("rollout", "time", "field")
    forms = {x: Form.of(a.dtype, a.shape[1:], axes[: a.ndim - 1]) for x, a in arrays.items()}
    store = Layout({}, 4, {"dark-room/0": Part("dark-room/0", 6, forms, {})})
    with Writer.opened(tmp_path, store) as writer:
        assert writer.left("dark-room/0") == range(6)
        writer.add("dark-room/0", {name: array[:4] for name, array in arrays.items()})
        assert writer.left("dark-room/0") == range(4, 6)
        with pytest.raises(ValueError, match="no room for 4"):
            writer.add("dark-room/0", {name: array[:4] for name, array in arrays.items()})
        with pytest.raises(ValueError, match="has arrays"):
            writer.add("dark-room/0", {"action": arrays["action"]})
        writer.add("dark-room/0", {name: array[4:] for name, array in arrays.items()})
    found = Store.open(tmp_path).groups("dark-room/0").trajectories([5, 1])
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(groups), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other)[[5, 1]])


@pytest.mark.parametrize(
    ("version", "told"),
    [(2, "install a newer"), (0, "collect it again"), ("1", "collect it again")],
)
def test_another_version_says_what_to_do(tmp_path, version, told):
    fill(tmp_path, plan())
    body = json.loads(json.dumps(plan().body())) | {"version": version}
    (tmp_path / "manifest.json").write_bytes(seal(body, tmp_path))
    with pytest.raises(Damaged, match=told):
        Store.open(tmp_path)


def test_no_store_is_told_apart(tmp_path):
    with pytest.raises(Damaged, match="no store at"):
        Store.open(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_bytes(seal({"format": "other"}, tmp_path))
    with pytest.raises(Damaged, match="no manifest of a store"):
        Store.open(tmp_path)


def test_a_layout_is_what_its_manifest_says():
    described = json.loads(json.dumps(plan(parts=("a/0", "b/1")).body()))
    assert json.loads(json.dumps(layout.read(described, None).body())) == described
