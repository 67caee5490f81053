"""The command line: ``levelburst COMMAND``.

Arguments are checked before JAX is imported. Wrong input: exit code 2 and one line.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from experiments import positions, stopping
from experiments.config import CompareConfig, check, from_stored, with_suites
from experiments.errors import ConfigError
from experiments.flags import parse as _parse
from experiments.flags import positional as _positional
from experiments.presets import COST, preset_in, refuse_on_cpu
from experiments.processes import Processes, agree, check_devices, joined, leaving
from experiments.trackers import need

USAGE = """usage: levelburst COMMAND [OPTIONS]

  compare         train every arm on the same transitions, test it k-shot, say what holds
                  --preset smoke | quick | ladder | paper, and any field as a flag (--help)
  collect         write the groups that a comparison trains on to a store; what was cut short goes
                  on with the same command
  store           info, verify, merge, export and import of stores
  resume RUN      go on with a comparison that was cut short, from its newest checkpoint
  evaluate RUN    test the checkpoints of a run again
  report RUN …    write report.html and figure.svg again; of several runs, one page about all
  study NAME      vary the main job along an axis, and say which of the literature's orderings
                  hold; without a name it lists them, `all` runs them all (--dry-run: the cost)
  signals         grade step signals against the oracle, or train with them, at equal actions;
                  without a word it lists the methods
  sweep SPEC      run comparisons over a grid or a search of settings that a TOML file names, side
                  by side on Ray, here or on a cluster; --dry-run lists them
  runs            list run folders: how far, when, on what, the score; --compare A B says how
                  two runs differ, in their configs and in every score, paired by seed
  envs            list the families: sizes, spaces, levels, oracle; --gallery writes a page of them
                  with pictures and the oracle playing
  envs show NAME  draw a level in the terminal (--level 7), or its film (--gif FILE)
  envs check NAME run the contract over a family of your own: what is broken, and how to mend it
  roofline        predict what limits an update on an accelerator, its speed, memory and cost
  bench           measure this project and its rivals in one run; --peers installs the rivals
                  parts: simulate, contexts, train, decode, disk, compare, scale

Every command explains itself with --help."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A run's folder."""

    run: Path
    """Folder of the run."""


@dataclasses.dataclass(frozen=True)
class ElsewhereConfig(Processes, RunConfig):
    """A run's folder, and the machines that go on with it; it must be in reach of all of them."""

    devices: int = -1
    """Devices of each process; -1 keeps the run's."""
    data: int = -1
    """Devices that share the contexts of one run; -1 keeps the run's."""
    model: int = -1
    """Devices that split the heads and perceptrons of one run; -1 keeps the run's."""


@dataclasses.dataclass(frozen=True)
class ResumeConfig(ElsewhereConfig):
    """Goes on with a run as it was begun, on these machines or others."""

    checkpoint: int = -1
    """Update to go on from, of trainings that were cut short; -1 takes the newest checkpoint that
    is intact."""


