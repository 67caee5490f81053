"""Trackers: other people's pages of curves, which hear what metrics.jsonl holds if one asks for it.

No JAX here, and a tracker's package is imported only when the tracker starts.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from experiments.errors import ConfigError

Line = dict[str, Any]
PROJECT = "levelburst"  # under which wandb and trackio file a run


class Tracker(Protocol):
    """Takes a run's config, its lines and what it came to. Calls come from one thread, in order;
    whatever is raised costs the tracker, not the run."""

    resumes: bool
    """Whether a record that an earlier session began can be gone on with; else it is made anew."""

    def start(self, run: str, config: dict[str, Any], identity: str, again: bool) -> str:
        """Begins, and says in a few words where the record is.

        Args:
            run: its name.
            config: as in config.json.
            identity: of the record, the same in all sessions of a run.
            again: whether an earlier session began it.
        """
        ...

    def log(self, lines: list[Line]) -> None:
        """Takes lines of metrics.jsonl."""
        ...

    def close(self, found: dict[str, Any] | None) -> None:
        """Takes what results.json holds, or None where the run was cut short, and ends."""
        ...


class Wandb:
    """Weights & Biases. Mode, entity, project and folder are the person's (``WANDB_…``); by default
    the project is ``levelburst`` and the folder ``wandb/`` in the run's. Only the config, the lines
    and the outcome are handed on: no console, no source, no measurements of the machine."""

    resumes = True

    def __init__(self, folder: Path):
        self.folder = folder

    def start(self, run: str, config: dict[str, Any], identity: str, again: bool) -> str:
        """As ``Tracker``."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # of wandb's own errors, to wandb
        wandb = importlib.import_module("wandb")
        mode = wandb.setup(settings=wandb.Settings(silent=True)).settings.mode
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise RuntimeError("nobody is logged in; say `wandb login`, or set WANDB_MODE=offline")
        wanted = {
            "silent": True, "console": "off", "save_code": False, "disable_code": True,
            "disable_git": True, "disable_job_creation": True, "x_disable_meta": True,
            "x_disable_stats": True, "x_disable_machine_info": True, "host": "unnamed",
            "x_save_requirements": False,
            "init_timeout": 60.0, "finish_timeout": 60.0, "finish_timeout_raises": True,
        }  # fmt: skip
        known = wandb.Settings.model_fields
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run,
            id=identity,
            dir=os.environ.get("WANDB_DIR") or str(self.folder),
            config=config,
            resume="allow" if again else None,
            reinit="create_new",
            settings=wandb.Settings(**{k: v for k, v in wanted.items() if k in known}),
        )
        self.run.define_metric("*", step_metric="update")
        if mode == "offline":
            return f"{self.run.settings.sync_dir}, which `wandb sync` would send"
        return str(self.run.url or mode)

    def log(self, lines: list[Line]) -> None:
        """As ``Tracker``."""
        for update, numbers in by_update(lines):
            self.run.log(numbers | {"update": update})

    def close(self, found: dict[str, Any] | None) -> None:
        """As ``Tracker``."""
        if found:
            self.run.summary.update(scores_of(found) | {"verdicts": words_of(found)})
        self.run.finish(exit_code=0 if found else 1)


