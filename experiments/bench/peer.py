"""A rival in a process of its own, asked over standard input and output, one JSON line each.

It computes only while it is asked, so both sides stay warm and never run at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.bench.peers import HOME, PINS

PATIENCE = 600.0  # seconds that a rival may take for one answer
SCRIPTS = Path(__file__).parent / "peers"
STAMP = "levelburst-pins.txt"


class PeerError(RuntimeError):
    """A rival that is not there, or broke down; one line."""


class Peer:
    """One running rival; a context manager that ends it.

    Attributes:
        name: for its messages.
    """

    def __init__(self, name: str, command: Sequence[str], patience: float = PATIENCE):
        self.name, self.patience = name, patience
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the rival
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.complaints,
                env=kept,
            )
        except OSError as error:
            self.complaints.close()
            raise PeerError(f"{name} does not start: {error}") from None

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, call: str, **arguments: Any) -> Any:
        """What the rival answers.

        Raises:
            PeerError: it raised an error, ended, spoke no JSON or took longer than its patience.
        """
        assert self.process.stdin and self.process.stdout
        request = json.dumps({"call": call, "arguments": arguments}) + "\n"
        try:
            self.process.stdin.write(request.encode())
            self.process.stdin.flush()
        except OSError:
            raise self._ended() from None
        if not select.select([self.process.stdout], [], [], self.patience)[0]:
            self.process.kill()
            raise PeerError(f"{self.name} did not answer {call} in {self.patience:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            answer = json.loads(line)
        except ValueError:
            raise PeerError(f"{self.name} answered {line[:80]!r}, which is no JSON") from None
        if "error" in answer:
            raise PeerError(f"{self.name}: {' '.join(answer['error'].split())[:300]}")
        return answer["value"]

    def run(self) -> float:
        """Seconds of one go, as the rival itself took them."""
        return self.ask("run", times=1)[0]

    def close(self) -> None:
        """Ends the rival."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.complaints.close()

    def _ended(self) -> PeerError:
        code = self.process.wait()
        self.complaints.seek(0)
        lines = self.complaints.read().decode(errors="replace").strip().splitlines()
        last = lines[-1][:300] if lines else "it said nothing"
        return PeerError(f"{self.name} ended with code {code}: {last}")


class Peers:
    """The rivals' environments below one folder.

    Attributes:
        root: the folder.
        failed: environment -> why it could not be installed.
    """

    def __init__(self, root: Path):
        self.root = root
        self.failed: dict[str, str] = {}

    @classmethod
    def default(cls) -> Peers:
        """Below ``$XDG_CACHE_HOME``, or ``~/.cache``."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(home / "levelburst" / "peers")

    def install(self, say: Callable[[str], None]) -> None:
        """Makes the environments that are not there with these very pins; one that cannot be made
        is written down in ``failed``."""
        for name, pins in PINS.items():
            if self._ready(name):
                continue
            say(f"installing {', '.join(pins)} into {self.root / name}")
            try:
                self._make(name, pins)
            except PeerError as error:
                self.failed[name] = str(error)
                say(f"rivals of {name}: {error}")

    def open(self, script: str) -> Peer:
        """Starts a rival.

        Raises:
            PeerError: its environment is not there.
        """
        home = HOME[script]
        if home and not self._ready(home):
            reason = self.failed.get(home, "not installed; levelburst bench --peers installs it")
            raise PeerError(reason)
        python = self._python(home) if home else Path(sys.executable)
        # Ignore what would lead the rival to other packages than its own.
        return Peer(script, [str(python), "-E", "-s", str(SCRIPTS / f"{script}.py")])

    def _python(self, name: str) -> Path:
        return self.root / name / ("Scripts" if os.name == "nt" else "bin") / "python"

    def _ready(self, name: str) -> bool:
        stamp = self.root / name / STAMP
        return stamp.is_file() and stamp.read_text(encoding="utf-8").split() == list(PINS[name])

    def _make(self, name: str, pins: tuple[str, ...]) -> None:
        target = self.root / name
        try:
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PeerError(f"{target} cannot be made: {error}") from None
        _call([sys.executable, "-m", "venv", str(target)], "python -m venv")
        install = [str(self._python(name)), "-m", "pip", "install", "--quiet", *pins]
        _call(install, "pip install " + " ".join(pins))
        (target / STAMP).write_text("\n".join(pins) + "\n", encoding="utf-8")


def _call(command: list[str], words: str) -> None:
    """Runs a command to its end; raises PeerError with the last line that it complained with."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerError(f"{words} failed: {error}") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise PeerError(f"{words} failed: {errors[0][:300]}")