@dataclasses.dataclass(frozen=True)
class EvaluateRunConfig(ElsewhereConfig):
    """Tests the checkpoints of a run again, as they were tested or with other sizes."""

    levels: int = 0
    """Test levels of each family and split, a multiple of 16; 0 keeps the run's."""
    episodes: int = 0
    """Episodes of each level; 0 keeps the run's."""
    demos: int = -1
    """K, demonstrations at most; -1 keeps the run's."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; exits the interpreter."""
    sys.path.append(os.getcwd())  # where a family of one's own may lie
    stopping.listen()
    with leaving():
        sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Runs a command line and returns the exit code."""
    commands = {
        "compare": _compare,
        "collect": _collect,
        "store": _store,
        "resume": _resume,
        "evaluate": _evaluate,
        "report": _report,
        "envs": _envs,
        "roofline": _roofline,
        "bench": _bench,
        "study": _study,
        "signals": _signals,
        "sweep": _sweep,
        "runs": _runs,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    try:
        if arguments[0] not in commands:
            raise ConfigError(f"unknown command {arguments[0]!r}; use one of {', '.join(commands)}")
        return commands[arguments[0]](arguments[1:])
    except ConfigError as error:
        print(f"levelburst: {error}", file=sys.stderr)
        return 2
    except (OSError, FloatingPointError) as error:
        print(f"levelburst: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        told = "; ".join(["interrupted", *getattr(stop, "__notes__", ())])
        print(f"\nlevelburst: {told}", file=sys.stderr)
        return stopping.code(stop)


def _compare(arguments: list[str]) -> int:
    config = with_suites(_parse(CompareConfig, "compare", arguments, preset_in(arguments, "quick")))
    if config.store:  # a run may go on from elsewhere
        config = dataclasses.replace(config, store=str(Path(config.store).absolute()))
    check(config)
    need(config.log if config.process <= 0 else ())
    from experiments.creation import create, stored  # after the check: nothing is created before
    from experiments.folder import RunFolder

    path = Path(config.out or _fresh(Path("runs"), f"compare-{config.preset}"))
    if config.process <= 0:
        RunFolder.refuse(path, overwrite=config.overwrite)
    same = stored(config) | {"store": positions.settings(config)["store"]}  # each reads its own
    with joined(config, same) as own:
        config = dataclasses.replace(config, processes=own.processes, process=own.process)
        if own.process == 0:
            told = f"levelburst compare, preset {config.preset}: {COST[config.preset]}"
            print(f"{told}; run folder {path}")
        progress = _progress(config)
        if _prepare_jax(config) == "cpu":
            refuse_on_cpu(config)
        job = create(config, path, arguments, progress)
        try:
            return _run(config, job.folder, progress, job)
        except ConfigError:  # a mistake that only drawing the levels shows
            if own.process == 0:
                job.folder.discard()
            raise


def _collect(arguments: list[str]) -> int:
    from experiments import cli_collect

    return cli_collect.run(arguments, _parse, _progress, _prepare_jax)


def _store(arguments: list[str]) -> int:
    from experiments import cli_store

    return cli_store.run(arguments, _parse, _quiet_jax)


def _resume(arguments: list[str]) -> int:
    given = _parse(ResumeConfig, "resume", _positional(arguments))
    config, folder = _load(given.run)
    folder.refuse_links()
    config = _elsewhere(config, given)
    check(config)
    positions.check_resumable(folder, config, given.checkpoint)
    from experiments.creation import stored

    with joined(config, stored(config)) as own:
        config = dataclasses.replace(config, processes=own.processes, process=own.process)
        progress = _progress(config)
        _prepare_jax(config)
        return _run(config, folder, progress, checkpoint=given.checkpoint)


def _elsewhere(config: CompareConfig, given: ElsewhereConfig) -> CompareConfig:
    """A run's config on the processes and devices at hand."""
    names = ("coordinator", "processes", "process")
    changes: dict[str, Any] = {name: getattr(given, name) for name in names}
    for name in ("devices", "data", "model"):
        if getattr(given, name) != -1:
            changes[name] = getattr(given, name)
    changes["fsdp"] = config.fsdp and changes.get("data", config.data) > 1
    return dataclasses.replace(config, **changes)


def _run(
    config: CompareConfig, folder: Any, progress: Any, job: Any = None, checkpoint: int = -1
) -> int:
    """Trains and tests; ``job`` is its Comparison, if that is there already."""
    from experiments import compare

    progress.phases.watch()
    progress.phases.enter("generate")
    advice = f"go on with: levelburst resume {folder.path}"
    try:
        with stopping.watched(advice):
            job = job or compare.Comparison(config, folder, progress)
            found = compare.run(job, None, checkpoint)
    except KeyboardInterrupt as stop:
        if config.process <= 0:
            done = len(list(folder.path.glob("cells/*.json")))
            stop.add_note(f"{done} finished cells are kept in {folder.path}, {advice}")
        raise
    if config.process <= 0:
        _conclude(folder.path, found)
    return 0


def _progress(config: CompareConfig) -> Any:
    """The progress of process 0; the others keep quiet. Its clock begins with the imports."""
    from experiments.progress import Progress

    progress = Progress(silent=config.process > 0)
    progress.phases.enter("import")
    return progress


