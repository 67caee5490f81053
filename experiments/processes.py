"""Several processes that train together, on one machine or many, and what each of them does.

All run the same program on the same arguments; process 0 leads: it decides what is left to do,
writes the run's folder, prints and draws. ``joined`` lets them meet at the coordinator's address,
over TCP and before JAX, because JAX's own client aborts the interpreter where somebody is missing;
then it starts ``jax.distributed``. No JAX is imported here before that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from experiments.errors import ConfigError
from experiments.lifeline import GRACE, Lifeline
from experiments.relay import Relay
from experiments.stopping import Together

if TYPE_CHECKING:
    from experiments.config import CompareConfig

AUTO = "auto"
WAIT = 60.0  # seconds that processes wait for one another at the start
SILENCE = 100  # seconds without a sign of life after which a process counts as dead to JAX
AHEAD = "levelburst-compile"  # the name of a thread that only compiles
GO = "go"
Lines = dict[int, socket.socket]  # process -> an open line to it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """Which process this is, of how many; alone by default."""

    coordinator: str = ""
    """HOST:PORT where process 0 listens, if several processes train together (:PORT is loopback);
    `auto` takes all three from Slurm, Kubernetes, Open MPI or a TPU pod."""
    processes: int = 0
    """How many train together."""
    process: int = -1
    """Which of them this is, from 0."""


def check_processes(given: Processes) -> None:
    """Checks what can be checked before anybody listens.

    Raises:
        ConfigError: the address is none, or one of the three is missing or out of range.
    """
    named = {"processes": given.processes != 0, "process": given.process != -1}
    if given.coordinator in ("", AUTO):
        for field in (name for name, is_given in named.items() if is_given):
            raise ConfigError(
                f"{field} {getattr(given, field)}: coordinator {given.coordinator or 'is missing'}"
                + (" finds it out by itself; leave it off" if given.coordinator else
                   "; processes that train together each need --coordinator HOST:PORT, "
                   "--processes N and --process I")
            )  # fmt: skip
        return
    address_of(given)
    for field in (name for name, is_given in named.items() if not is_given):
        raise ConfigError(
            f"coordinator {given.coordinator}: {field} is missing; "
            "give --processes N and --process I, from 0 to N - 1"
        )
    if not 0 <= given.process < given.processes:
        raise ConfigError(
            f"process {given.process} of {given.processes}: use --processes 1 or more and "
            "--process from 0 to processes - 1"
        )


def address_of(given: Processes) -> tuple[str, int]:
    """Host and port of the coordinator.

    Raises:
        ConfigError: it is no HOST:PORT.
    """
    host, colon, port = given.coordinator.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"coordinator {given.coordinator!r}: use HOST:PORT, as 10.0.0.1:7777, or auto"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def check_devices(config: CompareConfig, devices: int | None = None) -> None:
    """Checks that a run's share of the work divides over its share of the devices.

    Args:
        config: what a person asked for.
        devices: used in all, once that is known; by default what the config says of it, if it does.

    Raises:
        ConfigError: something does not divide.
    """
    group = config.data * config.model
    if devices is None and config.devices and config.coordinator != AUTO:
        devices = config.devices * max(config.processes, 1)
    if devices is not None and devices % group:
        raise ConfigError(
            f"data {config.data} x model {config.model} = {group} devices a run do not divide the "
            f"{devices} devices; change one of them (on a CPU --devices {group} makes as many)"
        )
    parts = config.data * config.accumulate
    if config.contexts % parts:
        raise ConfigError(
            f"contexts {config.contexts} cannot be shared by data {config.data} x accumulate "
            f"{config.accumulate} = {parts} parts; use a multiple of {parts}"
        )
    if config.heads % config.model:
        raise ConfigError(
            f"heads {config.heads} cannot be split over model {config.model} devices; "
            "use a multiple or another model"
        )
    if config.fsdp and config.data == 1:
        raise ConfigError("fsdp cuts parameters over data, which is 1 device; raise data")


@contextlib.contextmanager
def joined(given: Processes, settings: Any) -> Iterator[Processes]:
    """Joins the other processes, if there are to be any, for the rest of the interpreter's life;
    yields which process this is.

    Args:
        given: as checked.
        settings: JSON of all that has to be the same in all of them.

    Raises:
        ConfigError: somebody did not come within ``WAIT`` seconds, or came with other settings.
        OSError: (out of the block) another process has ended; it is named.
    """
    if not given.coordinator:
        yield dataclasses.replace(given, processes=1, process=0)
        return
    own = _detected() if given.coordinator == AUTO else given
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    bind, lines = _meet(own, digest, anywhere=given.coordinator == AUTO)
    lifeline = Lifeline(own.process, own.processes, lines)
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
    host, port = address_of(own)
    try:
        jax.distributed.initialize(
            Relay(host, port).address if own.process else _joint(host, port),
            own.processes,
            own.process,
            cluster_detection_method="deactivate" if _alone_on_its_machine() else None,
            initialization_timeout=int(WAIT),
            heartbeat_timeout_seconds=SILENCE,
            coordinator_bind_address=_joint(bind, port),
        )
        yield own
    except ConfigError:  # a person's mistake, which all of them find
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # the latter where it is dispatched
        lost = lifeline.lost()
        if lost is not None:
            raise OSError(lifeline.message(lost)) from None
        if not isinstance(error, jax.errors.JaxRuntimeError):
            raise  # our own
        why = str(error).splitlines()[0]
        raise OSError(f"process {own.process} of {own.processes} cannot go on: {why}") from None
    except Together:  # any other interrupt is this process's alone, and the others have lost it
        lifeline.end()
        raise
    else:
        lifeline.end()


def _joint(host: str, port: int) -> str:
    """HOST:PORT, with brackets round an address that has colons of its own."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Around all that the interpreter does: a process that fails leaves its companions at once,
    so that they fail, too, instead of waiting for it; and waits for no compilation, which cannot be
    called off."""
    try:
        yield
    except BaseException as error:
        jax = sys.modules.get("jax")
        code = error.code if isinstance(error, SystemExit) else 1
        together = jax is not None and jax.distributed.is_initialized()
        compiling = any(thread.name == AHEAD for thread in threading.enumerate())
        if not code or not (together or compiling):
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        if code == 2 and together:
            time.sleep(GRACE)  # a person's mistake, which all find: each may say so
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def leader() -> bool:
    """Whether this process is the one that writes and speaks; JAX has started."""
    import jax

    return jax.process_index() == 0


def agree(value: Any) -> Any:
    """What process 0 says of something that JSON holds, in all processes; all have to ask."""
    import jax
    import numpy as np

    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    size = int(same(np.int32(len(text))))
    block = -(-size // 4096) * 4096  # few sizes, few programs
    padded = np.frombuffer(text[:block].ljust(block), np.uint8)
    return json.loads(same(padded).tobytes())


def same(tree: Any) -> Any:
    """Process 0's arrays, in all processes; theirs are of the same shapes."""
    import jax

    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def any_says(*flags: bool) -> tuple[bool, ...]:
    """Each of the flags, true where it is in any process; all have to ask."""
    import jax
    import numpy as np

    if jax.process_count() == 1:
        return flags
    from jax.experimental import multihost_utils

    said = multihost_utils.process_allgather(np.array(flags, np.int32))
    return tuple(bool(any(own)) for own in np.asarray(said).reshape(-1, len(flags)).T)


