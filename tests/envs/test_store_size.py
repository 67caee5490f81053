"""A million trajectories: written and read in the memory that a few thousand take."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from envs.layout import Layout, Part
from envs.store import GROUP, Store
from envs.writer import Writer
from envs.zarr import Form
from tests.faults.stores import QUICK

what, path, levels = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
SHARD, R, T, F = 1024, 4, 16, 2
kinds = {"observation": "int32", "successor": "int32", "action": "int32", "reward": "float32",
         "terminated": "bool", "truncated": "bool", "valid": "bool", "fingerprint": "uint32"}
tails = {"observation": (R, T, F), "successor": (R, T, F), "fingerprint": (2,)}
forms = {x: Form.of(k, tails.get(x, (R, T)), tuple("abc")[: len(tails.get(x, (R, T)))])
         for x, k in kinds.items()}
told = {}
if what == "write":
    plan = Layout({}, SHARD, {"big/0": Part("big/0", levels, forms, {})})
    with Writer.opened(path, plan, QUICK) as writer:
        while left := writer.left("big/0"):
            count = min(SHARD, len(left))
            own = np.arange(left.start, left.start + count)
            writer.add("big/0", {
                x: np.broadcast_to(own.reshape(-1, *[1] * len(f.shape)), (count, *f.shape))
                     .astype(f.dtype) for x, f in forms.items()})
else:
    began = time.perf_counter()
    groups = Store.open(path).groups("big/0")
    told["open"] = time.perf_counter() - began
    draw, waits = np.random.default_rng(0), []
    for _ in range(int(sys.argv[4])):
        wanted = draw.integers(0, levels, 800)  # of a chunk of 50 updates
        began = time.process_time()  # others may use the machine, too
        found = groups.trajectories(wanted)
        waits.append(time.process_time() - began)
        assert (found.action[:, 0, 0] == wanted).all()
    told |= {"first": waits[0], "median": float(np.median(waits[len(waits) // 2 :]))}
mebi = 2**20 if sys.platform == "darwin" else 2**10
told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / mebi
print(json.dumps(told))
"""


def measure(*arguments: object) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compare(path: Path, few: int, many: int, pools: int) -> None:
    found = {}
    for levels in (few, many):
        folder = path / str(levels)
        write = measure("write", folder, levels)
        found[levels] = (write, measure("read", folder, levels, pools))
    print(json.dumps(found))
    for one, other in zip(found[few], found[many]):
        assert other["peak"] < one["peak"] + 100, found  # MiB
    assert found[many][1]["median"] < 2  # seconds of one core, for what 50 updates visit


def test_memory_is_flat(tmp_path):
    compare(tmp_path, 1_500, 9_000, 10)


@pytest.mark.slow
def test_memory_is_flat_at_a_million_trajectories(tmp_path):
    compare(tmp_path, 9_000, 250_000, 20)
