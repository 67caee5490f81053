"""`levelburst collect`, `store` and `compare --store`: the same losses from disk as on the fly."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray

import envs
from envs.origin import level_of
from envs.store import Store
from experiments import cli, fault
from experiments.compare import Comparison
from experiments.phases import Phases
from tests.envs.worlds import same
from tests.experiments.conftest import Levelburst
from tests.faults.runs import TINY, flags
from tests.faults.stores import contents

pytestmark = pytest.mark.early

CONFIG = dataclasses.replace(
    TINY, arms=("bursty", "isolated-chunks"), updates=4, report_every=2, slots=4, horizon=16,
    contexts=16, train_levels=64, devices=2,
)  # fmt: skip
RUN = tuple(flags(CONFIG))
LEVELS = ("--levels", "64", "--families", "dark-room", "--shard", "30")


@pytest.fixture(scope="module")
def call(tmp_path_factory, environment) -> Levelburst:
    """The command line, whose programs are compiled as a person's are: two programs are compared
    to the bit here, and the suite's light ones differ in their last bits where these do not."""
    return Levelburst(tmp_path_factory.mktemp("collect"), environment | {"XLA_FLAGS": ""})


@pytest.fixture(scope="module")
def folder(call) -> Path:
    """A store of four rollouts a level, and a comparison that generates the same groups."""
    folder = call.cwd
    done = call("collect", *LEVELS, "--out", "store")
    assert done.returncode == 0, done.stderr
    assert "1 parts, 64 levels, 256 trajectories" in done.stdout
    done = call(*RUN, "--no-fresh", "--out", "generated")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(folder, monkeypatch, capsys):
    """here(*words) -> (exit code, standard output, standard error) in this interpreter."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cli, "_prepare_jax", lambda config: "cpu")
    monkeypatch.setattr(Phases, "watch", lambda self: None)  # it listens to the end of a run

    def run(*words: str) -> tuple[int, str, str]:
        return cli.run([*words]), *capsys.readouterr()

    return run


def losses(path: Path) -> list[tuple]:
    lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    fields = ("arm", "seed", "update", "loss", "accuracy", "gradient", "mean_row", "whole_cells")
    return [tuple(line[x] for x in fields) for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def stored(folder, call) -> Path:
    """The comparison again, trained on the store."""
    done = call(*RUN, "--store", "store", "--out", "stored")
    assert done.returncode == 0, done.stderr
    return folder / "stored"


@pytest.mark.parametrize("update", [0, 3])
def test_the_batch_of_an_update_is_read_again(stored, update):
    """Where a number is not finite, its batch is looked up: it is that of the run which generates
    the same groups, to the bit."""
    read, made = (
        fault.batch(Comparison(*cli._load(path)), ("isolated-chunks", 0), update)
        for path in (stored, stored.with_name("generated"))
    )
    assert same(read, made)
    again = fault.batch(Comparison(*cli._load(stored)), ("isolated-chunks", 0), 1)
    assert not same(read, again)  # the twin: another update's


def test_training_reads_the_same_losses(folder, stored):
    found = losses(folder / "stored")
    assert len(found) == 4 and found == losses(folder / "generated")
    rows = [
        json.loads((folder / x / "results.json").read_text())["rows"]
        for x in ("stored", "generated")
    ]
    assert rows[0] == rows[1]


def test_processes_that_share_a_run_read_the_same(folder, environment):
    """Two of them, which share its contexts: the losses of one alone, but for the order of sums."""
    call = Levelburst(folder, environment)
    words = (*RUN, "--devices", "1", "--data", "2", "--store", "store", "--out", "shared")
    ended = [(*x.communicate(timeout=900), x.returncode) for x in call.together(2, *words)]
    assert [code for *_, code in ended] == [0, 0], ended
    wanted, found = losses(folder / "generated"), losses(folder / "shared")
    assert len(found) == 4
    for one, other in zip(sorted(wanted), sorted(found), strict=True):
        assert other == pytest.approx(one, abs=1e-4)


def test_fresh_rollouts_are_others(folder, call):
    """The twin: with rollouts drawn anew the losses differ, so equal ones say something."""
    done = call(*RUN, "--out", "fresh")
    assert done.returncode == 0, done.stderr
    assert losses(folder / "fresh") != losses(folder / "generated")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--stickiness", "0.2"), "stickiness 0.1, here it is 0.2"),
        (("--train-levels", "256"), "has 64 levels, and 192 of the 256 training levels"),
        (("--seed", "1"), "no part dark-room/1, it has dark-room/0"),
        (("--slots", "5", "--pool", "2"), "too few rollouts for contexts of 5 slots"),
        (("--test-families", "maze"), "another environment: dark-room/0 has [2].fields 1"),
        (("--store", "nowhere"), "no manifest.json is there"),
        (("--method", "distillation"), "learns from attempts"),
    ],
)
def test_a_store_that_does_not_fit_is_refused(folder, here, words, told):
    code, _, err = here(*RUN, "--store", "store", "--out", "no", *words)
    assert code == 2
    assert told in err and err.count("\n") == 1
    assert not (folder / "no").exists()


def test_a_store_holds_levels_and_where_they_come_from(folder):
    store = Store.open(folder / "store")
    groups = store.groups("dark-room/0")
    assert store.layout.about["licence"] == "CC0-1.0"
    assert store.layout.about["software"].keys() >= {"jax", "numpy", "python"}
    about = groups.part.about
    assert (about["family"], about["seed"], about["policy"]) == ("dark-room", 0, "expert")
    names = [layer["class"].rpartition(":")[2] for layer in about["environment"]]
    assert names == ["Sticky", "Scramble", "Pad", "DarkRoom"]
    found = groups.read(range(64))
    env = envs.make("dark-room", horizon=16)
    inner = {x.replace("level.inner", "level"): a for x, a in found.items() if "level.inner" in x}
    levels = level_of(env, inner)
    prints = jax.vmap(env.fingerprint)(levels)
    np.testing.assert_array_equal(prints, found["fingerprint"])
    assert (found["references"][:, 1] > 0.3).all()
    assert found["valid"].any((1, 2)).all()


def test_collecting_again_does_nothing(folder, here):
    before = contents(folder / "store")
    assert here("collect", *LEVELS, "--out", "store")[0] == 0
    assert contents(folder / "store") == before
    code, _, err = here("collect", *LEVELS, "--out", "store", "--policy", "random")
    assert code == 2 and "policy expert, asked for was random" in err
    assert contents(folder / "store") == before


def test_store_commands(folder, here):
    _, said, _ = here("store", "info", "store")
    assert "dark-room/0: 64 of 64 levels, [64, 4, 16] [level, rollout, time]" in said
    assert json.loads(here("store", "info", "store", "--json")[1])["shards"] == 3
    assert here("store", "verify", "store")[0] == 0
    assert here("store", "export", "store", "--out", "minari")[0] == 0
    assert here("store", "import", "minari/dark-room-0-v0", "--out", "back")[0] == 0
    one, two = (Store.open(folder / x).groups("dark-room/0") for x in ("store", "back"))
    for name, array in one.read(range(64)).items():
        np.testing.assert_array_equal(two.array(name), array)
    assert here("store", "export", "store", "--out", "zarr", "--to", "zarr")[0] == 0
    found = xarray.open_zarr(folder / "zarr", group="dark-room/0", consolidated=False)
    np.testing.assert_array_equal(found.action.values, one.array("action"))
    file = folder / "back/shards/000000/action/c.0.0.0"
    file.write_bytes(bytes(file.stat().st_size))
    code, said, _ = here("store", "verify", "back")
    assert code == 1 and "action" in said
    code, _, err = here("store", "merge", "store", "store", "--out", "twice")
    assert code == 2 and "64 levels are in more than one" in err
    assert not (folder / "twice").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("collect --levels 8", "levels 8"),
        ("collect --policy expurt", "policy 'expurt'"),
        ("collect --policy mixture:2", "policy 'mixture:2'"),
        ("collect --families maize", "did you mean 'maze'"),
        ("collect --shard 0", "shard 0"),
        ("collect --out file", "--out file is a file"),
        ("collect --out .", "--out . is not empty"),
        ("collect --horizon 0", "horizon 0"),
        ("store", "usage: levelburst store"),
        ("store verifi x", "did you mean 'verify'"),
        ("store verify", "no store is named"),
        ("store info nowhere", "nowhere is no store"),
        ("store export nowhere --out x", "nowhere is no store"),
        ("store import nowhere --out x", "nowhere is no store"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.run(words.split()) == 2
    out, err = capsys.readouterr()
    assert told in out + err
    assert "usage" in told or err.count("\n") == 1
    assert [x.name for x in tmp_path.iterdir()] == ["file"]
