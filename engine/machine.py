"""What this process may use of the machine: its cores and memory, not those of the whole host.

A container, a systemd unit or a job of a batch system often gets a part. The kernel says which in
files: ``/proc/self/cgroup`` names the groups that hold this process, ``/proc/self/mountinfo``
where they are mounted, and each group's folder holds its limits (cgroups(7); v2:
docs.kernel.org/admin-guide/cgroup-v2.html; v1: …/cgroup-v1/memory.html and
scheduler/sched-bwc.html; read 2026-11-22). Limits of the groups above count too. Where a file is
missing or not understood, as on other systems, nothing limits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil

PROC = Path("/proc/self")


class Group(NamedTuple):
    """Where a control group, or one above it, keeps its limits."""

    folder: Path
    is_v2: bool


def affinity_cores() -> int:
    """Return how many cores the process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def granted_cores(proc: Path = PROC) -> float:
    """Return how many cores the process may keep busy, for example 0.5.

    Parameters
    ----------
    proc
        Where the kernel tells of the process.
    """
    return min([float(affinity_cores()), *map(_cores_of, _groups("cpu", proc))])


def granted_memory_bytes(proc: Path = PROC) -> float:
    """Return how much memory the process may have, with all others that its groups hold.

    Parameters
    ----------
    proc
        Where the kernel tells of the process.
    """
    there = float(psutil.virtual_memory().total)
    return min([there, *map(_memory_of, _groups("memory", proc))])


def _cores_of(group: Group) -> float:
    if group.is_v2:
        quota, period = (*_words(group.folder / "cpu.max"), "", "")[:2]
    else:
        quota, period = (
            "".join(_words(group.folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period")
        )
    # No limit is `max` in v2, -1 in v1.
    if quota.isdecimal() and period.isdecimal() and int(period):
        return int(quota) / int(period)
    return math.inf


def _memory_of(group: Group) -> float:
    name = "memory.max" if group.is_v2 else "memory.limit_in_bytes"
    limit = "".join(_words(group.folder / name))
    # No limit is `max` in v2; in v1 a number above what any machine has.
    return float(limit) if limit.isdecimal() else math.inf


def _words(file: Path) -> list[str]:
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="ascii").split()
    return []


def _groups(controller: str, proc: Path) -> Iterator[Group]:
    """Yield the groups that limit the process, the innermost first."""
    for hierarchy, is_v2, own in _memberships(controller, proc):
        for root, mount in _mounts(hierarchy, proc):
            # In a container the mount often shows only a part of the tree, or another name for it.
            inside = own.relative_to(root) if own.is_relative_to(root) else PurePosixPath()
            if ".." in inside.parts:
                continue  # a group that this mount does not show
            for part in (inside, *inside.parents):
                yield Group(mount / part, is_v2)


def _memberships(controller: str, proc: Path) -> Iterator[tuple[str, bool, PurePosixPath]]:
    """Yield the process's groups: kind of hierarchy, whether it is v2, path in it."""
    for line in _lines(proc / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "cgroup2", True, PurePosixPath(path)
        elif controller in controllers.split(","):
            yield controller, False, PurePosixPath(path)


def _mounts(hierarchy: str, proc: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield where a hierarchy is mounted: which part of it, and the folder."""
    for line in _lines(proc / "mountinfo"):
        # 36 35 98:0 ROOT FOLDER rw,noatime shared:1 - TYPE SOURCE OPTIONS
        left, _, right = line.partition(" - ")
        where, kind = left.split(), right.split()
        if len(where) < 5 or len(kind) < 3:
            continue
        is_v1 = kind[0] == "cgroup" and hierarchy in kind[2].split(",")
        if is_v1 or kind[0] == hierarchy == "cgroup2":
            yield PurePosixPath(where[3]), Path(where[4])


def _lines(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    return []