class Trackio:
    """Trackio, in its own folder on this machine (``TRACKIO_DIR``), in project ``levelburst``."""

    resumes = True

    def __init__(self, folder: Path):
        self.folder = folder

    def start(self, run: str, config: dict[str, Any], identity: str, again: bool) -> str:
        """As ``Tracker``."""
        trackio = importlib.import_module("trackio")
        with contextlib.redirect_stdout(sys.stderr):  # standard output holds results only
            self.run: Any = trackio.init(
                project=PROJECT,
                name=f"{run}-{identity}",  # the name is what it finds a run by
                config=config,
                resume="allow" if again else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return f"trackio show --project {PROJECT}"

    def log(self, lines: list[Line]) -> None:
        """As ``Tracker``."""
        for update, numbers in by_update(lines):
            self.run.log(numbers, step=update)

    def close(self, found: dict[str, Any] | None) -> None:
        """As ``Tracker``."""
        if found:
            outcome = scores_of(found) | {"verdicts": words_of(found)}
            self.run.log(outcome, step=found["config"]["updates"])
        with contextlib.redirect_stdout(sys.stderr):
            self.run.finish()


class TensorBoard:
    """Event files in ``tensorboard/`` in the run's folder."""

    resumes = False  # what an earlier session wrote goes: it may hold cells that are trained again

    def __init__(self, folder: Path):
        self.path = folder / "tensorboard"

    def start(self, run: str, config: dict[str, Any], identity: str, again: bool) -> str:
        """As ``Tracker``."""
        files = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self.proto = {
            name: importlib.import_module(f"tensorboard.compat.proto.{name}_pb2")
            for name in ("event", "summary", "tensor", "types")
        }
        for old in self.path.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer: Any = files.EventFileWriter(str(self.path))
        table = ["| field | value |", "| --- | --- |"]
        table += [f"| {field} | {value} |" for field, value in config.items()]
        self._text("config", "\n".join(table))
        self.writer.flush()
        return f"tensorboard --logdir {self.path}"

    def log(self, lines: list[Line]) -> None:
        """As ``Tracker``."""
        for update, numbers in by_update(lines):
            self._scalars(update, numbers)
        self.writer.flush()

    def close(self, found: dict[str, Any] | None) -> None:
        """As ``Tracker``."""
        if found:
            self._scalars(found["config"]["updates"], scores_of(found))
            self._text("verdicts", words_of(found).replace("\n", "\n\n"))
        self.writer.close()

    def _scalars(self, update: int, numbers: dict[str, float]) -> None:
        value = self.proto["summary"].Summary.Value
        self._add(update, [value(tag=tag, simple_value=x) for tag, x in numbers.items()])

    def _text(self, tag: str, text: str) -> None:
        """Markdown, which TensorBoard's page of texts shows."""
        summary, kind = self.proto["summary"], self.proto["types"].DT_STRING
        plugin = summary.SummaryMetadata.PluginData(plugin_name="text")
        tensor = self.proto["tensor"].TensorProto(dtype=kind, string_val=[text.encode()])
        tensor.tensor_shape.dim.add(size=1)
        metadata = summary.SummaryMetadata(plugin_data=plugin)
        self._add(0, [summary.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])

    def _add(self, step: int, values: list[Any]) -> None:
        summary = self.proto["summary"].Summary(value=values)
        event = self.proto["event"].Event(wall_time=time.time(), step=step, summary=summary)
        self.writer.add_event(event)


TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "wandb": Wandb,
    "trackio": Trackio,
    "tensorboard": TensorBoard,
}
"""name, which is that of its package, too -> the tracker of a run's folder."""


def need(names: tuple[str, ...]) -> None:
    """Raises ConfigError where the package of a tracker is not installed; imports none."""
    for name in names:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:  # a mere folder of that name has no origin
            raise ConfigError(f"--log {name} needs a package: pip install 'levelburst[log]'")


def by_update(lines: Iterable[Line]) -> list[tuple[int, dict[str, float]]]:
    """Lines of metrics.jsonl as ``(update, {"bursty/seed0/loss": number, …})``, in order; what is
    no finite number is left out."""
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        place = [line["arm"].replace(":", "-"), f"seed{line['seed']}"]
        if line["kind"] == "evaluation":
            place += [line["split"], f"k{line['demos']}"]
        numbers = found.setdefault(line["update"], {})
        for field, value in line.items():
            if field in ("seed", "update", "demos") or not _number(value):
                continue
            numbers["/".join([*place, field])] = value
    return sorted(found.items())


def scores_of(found: dict[str, Any]) -> dict[str, float]:
    """What results.json says of a run as ``{"final/bursty/unseen-level/k1": score, …}``: means over
    seeds, all families together, whole demonstrations and sampled actions."""
    seeds: dict[str, list[float]] = {}
    for row in found["rows"]:
        kind = (row["family"], row["demonstrations"], row["acting"])
        if kind == ("all", "whole", "sampled") and _number(row["score"]):
            arm = row["arm"].replace(":", "-")
            seeds.setdefault(f"final/{arm}/{row['split']}/k{row['demos']}", []).append(row["score"])
    return {place: sum(values) / len(values) for place, values in seeds.items()}


def words_of(found: dict[str, Any]) -> str:
    """The verdicts of results.json, a line each."""
    marks = {True: "holds", False: "does not hold", None: "undecided"}
    lines = []
    for verdict in found["verdicts"]:
        low, high = verdict["low"], verdict["high"]
        span = f" [{low:.2f}, {high:.2f}]" if _number(low) and _number(high) else ""
        mark = marks[verdict["holds"]]
        lines.append(f"{mark}: {verdict['claim']}: {verdict['estimate']:.2f}{span}")
    return "\n".join(lines)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
