"""Data sets of Minari: a part there and back without loss, and others' episodes as groups."""

import json
import shutil

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from envs.bridges.minari import data_set, export, load
from envs.layout import Layout, Part
from envs.store import STEPS, Store
from envs.writer import Writer
from envs.zarr import Form
from tests.faults.stores import QUICK

LEVELS, ROLLOUTS, HORIZON = 20, 3, 5


def groups(count: int) -> dict[str, np.ndarray]:
    """Trajectories as ``envs.rollout`` pads them, and a level's own arrays."""
    draw = np.random.default_rng(0)
    shape = (count, ROLLOUTS, HORIZON)
    length = draw.integers(1, HORIZON + 1, shape[:2])[..., None]
    time = np.arange(HORIZON)
    valid = time < length
    seen = draw.integers(0, 9, (count, ROLLOUTS, HORIZON + 1, 2)).astype(np.int32)
    stays = np.minimum(np.arange(HORIZON + 1), length)
    seen = np.take_along_axis(seen, stays[..., None], axis=2)
    last = time == length - 1
    return {
        "observation": seen[:, :, :-1],
        "successor": seen[:, :, 1:],
        "action": draw.integers(0, 4, shape).astype(np.int32),
        "reward": np.where(valid, draw.random(shape), 0).astype(np.float32),
        "terminated": last & (length < HORIZON),
        "truncated": last & (length == HORIZON),
        "valid": valid,
        "fingerprint": draw.integers(0, 2**32, (count, 2), np.uint32),
        "level.walls": draw.random((count, 3, 4)) < 0.5,
        "level.goal": draw.integers(0, 9, count, np.int32),
        "references": draw.random((count, 2)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    path, arrays = tmp_path_factory.mktemp("store"), groups(LEVELS)
    forms = {
        x: Form.of(a.dtype, a.shape[1:], ("a", "b", "c")[: a.ndim - 1]) for x, a in arrays.items()
    }
    about = {"family": "maze", "seed": 3, "policy": "expert", "environment": [{"class": "x"}]}
    plan = Layout({"licence": "CC0-1.0"}, 12, {"maze/3": Part("maze/3", LEVELS, forms, about)})
    with Writer.opened(path, plan, QUICK) as writer:
        for first in (0, 12):
            writer.add("maze/3", {x: a[first : first + 12] for x, a in arrays.items()})
    return Store.open(path).groups("maze/3")


@pytest.fixture(scope="module")
def exported(part, tmp_path_factory):
    return export(part, tmp_path_factory.mktemp("minari"), "CC0-1.0")


def test_there_and_back_nothing_is_lost(part, exported, tmp_path):
    load(exported, tmp_path / "store")
    found = Store.open(tmp_path / "store")
    assert found.layout.about["licence"] == "CC0-1.0"
    back = found.groups("maze/3")
    assert (back.part.about, back.part.forms) == (part.part.about, part.part.forms)
    assert back.part.levels == LEVELS
    for name, array in part.read(range(LEVELS)).items():
        np.testing.assert_array_equal(back.array(name), array)


def test_minari_reads_it(part, exported, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(exported.parent))
    found = minari.load_dataset(data_set("maze/3"))
    assert found.total_episodes == LEVELS * ROLLOUTS
    assert found.total_steps == part.array("valid").sum()
    episode = found[ROLLOUTS * 7 + 2]
    arrays = part.read([7])
    steps = arrays["valid"][0, 2].sum()
    assert len(episode) == steps
    np.testing.assert_array_equal(episode.actions, arrays["action"][0, 2][:steps])
    np.testing.assert_array_equal(episode.observations[:-1], arrays["observation"][0, 2][:steps])
    np.testing.assert_array_equal(episode.observations[1:], arrays["successor"][0, 2][:steps])
    assert found.observation_space.contains(episode.observations[0])
    (told,) = found.storage.get_episode_metadata([ROLLOUTS * 7 + 2])
    assert told["level"] == "".join(f"{word:08x}" for word in arrays["fingerprint"][0])
    assert (told["level_index"], told["rollout"]) == (7, 2)


def test_a_level_is_grouped_by_its_id(part, exported, tmp_path):
    """Our own, read as anybody's: the groups are the same, the levels' arrays are not known."""
    load(exported, tmp_path / "store", by="level", licence="CC0-1.0")
    (back,) = Store.open(tmp_path / "store").parts.values()
    assert (len(back), back.part.about["left_out"]) == (LEVELS, 0)
    horizon = part.array("valid").any((0, 1)).sum()
    expected = part.read(range(LEVELS))
    steps = expected["valid"][:, :, :horizon]
    for name in set(STEPS) - {"valid"}:
        found = back.array(name)
        np.testing.assert_array_equal(found[steps], expected[name][:, :, :horizon][steps])
    np.testing.assert_array_equal(back.array("valid"), steps)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A data set with 3, 2 and 1 episodes of one seed, floats seen, grouped by info as well."""
    root = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MINARI_DATASETS_PATH", str(root))
        episodes = []
        for index, seed in enumerate([5, 5, 9, 5, 9, 7]):
            steps = 2 + index % 3
            episodes.append(
                EpisodeBuffer(
                    seed=seed,
                    observations=np.full((steps + 1, 2), index, np.float32),
                    actions=np.arange(steps),
                    rewards=[0.0] * (steps - 1) + [1.0],
                    terminations=[False] * (steps - 1) + [True],
                    truncations=[False] * steps,
                    infos={"room": np.full(steps + 1, seed % 2)},
                )
            )
        minari.create_dataset_from_buffers(
            "door/human-v0",
            episodes,
            observation_space=spaces.Box(-1, 9, (2,), np.float32),
            action_space=spaces.Discrete(4),
            algorithm_name="people",
        )
    return root / "door" / "human-v0"


def test_episodes_are_grouped_by_a_named_field(others, tmp_path):
    load(others, tmp_path / "store", by="seed", rollouts=2, licence="MIT")
    store = Store.open(tmp_path / "store")
    (back,) = store.parts.values()
    assert store.layout.about["licence"] == "MIT"
    assert back.part.about["keys"] == ["5", "9"] and back.part.about["left_out"] == 2
    assert back.part.about["policy"] == "people"
    found = back.trajectories([0, 1])
    assert found.observation.shape == (2, 2, 4, 2) and found.observation.dtype == np.float32
    assert found.action.dtype == np.int32
    np.testing.assert_array_equal(found.observation[:, :, 0, 0], [[0, 1], [2, 4]])
    np.testing.assert_array_equal(found.valid.sum(-1), [[2, 3], [4, 3]])
    np.testing.assert_array_equal(found.reward.sum(-1), 1)
    np.testing.assert_array_equal(found.terminated, np.diff(~found.valid, append=True, axis=-1))
    assert len(np.unique(found.fingerprint, axis=0)) == 2


def test_a_field_of_the_infos_groups_too(others, tmp_path):
    load(others, tmp_path / "store", by="room")
    (back,) = Store.open(tmp_path / "store").parts.values()
    assert (len(back), back.part.about["rollouts"]) == (1, 6)  # all seeds are odd


@pytest.mark.parametrize(
    ("by", "rollouts", "told"),
    [("sead", 0, "room, seed"), ("seed", 4, "ask for fewer"), ("", 0, "--by with one of")],
)
def test_what_cannot_be_grouped_says_why(others, tmp_path, by, rollouts, told):
    with pytest.raises(ValueError, match=told):
        load(others, tmp_path / "store", by=by, rollouts=rollouts)
    assert not (tmp_path / "store").exists()


def test_without_what_is_kept_of_the_end_something_is_lost(part, exported, tmp_path):
    """The guard removed: without ``idle`` what was chosen after the end does not come back."""
    shutil.copytree(exported, tmp_path / "set")
    with h5py.File(tmp_path / "set/data/main_data.hdf5", "a") as file:
        for name in file:
            file[name].attrs["idle"] = np.zeros(0, np.int32)
    load(tmp_path / "set", tmp_path / "store")
    back = Store.open(tmp_path / "store").groups("maze/3")
    assert not np.array_equal(back.array("action"), part.array("action"))
    np.testing.assert_array_equal(back.array("reward"), part.array("reward"))


def test_metadata_is_small(exported):
    told = json.loads((exported / "data/metadata.json").read_text())
    assert told["dataset_id"] == "maze-3-v0" and told["jpeg_encoding"] is False
