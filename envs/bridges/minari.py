"""Groups as data sets of Minari, there and back without loss, and others' data sets as groups.

An episode there is a rollout here: its valid steps, with one observation more than actions. What
else a group holds is metadata: of the episode the level's id, its place and what the policy chose
after the end; of a level's first episode the level's arrays; of the data set the part.

Files of others are read by envs.bridges.datasets.py, and nothing in them is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from envs.bridges.datasets import (
    DATA,
    MAIN,
    METADATA,
    array_of,
    episodes_of,
    group_of,
    metadata_of,
    opened,
)
from envs.durable import DISK, new_folder
from envs.layout import Layout, Part
from envs.layout import read as read_layout
from envs.manifest import Damaged
from envs.store import STEPS, Groups
from envs.writer import Writer
from envs.zarr import Form

OURS = "levelburst"  # the key of what a store says, in the metadata of a data set
LEVEL = 60_000  # bytes of a level's array: HDF5 keeps metadata below 64 KiB
SHARD = 1024  # levels of a shard of what is read


def data_set(part: str) -> str:
    """The Minari id of a part."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-") + "-v0"


def export(groups: Groups, root: Path, licence: str) -> Path:
    """Writes a part as the data set ``root/ID``; with MINARI_DATASETS_PATH=root it loads by its id.
    Returns its folder.

    Raises:
        FileExistsError: there is something already.
        ValueError: Minari has no form for what the part holds.
        OSError: it cannot be written, or a file of the store is damaged.
    """
    from gymnasium import spaces
    from minari.dataset.minari_storage import MinariStorage

    part, name = groups.part, data_set(groups.part.name)
    path = root / name
    if path.exists():
        raise FileExistsError(17, "there is something already; name another folder", str(path))
    forms = part.forms
    if not {*STEPS} <= forms.keys() or len(forms["action"].shape) != 2:
        raise ValueError(f"{part.name} holds no trajectories with one action a step")
    seen = forms["observation"]
    if any(form.level > LEVEL for x, form in forms.items() if x not in STEPS):
        raise ValueError(
            f"{part.name}: a level's arrays have more than the {LEVEL} bytes Minari holds"
        )
    kind = np.dtype(seen.dtype)
    whole = np.iinfo(kind) if kind.kind in "iu" else None
    low, high = (whole.min, whole.max) if whole else (-np.inf, np.inf)
    space = spaces.Box(low, high, seen.shape[2:], kind)  # type: ignore[arg-type]
    actions = int(part.about.get("actions", 0)) or int(groups.array("action").max(initial=0)) + 1

    with new_folder(path) as beside:
        DISK.make(beside / DATA)
        storage = MinariStorage.new(
            (beside / DATA).absolute(),  # it joins relative paths to themselves
            observation_space=space,
            action_space=spaces.Discrete(actions),
            jpeg_encoding=False,
        )
        told = {"name": part.name, "about": part.about, "licence": licence, "forms": {}}
        for array, form in forms.items():
            told["forms"][array] = [form.dtype, form.shape, form.axes, form.chunk]
        storage.update_metadata(
            {
                "dataset_id": name,
                "algorithm_name": str(part.about.get("policy", "unknown")),
                "minari_version": version("minari"),
                OURS: json.dumps(told),
            }
        )
        for block in groups.blocks(64):
            first = storage.total_episodes
            arrays = groups.read(block)
            episodes, metadata = zip(*_episodes(arrays, block.start))
            storage.update_episodes(episodes)
            storage.update_episode_metadata(metadata, range(first, first + len(episodes)))
    return path


