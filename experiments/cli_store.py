"""The command ``levelburst store``: what a store holds, whether it is whole, and other formats."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from experiments.errors import ConfigError
from experiments.families import known

USAGE = """usage: levelburst store COMMAND [OPTIONS]

  info PATH               what a store holds, and where it comes from (--json)
  verify PATH …           hash every file; exit code 1 if one is not what was written
  merge PATH PATH … --out NEW             several stores as one
  export PATH --out NEW --to zarr         one zarr group a part, for xarray
  export PATH --out NEW --to minari       one Minari data set a part
  import PATH --out NEW [--by FIELD]      a Minari data set, grouped by a field of its episodes

Every command explains itself with --help."""


@dataclasses.dataclass(frozen=True)
class InfoConfig:
    """Says what a store holds, and where it comes from."""

    path: tyro.conf.Positional[Path]
    """Folder of the store."""
    json: bool = False
    """Print all that the manifest says, but for the shards."""


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
    """Hashes every file of stores; exit code 1 if one is not what was written."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of stores."""


@dataclasses.dataclass(frozen=True)
class MergeConfig:
    """Makes several stores one. Parts of one name have to be alike, and may share no level."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of stores."""
    out: Path
    """Folder of the new store; a merge that was cut short goes on with the same command."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Writes a store in another format; the store stays."""

    path: tyro.conf.Positional[Path]
    """Folder of the store."""
    out: Path
    """New folder. Of Minari it is the root: MINARI_DATASETS_PATH, with a data set for each part."""
    to: str = "minari"
    """minari (extra `minari`), or zarr: a group a part, with named dimensions, as xarray reads."""


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Reads a Minari data set into a new store: one of `store export` as it was, any other with its
    episodes grouped by a field (extra `minari`)."""

    path: tyro.conf.Positional[Path]
    """Folder of the data set, which holds `data`."""
    out: Path
    """Folder of the new store."""
    by: str = ""
    """Field of the episodes' metadata, or of their infos, that those of one level share: seed …"""
    rollouts: int = 0
    """Rollouts of each level; 0 takes as many as the least that a level has."""
    licence: str = ""
    """Licence of the data; by default what the data set says."""


def run(arguments: list[str], parse: Callable[..., Any], quiet: Callable[[], None]) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``store``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.
        quiet: starts JAX.

    Raises:
        ConfigError: a person's mistake.
        OSError: a store is damaged, or something cannot be written.
    """
    commands: dict[str, tuple[type, Callable[[Any], int]]] = {
        "info": (InfoConfig, _info),
        "verify": (VerifyConfig, _verify),
        "merge": (MergeConfig, _merge),
        "export": (ExportConfig, _export),
        "import": (ImportConfig, _import),
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    known("command of store", (arguments[0],), tuple(commands))
    kind, act = commands[arguments[0]]
    config = parse(kind, f"store {arguments[0]}", arguments[1:])
    _check(config)
    quiet()
    try:
        return act(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check(config: Any) -> None:
    """What can be found wrong before JAX is imported."""
    paths = (config.path,) if hasattr(config, "path") else config.paths
    if not paths:
        raise ConfigError("no store is named; give a folder that `levelburst collect` made")
    inside = "data" if isinstance(config, ImportConfig) else "manifest.json"
    for path in paths:
        if not (path / inside).exists():
            raise ConfigError(f"{path} is no store: {inside} is not there; name another folder")
    if isinstance(config, ExportConfig):
        known("format", (config.to,), ("minari", "zarr"))
        if config.to == "zarr" and config.out.exists():
            raise ConfigError(f"--out {config.out} exists; name a new folder")
    minari = isinstance(config, ImportConfig) or getattr(config, "to", "") == "minari"
    if minari and not (importlib.util.find_spec("minari") and importlib.util.find_spec("h5py")):
        raise ConfigError("Minari is not installed: pip install 'levelburst[minari]'")
    if isinstance(config, ImportConfig) and config.rollouts < 0:
        raise ConfigError(f"rollouts {config.rollouts}: use a number of 1 or more, or 0")


def _info(config: InfoConfig) -> int:
    from envs.store import Store

    store = Store.open(config.path)
    layout = store.layout
    if config.json:
        print(json.dumps({**layout.body(), "shards": len(layout.shards)}, indent=1))
        return 0
    about = dict(layout.about)
    print(f"{config.path}: {'whole' if store.whole else 'not whole: collect goes on with it'}")
    print(f"licence {about.get('licence', 'unknown')}")
    for name, version in dict(about.get("software") or {}).items():
        print(f"{name} {version}")
    size = sum(file.bytes for _, file in store.files())
    print(f"{len(layout.shards)} shards of {layout.shard} levels, {size / 2**20:.1f} MiB\n")
    for name, groups in store.parts.items():
        part = groups.part
        valid = part.forms.get("valid")
        shape = [len(groups), *(valid.shape if valid else ())]
        print(f"{name}: {len(groups)} of {part.levels} levels, {shape} [level, rollout, time]")
        print(f"  policy {part.about.get('policy', 'unknown')}")
        for layer in part.about.get("environment") or ():
            fields = ", ".join(f"{k}={v}" for k, v in layer.items() if k != "class")
            print(f"  {layer['class'].rpartition(':')[2]}({fields})")
        arrays = (f"{x} {form.dtype}{list(form.shape)}" for x, form in part.forms.items())
        print(f"  {', '.join(arrays)}")
    return 0


def _verify(config: VerifyConfig) -> int:
    from envs.store import Store

    wrong = 0
    for path in config.paths:
        store, count = Store.open(path), 0
        for line in store.verify():
            print(line)
            count += "is not part of the store" not in line
        files = 1 + sum(1 for _ in store.files())
        print(
            f"{path}: {count} of {files} files damaged"
            if count
            else f"{path}: {files} files intact"
        )
        wrong += count
    return int(wrong > 0)


def _merge(config: MergeConfig) -> int:
    from envs.merge import merge
    from envs.store import Store

    layout = merge([Store.open(path) for path in config.paths], config.out)
    print(f"store {config.out}: {len(layout.parts)} parts, {len(layout.shards)} shards")
    return 0


def _export(config: ExportConfig) -> int:
    from envs.store import Store

    store = Store.open(config.path)
    if config.to == "zarr":
        from envs.export import as_zarr

        as_zarr(store, config.out)
        print(f"zarr {config.out}: xarray.open_zarr(path, group=PART, consolidated=False)")
        return 0
    from envs.bridges.minari import export

    licence = str(store.layout.about.get("licence", "unknown"))
    for groups in store.parts.values():
        print(f"data set {export(groups, config.out, licence)}")
    return 0


def _import(config: ImportConfig) -> int:
    from envs.bridges.minari import load

    layout = load(config.path, config.out, config.by, config.rollouts, config.licence)
    for name, part in layout.parts.items():
        left = part.about.get("left_out", 0)
        print(f"store {config.out}: {name}, {part.levels} levels; {left} episodes left out")
    return 0
