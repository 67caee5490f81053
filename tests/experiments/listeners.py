"""What a process and its descendants listen on, as the kernel tells it."""

import os
import socket
import struct
from pathlib import Path

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def family(pid: int) -> set[int]:
    """A process and its descendants."""
    found, parents = {pid}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def addresses(pid: int) -> set[str]:
    """The addresses that a process and its descendants listen on."""
    sockets, found = set(), set()
    for process in family(pid):
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(os.readlink(link))
            except OSError:
                continue
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:  # 0A: it listens
                digits = words[1].partition(":")[0]
                parts = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
                found.add(socket.inet_ntop(kind, struct.pack(f"={len(parts)}I", *parts)))
    return found
