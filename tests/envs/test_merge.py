"""Stores as one, and as plain zarr that xarray reads."""

import numpy as np
import pytest
import xarray

from envs.export import as_zarr
from envs.layout import Layout
from envs.manifest import Damaged
from envs.merge import merge
from envs.store import Store
from envs.writer import Writer
from tests.faults.stores import QUICK, Crash, Shaky, contents, fill, numbers, plan


def part_of(path, first: int, count: int, layout: Layout) -> Store:
    with Writer.opened(path, layout, QUICK) as writer:
        for name in layout.parts:
            writer.add(name, numbers(first, count))
    return Store.open(path)


def test_parts_are_side_by_side_and_levels_in_order(tmp_path):
    one = part_of(tmp_path / "1", 0, 3, plan(3, parts=("maze/0",)))
    two = part_of(tmp_path / "2", 3, 4, plan(4, parts=("maze/0", "ice/0")))
    merge([one, two], tmp_path / "out", QUICK)
    store = Store.open(tmp_path / "out")
    assert store.whole and list(store.verify()) == []
    assert {x: len(g) for x, g in store.parts.items()} == {"maze/0": 7, "ice/0": 4}
    for name, array in numbers(0, 7).items():
        np.testing.assert_array_equal(store.groups("maze/0").array(name), array)
    assert store.layout.about["merged"] == [one.layout.about, two.layout.about]


def test_a_merge_that_was_cut_short_goes_on(tmp_path):
    stores = [part_of(tmp_path / "1", 0, 4, plan(4)), part_of(tmp_path / "2", 4, 4, plan(4))]
    merge(stores, tmp_path / "whole", QUICK)
    for stop in range(0, 60, 7):
        with pytest.raises(Crash):
            merge(stores, tmp_path / str(stop), Shaky(stop))
        merge(stores, tmp_path / str(stop), QUICK)
        assert contents(tmp_path / str(stop)) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("first", "layout", "told"),
    [
        (2, plan(4), "1 levels are in more than one"),
        (4, plan(4, licence="MIT"), "licences CC0-1.0, MIT"),
        (4, plan(4, names=("reward", "fingerprint")), "merge parts that are alike"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, first, layout, told):
    one = part_of(tmp_path / "1", 0, 3, plan(3))
    with Writer.opened(tmp_path / "2", layout, QUICK) as writer:
        arrays = numbers(first, 4)
        writer.add("maze/0", {x: arrays[x] for x in layout.parts["maze/0"].forms})
    with pytest.raises(ValueError, match=told):
        merge([one, Store.open(tmp_path / "2")], tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_a_damaged_store_is_not_merged(tmp_path):
    one = part_of(tmp_path / "1", 0, 4, plan(4))
    file = tmp_path / "1/shards/000000/reward/c.0.0.0"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(Damaged, match="reward"):
        merge([one], tmp_path / "out", QUICK)
    assert len(Store.open(tmp_path / "out").layout.shards) == 0


def test_xarray_reads_an_export(tmp_path):
    fill(tmp_path / "store", plan(10, 4, ("maze/0", "ice/0")))
    as_zarr(Store.open(tmp_path / "store"), tmp_path / "out", QUICK)
    found = xarray.open_zarr(tmp_path / "out", group="ice/0", consolidated=False)
    assert found.observation.dims == ("level", "rollout", "time", "field")
    assert found.attrs["family"] == "ice/0"
    for name, array in numbers(0, 10).items():
        np.testing.assert_array_equal(found[name].values, array)
        assert found[name].dtype == array.dtype
    part = found.isel(level=[7], rollout=1)
    np.testing.assert_array_equal(part.reward.values, numbers(7, 1)["reward"][:, 1])