def _detected() -> Processes:
    """What the environment that started this process says of the others."""
    from jax._src import clusters  # what jax.distributed.initialize asks, and nothing public

    try:
        address, count, index, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, int(WAIT)
        )
    except Exception as error:  # each environment fails in its own way
        raise ConfigError(f"coordinator auto: {type(error).__name__}: {error}") from None
    if address is None or count is None or index is None:
        raise ConfigError(
            "coordinator auto: no Slurm, Kubernetes, Open MPI or TPU pod is found around this "
            "process; give --coordinator HOST:PORT, --processes and --process"
        )
    return Processes(coordinator=address, processes=count, process=index)


def _alone_on_its_machine() -> bool:
    """Whether Slurm or Open MPI say so: JAX gives each of their processes one accelerator only, so
    that several share those of a machine; one alone is to have them all."""
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # as 1(x4), or 2,1
    return bool(re.fullmatch(r"1(\(x\d+\))?", tasks)) or (
        os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"
    )


def _meet(own: Processes, digest: str, *, anywhere: bool) -> tuple[str, Lines]:
    """Waits until all processes are there; returns the address that the coordinator listens on, and
    the lines that were opened: of process 0 to the others, of them to process 0."""
    end = time.monotonic() + WAIT
    return _receive(own, digest, end, anywhere) if own.process == 0 else _report(own, digest, end)