def _conclude(path: Path, found: dict[str, Any]) -> None:
    """Report, figure, and the verdicts in words."""
    from experiments.report import write_figure, write_report
    from experiments.summary import summary

    report = write_report(path)
    figure = write_figure(path, path / "figure.svg")
    print(summary(found))
    print(f"\nreport  {report}\nfigure  {figure}\nresults {path / 'results.json'}")


def _evaluate(arguments: list[str]) -> int:
    given = _parse(EvaluateRunConfig, "evaluate", _positional(arguments))
    config, folder = _load(given.run)
    folder.refuse_links()
    changes = {
        field: value
        for field, value in (
            ("levels", given.levels or None),
            ("episodes", given.episodes or None),
            ("demos", None if given.demos < 0 else given.demos),
        )
        if value is not None
    }
    config = _elsewhere(dataclasses.replace(config, **changes), given)
    check(config)
    from experiments.creation import stored

    with joined(config, stored(config)) as own:
        config = dataclasses.replace(config, processes=own.processes, process=own.process)
        _prepare_jax(config)
        from experiments.again import evaluate_again
        from experiments.compare import Comparison
        from experiments.summary import table

        rows = evaluate_again(Comparison(config, folder, _progress(config)))
    if config.process > 0:
        return 0
    target = folder.write("evaluation.json", {"schema": 1, "changes": changes, "rows": rows})
    print(table(rows))
    print(f"\nrows {target}")
    return 0


def _report(arguments: list[str]) -> int:
    from experiments import cli_report

    return cli_report.run(arguments, _parse, _load, _conclude)


def _envs(arguments: list[str]) -> int:
    from experiments import cli_envs

    return cli_envs.run(arguments, _parse, _quiet_jax)


def _roofline(arguments: list[str]) -> int:
    from experiments import cli_roofline

    return cli_roofline.run(arguments, _parse, _quiet_jax)


def _bench(arguments: list[str]) -> int:
    from experiments import cli_bench

    return cli_bench.run(arguments, _parse, _fresh, _cores)


def _study(arguments: list[str]) -> int:
    from experiments import cli_study

    return cli_study.run(arguments, _parse, _prepare_jax)


def _signals(arguments: list[str]) -> int:
    from experiments import cli_signals

    return cli_signals.run(arguments, _parse, _quiet_jax)


def _sweep(arguments: list[str]) -> int:
    from experiments import cli_sweep

    return cli_sweep.run(arguments, _parse, _cores())


def _runs(arguments: list[str]) -> int:
    from experiments import cli_runs

    return cli_runs.run(arguments, _parse)


def _load(path: Path) -> tuple[CompareConfig, Any]:
    """A run's config and folder."""
    from experiments.folder import RunFolder

    folder = RunFolder.open(path)
    config = from_stored(folder.read("config.json"), path / "config.json")
    check(dataclasses.replace(config, devices=0))  # of a process; how many there were is not kept
    return config, folder


def _fresh(parent: Path, name: str) -> Path:
    """A run folder that does not exist yet, named by the time."""
    stem = parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = stem, 1
    while path.exists():
        count += 1
        path = stem.with_name(f"{stem.name}-{count}")
    return path


def _prepare_jax(config: CompareConfig) -> str:
    """One CPU device a core, and compiled programs kept between runs; returns the backend.

    Raises:
        ConfigError: the devices that there are cannot be shared as the config says.
    """
    _quiet_jax()
    import jax

    wanted = len(config.arms) * config.seeds * config.data * config.model
    own = -(-wanted // max(config.processes, 1))  # of this process; more would have nothing to do
    jax.config.update("jax_num_cpu_devices", min(config.devices or _cores(), own))
    from icl.parallel import Layout

    check_devices(config, len(Layout(devices=config.devices).used()))
    agree("here")  # Gloo gives up where the first exchange finds somebody 30 seconds late
    return jax.default_backend()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quiet_jax() -> None:
    """Few words of JAX, compiled programs kept between runs, garbage looked for less often."""
    # Tracing makes objects by the million and hardly any cycles, which alone are looked for.
    gc.set_threshold(50_000, 20, 20)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not jax.config.values.get("jax_compilation_cache_dir"):
        jax.config.update("jax_compilation_cache_dir", str(home / "levelburst" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


if __name__ == "__main__":
    main()