def _episodes(arrays: dict[str, np.ndarray], first: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each rollout as Minari's EpisodeBuffer and its metadata."""
    from minari.data_collector import EpisodeBuffer

    for i in range(len(arrays["valid"])):
        for r, valid in enumerate(arrays["valid"][i]):
            steps = int(valid.sum())
            own = {name: arrays[name][i, r] for name in STEPS}
            _refuse_strange(own, steps)
            told: dict[str, Any] = {
                "level": _identity(arrays, i),
                "level_index": first + i,
                "rollout": r,
                "idle": own["action"][steps:],
            }
            if r == 0:
                told |= {f"array.{x}": arrays[x][i] for x in arrays if x not in STEPS}
            yield (
                EpisodeBuffer(
                    observations=np.concatenate(  # type: ignore[arg-type]
                        [own["observation"][:steps], own["successor"][steps - 1 : steps]]
                    ),
                    actions=own["action"][:steps].astype(np.int64),  # type: ignore[arg-type]
                    rewards=own["reward"][:steps],  # type: ignore[arg-type]
                    terminations=own["terminated"][:steps],  # type: ignore[arg-type]
                    truncations=own["truncated"][:steps],  # type: ignore[arg-type]
                    infos={},
                ),
                told,
            )


def _identity(arrays: dict[str, np.ndarray], i: int) -> str:
    """A level's id: its fingerprint in hexadecimal digits."""
    if "fingerprint" not in arrays:
        return str(i)
    return "".join(f"{int(word):08x}" for word in arrays["fingerprint"][i])


def _refuse_strange(own: dict[str, np.ndarray], steps: int) -> None:
    """Raises ValueError where a rollout is not what ``envs.rollout`` makes, so that padding could
    not be made again."""
    last = own["successor"][steps - 1]
    fits = (
        steps > 0
        and own["valid"][:steps].all()
        and (own["observation"][1:steps] == own["successor"][: steps - 1]).all()
        and (own["observation"][steps:] == last).all()
        and (own["successor"][steps:] == last).all()
        and not own["reward"][steps:].any()
        and not (own["terminated"] | own["truncated"])[steps:].any()
    )
    if not fits:
        raise ValueError("the observations of a trajectory do not follow one another")


def load(source: Path, path: Path, by: str = "", rollouts: int = 0, licence: str = "") -> Layout:
    """Reads a data set into a new store: one that ``export`` wrote as the part that it was, another
    one with its episodes grouped by the field ``by`` of their metadata or infos.

    Args:
        source: the data set's folder, which holds ``data``.
        path: the store's folder.
        by: what the episodes of a level have in common, as ``seed``.
        rollouts: R of each group; 0 takes as many as the smallest has. Groups with fewer are left
            out, and so is what others have more.
        licence: of the data; by default what the data set says.

    Raises:
        ValueError: it cannot be grouped so; what could be is named.
        OSError: it is damaged, or holds what is not read.
    """
    told = metadata_of(source / DATA)
    with opened(source / DATA / MAIN) as file:
        if OURS in told and not by:
            return _ours(file, told, path, source)
        return _theirs(file, told, path, source, by, rollouts, licence)


def _ours(file: Any, told: dict[str, Any], path: Path, source: Path) -> Layout:
    where = source / DATA / METADATA
    try:
        said = json.loads(told[OURS])
        forms = {
            name: Form(dtype, tuple(shape), tuple(axes), chunk)
            for name, (dtype, shape, axes, chunk) in said["forms"].items()
        }
        rollouts, horizon = forms["valid"].shape
        names = episodes_of(file)
        part = Part(said["name"], len(names) // rollouts, forms, said["about"])
        plan = Layout(
            {"licence": said["licence"], "imported": told["dataset_id"]}, 1024, {part.name: part}
        )
        plan = read_layout(json.loads(json.dumps(plan.body())), where)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise Damaged(f"{where} is damaged: it does not say what levelburst wrote") from None

    def level(index: int) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {name: [] for name in forms}
        for r in range(rollouts):
            group = group_of(file, names[index * rollouts + r])
            if (group.attrs.get("level_index"), group.attrs.get("rollout")) != (index, r):
                raise Damaged(f"{file.filename}: {group.name} is not rollout {r} of level {index}")
            for name, array in _padded(group, horizon, np.asarray(group.attrs["idle"])).items():
                found[name].append(array.astype(forms[name].dtype))
            if r == 0:
                for name in forms.keys() - {*STEPS}:
                    found[name] = np.asarray(group.attrs[f"array.{name}"], forms[name].dtype)  # type: ignore[assignment]
        return {name: np.asarray(x).reshape(forms[name].shape) for name, x in found.items()}

    return _written(path, plan, part.name, level, source)


def _theirs(
    file: Any, told: dict[str, Any], path: Path, source: Path, by: str, rollouts: int, licence: str
) -> Layout:
    held: dict[str, list[str]] = {}
    for name in episodes_of(file):
        held.setdefault(_field(group_of(file, name), by), []).append(name)
    rollouts = rollouts or min(map(len, held.values()), default=0)
    kept = {key: names[:rollouts] for key, names in held.items() if len(names) >= rollouts > 0}
    if not kept:
        raise ValueError(f"{source}: no {by} has {rollouts} episodes; ask for fewer rollouts")
    keys = list(kept)
    horizon = max(
        len(array_of(group_of(file, x), "rewards")) for names in kept.values() for x in names
    )

    def level(index: int) -> dict[str, np.ndarray]:
        each = [_padded(group_of(file, x), horizon) for x in kept[keys[index]]]
        hashed = hashlib.sha256(f"{told.get('dataset_id')}:{keys[index]}".encode()).digest()
        return {
            **{name: np.stack([one[name] for one in each]) for name in STEPS},
            "fingerprint": np.frombuffer(hashed[:8], np.uint32),
        }

    first, name = level(0), f"minari:{told.get('dataset_id', source.name)}"
    forms = {x: Form.of(a.dtype, a.shape, _axes(x, a.ndim)) for x, a in first.items()}
    about = {
        "family": name,
        "by": by,
        "keys": keys if len(keys) <= 10_000 else [],
        "policy": str(told.get("algorithm_name", "unknown")),
        "rollouts": rollouts,
        "left_out": sum(map(len, held.values())) - rollouts * len(kept),
    }
    part = Part(name, len(keys), forms, about)
    plan = Layout({"licence": licence or str(told.get("license", "unknown"))}, SHARD, {name: part})
    read_layout(json.loads(json.dumps(plan.body())), source)
    return _written(path, plan, name, level, source)


def _axes(name: str, count: int) -> tuple[str, ...]:
    """The names of an array's dimensions."""
    if name == "fingerprint":
        return ("word",)
    return ("rollout", "time", *(f"{name}_{i}" for i in range(count - 2)))


def _field(group: Any, by: str) -> str:
    """What stands in a field of an episode's metadata, or first in one of its infos."""
    infos = group.get("infos", {})
    if by and by in group.attrs:
        value = np.asarray(group.attrs[by])
    elif by and by in infos:
        value = array_of(infos, by).reshape(-1)[:1]
    else:
        there = ", ".join(sorted({*group.attrs, *infos}))
        raise ValueError(
            f"{group.name} has no field {by!r} to group by; use --by with one of {there}"
        )
    return str(value.tolist())


def _padded(group: Any, horizon: int, idle: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """An episode as arrays [T, …], padded as ``envs.rollout`` pads."""
    seen, action = (array_of(group, x) for x in ("observations", "actions"))
    reward = array_of(group, "rewards")
    ends = [array_of(group, x).astype(bool) for x in ("terminations", "truncations")]
    steps, lack = len(reward), horizon - len(reward)
    if (
        not steps
        or lack < 0
        or len(seen) != steps + 1
        or not (steps == len(action) == len(ends[0]) == len(ends[1]))
    ):
        raise Damaged(f"{group.file.filename}: {group.name} has arrays of other lengths")
    if seen.ndim == 1:
        seen = seen[:, None]

    def longer(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, lack)] + [(0, 0)] * (x.ndim - 1))

    action = longer(_narrow(action))
    if idle is not None and len(idle) == lack:
        action[steps:] = idle
    last = np.repeat(_narrow(seen)[-1:], lack, axis=0)
    return {
        "observation": np.concatenate([_narrow(seen)[:-1], last]),
        "action": action,
        "reward": longer(reward.astype(np.float32) if reward.dtype.kind in "iu" else reward),
        "terminated": longer(ends[0]),
        "truncated": longer(ends[1]),
        "successor": np.concatenate([_narrow(seen)[1:], last]),
        "valid": np.arange(horizon) < steps,
    }


def _narrow(x: np.ndarray) -> np.ndarray:
    """Whole numbers as int32, as everywhere here, where all of them fit."""
    if x.dtype in (np.int64, np.uint32, np.uint64) and x.size and abs(int(x.max())) < 2**31:
        return x.astype(np.int32) if int(x.min()) >= -(2**31) else x
    return x


def _written(path: Path, plan: Layout, name: str, level: Any, source: Path) -> Layout:
    """A new store with the levels that ``level(index)`` gives."""
    if path.exists() and any(os.scandir(path)) and not (path / "manifest.json").exists():
        raise FileExistsError(17, "there is something already; name another folder", str(path))
    with Writer.opened(path, plan) as writer:
        while left := writer.left(name):
            block = [level(i) for i in range(left.start, min(left.start + plan.shard, left.stop))]
            try:
                arrays = {x: np.stack([one[x] for one in block]) for x in plan.parts[name].forms}
                writer.add(name, arrays)
            except ValueError as error:
                raise ValueError(f"{source}: episodes are not alike: {error}") from None
        return writer.layout
