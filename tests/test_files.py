"""Writing whole or not at all: on the disk, and after a process that was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import anyback as ab
from anyback._files import replacing

#: Begins to write, says so, and waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from anyback._files import replacing
from anyback.errors import DataError
with replacing(Path(sys.argv[1]) / "out", DataError) as part:
    part.write_bytes(b"half")
    print(part.name, flush=True)
    time.sleep(600)
"""


def start_writer(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Return a process that is writing into a folder, and its part."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    part = folder / child.stdout.readline().strip()
    assert part.read_bytes() == b"half"
    return child, part


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=60)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path) -> None:
    with replacing(path, ab.DataError) as part:
        part.write_bytes(b"whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot ask for a process without ending it")
def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_of_a_live_one(tmp_path: Path) -> None:
    killed, left = start_writer(tmp_path)
    living, kept = start_writer(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(timeout=60) == -signal.SIGKILL
        kill(killed)
        assert left.exists()
        write(tmp_path / "other")
        assert names_in(tmp_path) == sorted(["other", kept.name])
    finally:
        kill(living)
    write(tmp_path / "other")
    assert names_in(tmp_path) == ["other"]


def test_parts_of_another_host_and_files_of_other_names_stay(tmp_path: Path) -> None:
    child, part = start_writer(tmp_path)
    kill(child)
    token = part.name.rpartition("-")[2]
    names = [
        f".anyback-elsewhere-{child.pid}-{token}",
        f".anyback-{token}",
        part.name.replace(str(child.pid), "9" * 30),
        part.name + ".keep",
        "x" + part.name,
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    part.unlink()
    write(tmp_path / "out")
    assert names_in(tmp_path) == sorted([*names, "out"])


def test_the_file_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    path = tmp_path / "out"

    def fsync(descriptor: int) -> None:
        of = "file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "folder"
        synced.append((of, path.exists()))
        if of == "folder":
            raise PermissionError  # as where folders cannot be synced: the file is written all the same

    monkeypatch.setattr(os, "fsync", fsync)
    write(path)
    assert synced == [("file", False), ("folder", True)]
    assert path.read_bytes() == b"whole"


def test_a_disk_that_fails_while_syncing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ab.DataError, match=r"out cannot be written: Input/output error"):
        write(path)
    assert names_in(tmp_path) == ["out"]
    assert path.read_bytes() == b"old"
