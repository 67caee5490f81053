"""The rival's half of the protocol: JSON lines on standard input, one answer a line.

Runs in the rival's own environment, so it imports the standard library only. A request is
``{"call": name, "arguments": {...}}``; the answer is ``{"value": ...}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]


def serve(calls: dict[str, Call]) -> None:
    """Answers requests until standard input ends. What a call prints goes to standard error, so
    that nothing but answers is on the line."""
    line = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # in order with what is complained
    for text in sys.stdin:
        request = json.loads(text)
        try:
            answer = {"value": calls[request["call"]](**request["arguments"])}
        except Exception as error:  # whatever it is, it is the asker's to tell
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=line, flush=True)


def clock(function: Callable[[], Any], times: int = 1) -> list[float]:
    """Seconds of each of ``times`` calls; ``function`` returns when its work is done."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return found
