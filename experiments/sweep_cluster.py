"""Where a sweep runs: Ray in this process, on loopback only, or a cluster that is there already."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.errors import ConfigError
from experiments.sweep_spec import SweepConfig

LOOPBACK = "127.0.0.1"
KNOCK, PROBE = 10, 40  # seconds until an address counts as dead; together less than a minute
STORE = 100 * 2**20  # bytes of Ray's object store: trials share no objects
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}
ATTEMPT = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="CRITICAL", log_to_driver=False)
"""


def need_extra(method: str) -> None:
    """Raises ConfigError where the extra is not installed. Imports nothing."""
    needed = ("ray", "optuna") if method == "optuna" else ("ray",)
    for name in needed:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"a sweep needs the package {name}: pip install 'levelburst[sweep]', or from a "
                "checkout pip install -e '.[sweep]'"
            )


def need_dashboard() -> None:
    """Raises ConfigError where Ray's dashboard is not installed."""
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError(
            "--dashboard needs more of Ray than a sweep does: pip install 'ray[default]', or leave "
            "--dashboard out"
        )


def reach(address: str) -> None:
    """Finds out whether a Ray cluster answers, in less than a minute.

    Raises:
        ConfigError: the address is none, or no cluster that this machine belongs to answers.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"--address {address}: expected HOST:PORT, as `ray start --head` prints it"
        )
    again = "start the cluster with `ray start --head`, or leave --address out to run here"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ConfigError(
            f"--address {address}: nothing answers there ({reason}); {again}"
        ) from None
    # Ray may wait for minutes, or end the process, where something else than Ray answers.
    try:
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPT, address],
            capture_output=True, text=True, timeout=PROBE, env=os.environ | SILENT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"--address {address}: no Ray cluster answers there within {PROBE} s; {again}"
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = next((x for x in reversed(lines) if "Error" in x.split(":")[0]), "no reason given")
        raise ConfigError(
            f"--address {address}: Ray cannot join the cluster there ({said[:200]}); is this one "
            f"of its machines? {again}"
        )


def prepare(address: str) -> None:
    """Sets what Ray reads from the environment, in part while it is imported: call it before.

    Without an address Ray is to listen on loopback only, and to ask whoever connects, other users
    of this machine among them, for a token of this process's own.
    """
    os.environ.update(SILENT)
    if address:
        return
    root = str(Path(__file__).resolve().parents[1])
    os.environ |= {
        # Without it Ray takes loopback for a mistake, and listens on all interfaces.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Trials import this very code.
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
    }


@contextlib.contextmanager
def cluster(sweep: SweepConfig, address: str, cores: int, dashboard: Path | None) -> Iterator[str]:
    """Ray, for the time of a ``with`` block; ``prepare`` comes first.

    Args:
        sweep: what a trial needs.
        address: of a cluster; empty starts Ray in this process.
        cores: that trials may use here.
        dashboard: a file for the token where a dashboard is wanted, here only.

    Yields:
        The address of the dashboard; empty without one.

    Raises:
        ConfigError: this machine does not have what a trial needs.
        OSError: Ray does not start.
    """
    import ray

    home = None
    options: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
    if address:
        options["address"] = address
    else:
        home = tempfile.mkdtemp(prefix="levelburst-", dir="/tmp")  # sockets take short paths only
        options |= {
            "address": "local",
            "num_cpus": cores,
            "object_store_memory": STORE,
            "include_dashboard": dashboard is not None,
            "dashboard_host": LOOPBACK,
            "_node_ip_address": LOOPBACK,
            "_temp_dir": home,
        }
    try:
        try:
            context: Any = ray.init(**options)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise OSError(f"Ray does not start: {lines[0]}") from None
        if not address:
            _check_here(sweep, ray, context.address_info["node_ip_address"])
        if dashboard is not None:
            dashboard.touch(0o600)
            dashboard.write_text(os.environ["RAY_AUTH_TOKEN"], encoding="utf-8")
        yield context.dashboard_url or "" if dashboard is not None else ""
    finally:
        ray.shutdown()
        if dashboard is not None:
            dashboard.unlink(missing_ok=True)
        if home:
            shutil.rmtree(home, ignore_errors=True)


def _check_here(sweep: SweepConfig, ray: Any, ip: str) -> None:
    if ip != LOOPBACK:
        raise OSError(f"Ray listens on {ip} and not on {LOOPBACK} only, so no sweep is started")
    there = ray.cluster_resources()
    for name, amount in request(sweep).items():
        if amount > there.get(name, 0):
            raise ConfigError(
                f"[sweep]: a trial needs {amount:g} {name}, and this machine has "
                f"{there.get(name, 0):g}; ask for less, or name a cluster with --address"
            )


def request(sweep: SweepConfig) -> dict[str, float]:
    """What a trial needs, by Ray's names."""
    found = {"CPU": float(sweep.cpus), "GPU": sweep.gpus, "TPU": float(sweep.tpus)}
    return {name: amount for name, amount in (found | sweep.resources).items() if amount}
