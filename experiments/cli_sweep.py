"""The command ``levelburst sweep``: many comparisons, over a grid or a search of settings."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import sweep_cluster, sweep_file
from experiments.errors import ConfigError
from experiments.sweep_spec import Range, SweepSpec, word, words

if TYPE_CHECKING:
    from experiments.sweep_folder import SweepFolder, Trial

SHOWN = 10  # lines of the table in the terminal


@dataclasses.dataclass(frozen=True)
class SweepCommand:
    """Runs comparisons over a grid or a search of settings, each in a process of its own, on Ray:
    in this process, listening on 127.0.0.1 only, or on a cluster. Needs the extra `sweep`."""

    spec: Path
    """TOML file of the sweep, as experiments/cloud/sweep.toml; the flag may be left out."""
    out: str = ""
    """Folder of the sweep; by default runs/sweep-NAME."""
    address: str = ""
    """HOST:PORT of a Ray cluster that this machine belongs to; empty runs here."""
    resume: bool = False
    """Go on with the sweep in the folder: what is finished stays, what was cut short goes on."""
    overwrite: bool = False
    """Use the folder even if it holds a sweep, which is deleted first."""
    dashboard: bool = False
    """Start Ray's dashboard, too, on 127.0.0.1 and behind a token."""
    dry_run: bool = False
    """Only say which trials would run."""


Parse = Callable[..., Any]


def run(arguments: list[str], parse: Parse, cores: int) -> int:
    """Runs the command and returns the exit code: 1 where no trial finished or a process died too
    often, 130 on Ctrl-C.

    Args:
        arguments: the words after ``sweep``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.
        cores: that this process may use.

    Raises:
        ConfigError: a person's mistake; nothing was started.
    """
    words_ = ["--spec", *arguments] if arguments and arguments[0][:1] != "-" else arguments
    given = parse(SweepCommand, "sweep", words_)
    spec = sweep_file.read(given.spec)
    if given.dry_run:
        print(plan(spec))
        return 0
    path = Path(given.out or Path("runs") / f"sweep-{spec.name}")
    _check(given, spec, path, cores)
    from experiments.sweep_folder import SweepFolder

    if given.resume:
        begun = SweepFolder.open(path)
        begun.refuse_links()
        begun.go_on(spec)
    else:
        SweepFolder.refuse(path, overwrite=given.overwrite)
    if given.address:
        sweep_cluster.reach(given.address)
    if given.resume:
        folder = SweepFolder.open(path)
    else:
        if (path / ".lock").exists():
            with SweepFolder(path).alone():  # what is running is not deleted
                pass
        folder = SweepFolder.create(path, overwrite=given.overwrite)
        folder.begin(spec, shlex.join(["levelburst", "sweep", *arguments]))
    with folder.alone():
        try:
            return _run(given, spec, folder, cores)
        except ConfigError:  # a mistake that only Ray shows
            if not given.resume:
                folder.discard()
            raise


def _check(given: SweepCommand, spec: SweepSpec, path: Path, cores: int) -> None:
    if given.resume and given.overwrite:
        raise ConfigError("--resume keeps what the folder holds, --overwrite deletes it; say one")
    if given.resume and not path.exists():
        raise ConfigError(f"--resume: there is no sweep at {path}; leave --resume out to begin one")
    if given.dashboard and given.address:
        raise ConfigError("--dashboard: a cluster has its own; leave it out with --address")
    if not given.address and spec.sweep.cpus > cores:
        raise ConfigError(
            f"{given.spec}: [sweep]: cpus is {spec.sweep.cpus}, and this machine has {cores}; "
            "lower it, or name a cluster with --address"
        )
    sweep_cluster.need_extra(spec.sweep.method)
    if given.dashboard:
        sweep_cluster.need_dashboard()