def _receive(own: Processes, digest: str, end: float, anywhere: bool) -> tuple[str, Lines]:
    """Process 0: hears from every other process, then tells all of them to go on."""
    host, port = address_of(own)
    try:
        bind, server = host, _listen(host, port)
    except OSError as error:
        if not anywhere:
            raise ConfigError(
                f"coordinator {own.coordinator}: process 0 cannot listen there "
                f"({error.strerror or error}); name an address of its machine and a free port"
            ) from None
        bind, server = "0.0.0.0", _listen("0.0.0.0", port)  # a name that only others resolve
    come: dict[int, socket.socket] = {}
    with server, contextlib.ExitStack() as open_lines:
        problem = ""
        while len(come) < own.processes - 1 and not problem:
            server.settimeout(max(end - time.monotonic(), 0.01))
            try:
                line = open_lines.enter_context(server.accept()[0])
                line.settimeout(5)
                said = json.loads(line.makefile().readline(1000))
                index, count, other = (said[x] for x in ("process", "processes", "digest"))
            except TimeoutError:
                if time.monotonic() < end:
                    continue  # a line on which nothing was said
                missing = sorted(set(range(1, own.processes)) - set(come))
                problem = (
                    f"coordinator {own.coordinator}: of {own.processes} processes, "
                    f"{', '.join(map(str, missing))} did not come within {WAIT:.0f} s; start them, "
                    "or lower --processes"
                )
                break
            except (ValueError, KeyError, TypeError, OSError):
                continue  # not one of us
            if count != own.processes or other != digest:
                problem = (
                    f"process {index} was started with other arguments than process 0; give all "
                    "of them the same, but for --process"
                )
            elif index in come:
                problem = f"process {index} was started twice; give each its own --process"
            come[index] = line
        for line in come.values():
            with contextlib.suppress(OSError):
                line.sendall(f"{problem or GO}\n".encode())
        if problem:
            raise ConfigError(problem)
        open_lines.pop_all()
    return bind, come


def _report(own: Processes, digest: str, end: float) -> tuple[str, Lines]:
    """Another process: calls at the coordinator's until it may go on."""
    host, port = address_of(own)
    said = {"process": own.process, "processes": own.processes, "digest": digest}
    while True:
        try:
            with contextlib.ExitStack() as open_line:
                line = socket.create_connection((host, port), timeout=5)
                open_line.enter_context(line)
                line.sendall(f"{json.dumps(said)}\n".encode())
                line.settimeout(WAIT + 5)  # somebody listens, and knows who is missing
                with line.makefile("rb", buffering=0) as said_there:  # and not a byte more
                    answer = said_there.readline(1000).decode().strip()
                if answer == GO:
                    open_line.pop_all()
                    return host, {0: line}
            break
        except (OSError, ValueError):  # nobody there yet, or somebody else
            pass
        if time.monotonic() >= end:
            raise ConfigError(
                f"no coordinator at {own.coordinator} within {WAIT:.0f} s; start process 0 there, "
                "or correct --coordinator"
            )
        time.sleep(0.2)
    raise ConfigError(answer or f"coordinator {own.coordinator} hung up; is it process 0?")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)
