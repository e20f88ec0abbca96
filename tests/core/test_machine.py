"""What a process may use of its machine, told by files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from engine.machine import affinity_cores, granted_cores, granted_memory_bytes

GIB = 2**30
CORES, MEMORY = 8, 16 * GIB


@pytest.fixture(autouse=True)
def big_machine(monkeypatch):
    """Eight cores and 16 GiB, whatever runs the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CORES)), raising=False)
    total = psutil.virtual_memory()._replace(total=MEMORY)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: total)


def written(folder: Path, **limits: str) -> Path:
    """A group's folder; `_` after the first word stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, limit in limits.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{limit}\n")
    return folder


def process(folder: Path, cgroup: str, *mounts: tuple[str, Path, str]) -> Path:
    """What /proc/self holds: membership, and mounts as (part of the tree, folder, type)."""
    proc = written(folder / "proc")
    (proc / "cgroup").write_text(cgroup)
    lines = ["22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw"]
    lines += [
        f"{32 + number} 31 0:29 {root} {mount} rw,relatime shared:9 - {kind}"
        for number, (root, mount, kind) in enumerate(mounts)
    ]
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    return proc


V2 = "cgroup2 cgroup2 rw,nsdelegate"


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("50000 100000", 0.5),
        ("150000 100000", 1.5),
        ("max 100000", CORES),
        ("1600000 100000", CORES),
    ],
)
def test_machine_container_of_v2_has_its_quota_of_cores(tmp_path, limit, cores):
    group = written(tmp_path / "fs", cpu_max=limit)
    assert granted_cores(process(tmp_path, "0::/\n", ("/", group, V2))) == cores


@pytest.mark.parametrize(
    ("limit", "memory"),
    [(str(2 * GIB), 2 * GIB), ("max", MEMORY), (str(64 * GIB), MEMORY)],
)
def test_machine_container_of_v2_has_its_limit_of_memory(tmp_path, limit, memory):
    group = written(tmp_path / "fs", memory_max=limit)
    assert granted_memory_bytes(process(tmp_path, "0::/\n", ("/", group, V2))) == memory


def test_machine_tightest_group_above_the_process_counts(tmp_path):
    written(tmp_path / "fs")
    written(tmp_path / "fs" / "user.slice", cpu_max="100000 100000", memory_max=str(GIB))
    written(tmp_path / "fs" / "user.slice" / "job", cpu_max="300000 100000", memory_max="max")
    written(tmp_path / "fs" / "other", cpu_max="10000 100000", memory_max="1")
    proc = process(tmp_path, "0::/user.slice/job\n", ("/", tmp_path / "fs", V2))
    assert granted_cores(proc) == 1.0
    assert granted_memory_bytes(proc) == GIB


@pytest.mark.parametrize(("quota", "cores"), [("75000", 1.5), ("-1", CORES)])
def test_machine_container_of_v1_has_its_quota_of_cores(tmp_path, quota, cores):
    group = written(tmp_path / "cpu", cpu_cfs_quota_us=quota, cpu_cfs_period_us="50000")
    written(tmp_path / "memory", memory_limit_in_bytes="1")
    proc = process(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        ("/docker/abc", group, "cgroup cgroup rw,cpu,cpuacct"),
        ("/docker/abc", tmp_path / "memory", "cgroup cgroup rw,memory"),
    )
    assert granted_cores(proc) == cores


@pytest.mark.parametrize(
    ("limit", "memory"), [(str(3 * GIB), 3 * GIB), ("9223372036854771712", MEMORY)]
)
def test_machine_container_of_v1_has_its_limit_of_memory(tmp_path, limit, memory):
    written(tmp_path / "memory" / "docker" / "abc", memory_limit_in_bytes=limit)
    mount = ("/", tmp_path / "memory", "cgroup cgroup rw,memory")
    assert granted_memory_bytes(process(tmp_path, "4:memory:/docker/abc\n", mount)) == memory


def test_machine_mount_that_does_not_show_the_group_is_asked_itself(tmp_path):
    """A container whose process knows its path on the host, and sees only its own group."""
    group = written(tmp_path / "fs", cpu_max="100000 100000")
    proc = process(tmp_path, "0::/system.slice/abc.scope\n", ("/../..", group, V2))
    assert granted_cores(proc) == 1.0


def test_machine_group_outside_of_the_mount_is_passed_over(tmp_path):
    group = written(tmp_path / "fs", cpu_max="100000 100000")
    assert granted_cores(process(tmp_path, "0::/../sibling\n", ("/", group, V2))) == CORES


@pytest.mark.parametrize("limit", ["", "nonsense", "50000", "50000 0", "-1 100000", "max"])
def test_machine_limit_that_is_not_understood_limits_nothing(tmp_path, limit):
    group = written(tmp_path / "fs", cpu_max=limit, memory_max="no number")
    proc = process(tmp_path, "nonsense\n0::/\n", ("/", group, V2))
    assert granted_cores(proc) == CORES
    assert granted_memory_bytes(proc) == MEMORY


def test_machine_without_the_kernels_files_has_its_affinity_and_all_memory(tmp_path):
    assert granted_cores(tmp_path / "nothing") == CORES
    assert granted_memory_bytes(tmp_path / "nothing") == MEMORY


def test_machine_affinity_counts_the_cores_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert affinity_cores() == 1
    assert granted_cores(tmp_path / "nothing") == 1.0


def test_machine_without_affinity_counts_all_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert affinity_cores() == 6