def _run(given: SweepCommand, spec: SweepSpec, folder: SweepFolder, cores: int) -> int:
    sweep_cluster.prepare(given.address)
    try:
        from experiments import sweep
        from experiments.sweep_search import planned
    except ImportError as error:  # Ray is there without Tune, or Tune without what it needs
        raise ConfigError(f"a sweep needs {error.name}: pip install 'levelburst[sweep]'") from None
    from experiments.sweep_report import write_sweep_report

    trials = folder.load() or planned(spec)
    for trial in trials:
        if not trial.over:  # the process that would have said so may be gone
            folder.conclude(spec, trial)
            trial.attempts = trial.attempts if trial.over else 0
    folder.save(trials)
    done = sum(trial.over for trial in trials)
    count = len(trials) if spec.sweep.method == "grid" else max(spec.sweep.trials, len(trials))
    where = f"the cluster at {given.address}" if given.address else "this machine"
    print(
        f"levelburst sweep {spec.name}: {count} trials, {done} of them done, on {where}; "
        f"objective: {spec.objective.words} ({spec.objective.mode}); folder {folder.path}",
        flush=True,
    )
    if done < count:
        token = folder.path / "dashboard-token" if given.dashboard else None
        try:
            with (
                warnings.catch_warnings(action="ignore"),
                folder.aside(),
                sweep_cluster.cluster(spec.sweep, given.address, cores, token) as page,
            ):
                if page:
                    print(f"dashboard http://{page}, its token is in {token}", file=sys.stderr)
                sweep.run(spec, folder, trials, (os.getcwd(),))
        except KeyboardInterrupt:
            done = sum(trial.over for trial in trials)
            again = shlex.join(_again(given))
            print(
                f"\nlevelburst: interrupted; {done} finished trials are kept in {folder.path}, "
                f"go on with: {again}",
                file=sys.stderr,
            )
            return 130
    found = folder.gather(spec, trials)
    report = write_sweep_report(folder.path)
    print(table(spec, trials))
    if found["best"]:
        print(f"\nbest    {found['best']}: {shlex.join(found['command'])}")
    print(f"report  {report}\nresults {folder.path / 'results.json'}")
    return _trouble(given, folder, trials, bool(found["best"]))


def _trouble(given: SweepCommand, folder: SweepFolder, trials: list[Trial], found: bool) -> int:
    """Says what went wrong, if it did; the exit code."""
    failed = [trial for trial in trials if trial.status == "failed"]
    bad = failed or ([] if found else trials)
    if not bad:
        return 0
    what = f"{len(failed)} trials failed" if failed else "no trial finished"
    line = f"levelburst: {what}; {bad[0].name}: {bad[0].message}"
    if failed:
        error = folder.runs / bad[0].name / "error.txt"
        line += f" (see {error}); try again with: {shlex.join(_again(given))}"
    print(line, file=sys.stderr)
    return 1


def _again(given: SweepCommand) -> list[str]:
    """The same command, going on."""
    words_ = ["levelburst", "sweep", str(given.spec)]
    words_ += ["--out", given.out] if given.out else []
    words_ += ["--address", given.address] if given.address else []
    return [*words_, "--resume"]


def plan(spec: SweepSpec) -> str:
    """What would run, for people."""
    sweep = spec.sweep
    needs = ", ".join(f"{n:g} {name}" for name, n in sweep_cluster.request(sweep).items())
    lines = [f"sweep {spec.name}, preset {spec.preset}; each trial takes {needs}"]
    lines.append(f"objective: {spec.objective.words} ({spec.objective.mode})")
    if spec.fixed:
        lines.append(f"fixed: {words(spec.fixed)}")
    if sweep.asha:
        lines.append(
            f"early stopping: after {sweep.asha.grace:.0%} of its tests, one trial in "
            f"{sweep.asha.reduction} goes on at each rung"
        )
    if sweep.method == "grid":
        points = [f"trial-{i:03d}  {words(point)}" for i, point in enumerate(spec.points())]
        return "\n".join([*lines, f"{len(points)} trials:", *points])
    lines.append(f"{sweep.trials} trials that Optuna chooses (seed {sweep.seed}) from:")
    for field, values in spec.search.items():
        if isinstance(values, Range):
            more = ", logarithmic" if values.log else f", by {values.step:g}" * bool(values.step)
            lines.append(f"  {field}: {word(values.low)} to {word(values.high)}{more}")
        else:
            lines.append(f"  {field}: {' | '.join(word(value) for value in values)}")
    return "\n".join(lines)


def table(spec: SweepSpec, trials: list[Trial]) -> str:
    """The trials as text, the best first."""
    sign = 1 if spec.objective.mode == "max" else -1
    worst = float("-inf")

    def place(trial: Trial) -> tuple[bool, float]:
        value = worst if trial.objective is None else sign * trial.objective
        return (trial.status != "finished", -value)

    lines = [f"{'trial':<12}{'objective':>18}  {'status':<10}settings"]
    for trial in sorted(trials, key=place)[:SHOWN]:
        value = "–" if trial.objective is None else f"{trial.objective:.3f}"
        if trial.high is not None and trial.objective is not None:
            value += f" ± {trial.high - trial.objective:.3f}"
        lines.append(f"{trial.name:<12}{value:>18}  {trial.status:<10}{words(trial.settings)}")
    if len(trials) > SHOWN:
        lines.append(f"… and {len(trials) - SHOWN} more, in the report")
    return "\n".join(lines)
