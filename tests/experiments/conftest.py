"""What the tests of the command line share: fresh interpreters, and one small run for all."""

import dataclasses
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ("compare", "--preset", "smoke", "--updates", "4", "--report-every", "2")
DEVICES = ("--devices", "2")  # the same programs, and the same waves, on every machine


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@dataclasses.dataclass(frozen=True)
class Levelburst:
    """The command line in an interpreter of its own, started in a folder.

    Attributes:
        cwd: the folder.
        env: environment variables; compiled programs are shared by the runs of a session.
    """

    cwd: Path
    env: dict[str, str]

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "experiments.cli", *map(str, arguments)]

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Starts a command line in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.cwd,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def together(self, count: int, *arguments: object) -> list[subprocess.Popen[str]]:
        """Starts so many processes of one command line, which train together."""
        words = (*arguments, "--coordinator", f"127.0.0.1:{free_port()}", "--processes", count)
        return [self.start(*words, "--process", index) for index in range(count)]

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.cwd,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=900,
        )


@pytest.fixture(scope="session")
def environment(shared) -> dict[str, str]:
    """Variables of the fresh interpreters, which share one cache of compiled programs."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTHONWARNINGS")}
    return kept | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(shared / "cache")}


@pytest.fixture
def levelburst(tmp_path, environment) -> Levelburst:
    """The command line, started in ``tmp_path``."""
    return Levelburst(tmp_path, environment)


@pytest.fixture(scope="session")
def smoke_arguments() -> tuple[str, ...]:
    """The command line of the shared run, without its folder."""
    return (*SMOKE, *DEVICES)


@pytest.fixture(scope="session")
def smoke(shared, environment, smoke_arguments) -> Path:
    """The folder of one finished run; nobody may change it."""
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker waits and takes the same run
        if not (shared / "run").exists():
            done = Levelburst(shared, environment)(*smoke_arguments, "--out", "run")
            assert done.returncode == 0, done.stderr
    return shared / "run"
