"""A process that ends, as if the machine had, before or after any call into the system."""

import os
import signal
import sys
import types
from collections.abc import Callable

# What a write is made of, as the interpreter calls it; ``write`` and ``close`` are of files.
CALLS = {"open", "write", "close", "fsync", "rename", "replace", "mkdir", "rmdir", "unlink"}


def calls(function: Callable[[], object]) -> int:
    """How many instants there are at which ``function`` can be killed: two a call."""
    count = 0

    def look(frame: types.FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += _is_call(event, argument)

    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def killed(function: Callable[[], object], instant: int) -> bool:
    """Runs ``function`` in a child that is killed at an instant; whether it was."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
        return os.WIFSIGNALED(status)
    try:  # nothing of pytest's may run in here
        left = instant

        def look(frame: types.FrameType, event: str, argument: object) -> None:
            nonlocal left
            if _is_call(event, argument):
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.setprofile(look)
        function()
        sys.setprofile(None)
        os._exit(0)
    except BaseException:
        os._exit(1)


def _is_call(event: str, argument: object) -> bool:
    return event in ("c_call", "c_return") and getattr(argument, "__name__", "") in CALLS
