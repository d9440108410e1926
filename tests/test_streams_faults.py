"""A job in shards on a disk that fails, under kills, beside itself, and with files that are not its own."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anyback as ab
from anyback import _files
from anyback.streams import Job, shard
from anyback.streams._marks import Place
from anyback.streams._outputs import output_at

TILE = 1920


@pytest.fixture
def x(tmp_path: Path) -> np.ndarray:
    """Rows in x.npy: three shards of the smallest size and a rest."""
    images = ab.datasets.digits("test").images
    rows = images[np.random.default_rng(0).integers(0, len(images), 3 * TILE + 5)]
    np.save(tmp_path / "x.npy", rows)
    return rows


def answer(x: np.ndarray) -> bytes:
    return np.asarray(ab.predict(ab.load_model("digits-mlp", backend="numpy"), x)).tobytes()


def bytes_in(out: Path) -> bytes:
    """Return the bytes of the rows of an output, without the packages of their formats."""
    output = output_at(out)
    job = output.place.job()
    assert job is not None
    return b"".join(part for i in range(job.shards) for part in output.read(job, i))


def go(tmp_path: Path, name: str, **options: Any) -> Any:
    given = {"net": "digits-mlp", "source": tmp_path / "x.npy", "shard_rows": 1, "progress": False, **options}
    return ab.predict_to(tmp_path / name, **given)


def kept(out: Path) -> dict[str, tuple[int, int]]:
    """Return which file each mark is, and each chunk that has its mark, and when it was written."""
    place = output_at(out).place
    found = {}
    for mark in (place.folder / "marks").glob("[0-9]*.json"):
        for path in (mark, *out.glob(f"c.{mark.stem}.*")):
            found[path.name] = path.stat().st_ino, path.stat().st_mtime_ns
    return found


# -- A disk that fails --------------------------------------------------------------------------------

#: Everything that changes a disk, by the name of the function in `os`.
CHANGES = ("write", "fsync", "replace", "rename", "link", "ftruncate", "mkdir")


@contextlib.contextmanager
def failing(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Let the change of this number fail, a write after half of its bytes; give what says whether it came to that."""
    count = 0

    def wrapped(name: str) -> Callable[..., Any]:
        change = getattr(os, name)

        def call(*args: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count != number:
                return change(*args, **named)
            if name == "write":
                change(args[0], memoryview(args[1])[: len(args[1]) // 2])
            raise OSError(errno.EIO, f"the {name} failed on purpose")

        return call

    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, wrapped(name))
        yield lambda: count >= number


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_write_that_fails_never_counts(
    x: np.ndarray, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, number, failures = answer(x), 0, 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.npy").symlink_to(tmp_path / "x.npy")
        with failing(number, monkeypatch) as failed:
            said = ""
            try:
                go(folder, name)
            except ab.AnybackError as error:
                said = str(error)
            assert failed() == ("failed on purpose" in said), (number, said)
        if not said:
            break
        failures += 1
        begun = output_at(folder / name).place.job() is not None
        if begun and (name == "y.npy" or (folder / name / "zarr.json").exists()):
            found = ab.verify(folder / name)
            assert not found.wrong, number
            assert found.done <= ("fsync" in said), number  # behind the mark of success there is only the last sync
        before = kept(folder / name) if begun else {}
        assert go(folder, name, resume=True).done
        assert before.items() <= kept(folder / name).items(), number
        assert ab.verify(folder / name), number
        assert bytes_in(folder / name) == expected, number
        left = [p.name for p in folder.rglob("*") if p.name.endswith(".part") or p.name.startswith("rows-")]
        assert not left, number
    assert ab.verify(folder / name)
    assert failures == number - 1 > 30


def test_a_full_disk_ends_in_one_error_and_the_job_goes_on(
    x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = os.write, 40_000

    def full(descriptor: int, data: Any) -> int:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ab.ShardError, match=r"No space left on device.*resume"):
            go(tmp_path, "y.npy")
    assert go(tmp_path, "y.npy", resume=True).done
    assert bytes_in(tmp_path / "y.npy") == answer(x)


# -- Kills --------------------------------------------------------------------------------------------

DRIVER = """
import sys
import anyback as ab

if __name__ == "__main__":
    out, source, workers = sys.argv[1:]
    ab.predict_to(out, "digits-mlp", source, int(workers) or None, 1, True, progress=False)
"""


def driver(folder: Path, name: str, workers: int) -> subprocess.Popen[bytes]:
    script = folder / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    command = [sys.executable, str(script), str(folder / name), str(folder / "x.npy"), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def processes_below(number: int) -> list[int]:
    """Return the workers of a driver."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == number and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
    return found


def is_there(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes as Linux shows them")
@pytest.mark.parametrize(
    ("name", "killed"), [("y.npy", ("driver", "worker", "group")), ("y.zarr", ("worker", "group", "driver"))]
)
def test_what_is_killed_loses_only_what_was_under_way(tmp_path: Path, name: str, killed: tuple[str, ...]) -> None:
    images = ab.datasets.digits("test").images
    x = images[np.random.default_rng(0).integers(0, len(images), 200 * TILE)]
    np.save(tmp_path / "x.npy", x)
    chance, workers = random.Random(13), 2
    running = driver(tmp_path, name, workers)
    marks = tmp_path / (f"{name}.anyback" if name == "y.npy" else f"{name}/.anyback") / "marks"
    for kind in killed:
        count = len(list(marks.glob("[0-9]*.json"))) if marks.exists() else 0
        wait_for(lambda count=count: len(list(marks.glob("[0-9]*.json"))) > count)
        time.sleep(chance.random() / 20)
        assert running.poll() is None, "the job was over too early for this test"
        below = wait_for(lambda number=running.pid: processes_below(number))
        if kind == "group":
            os.killpg(running.pid, signal.SIGKILL)
        else:
            os.kill(chance.choice(below) if kind == "worker" else running.pid, signal.SIGKILL)
        if kind == "worker":
            continue  # another takes its place
        running.wait()
        wait_for(lambda below=below: not any(map(is_there, below)))
        before = kept(tmp_path / name)
        found = ab.verify(tmp_path / name)
        assert not found.wrong
        assert not found.done
        if name == "y.zarr":  # computed, but without a mark: no more than there were workers
            unmarked = [p for p in (tmp_path / name).glob("c.*") if p.name not in before]
            assert len(unmarked) <= workers
        running = driver(tmp_path, name, workers)
        wait_for(lambda: running.poll() is not None or len(kept(tmp_path / name)) > len(before))  # noqa: B023
        assert before.items() <= kept(tmp_path / name).items()
    assert running.wait(120) == 0
    assert before.items() <= kept(tmp_path / name).items()
    assert ab.verify(tmp_path / name)
    assert bytes_in(tmp_path / name) == answer(x)


# -- Beside itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_two_drivers_on_one_output_do_no_harm(x: np.ndarray, tmp_path: Path, name: str) -> None:
    drivers = [driver(tmp_path, name, 0) for _ in range(2)]
    assert [each.wait(120) for each in drivers] == [0, 0]
    assert ab.verify(tmp_path / name)
    assert bytes_in(tmp_path / name) == answer(x)


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_many_drivers_that_begin_at_once_do_no_harm(x: np.ndarray, tmp_path: Path, name: str) -> None:
    expected = answer(x)
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        (folder / "x.npy").symlink_to(tmp_path / "x.npy")
        errors, start = [], threading.Barrier(4)

        def drive(folder: Path = folder, errors: Any = errors, start: Any = start) -> None:
            start.wait()
            try:
                go(folder, name, resume=True)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=drive) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert ab.verify(folder / name)
        assert bytes_in(folder / name) == expected
        assert not [p for p in folder.rglob("*") if p.name.endswith(".part") or p.name.startswith("rows-")]


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be renamed there")
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
@pytest.mark.parametrize("other", [{}, {"shards": "0/2"}])
def test_a_driver_that_another_overtakes_before_any_step_does_no_harm(
    x: np.ndarray, tmp_path: Path, name: str, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, number, overtaken = answer(x), 0, True
    while overtaken:
        number, overtaken = number + 1, False
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.npy").symlink_to(tmp_path / "x.npy")
        count = 0

        def before(change: Callable[..., Any], *args: Any, number: int = number, folder: Path = folder) -> Any:
            nonlocal count, overtaken
            count += 1
            if count == number:
                overtaken = True
                go(folder, name, resume=True, **other)
            return change(*args)

        with monkeypatch.context() as patch:
            for each in ("write", "fsync", "replace", "link", "ftruncate", "mkdir"):
                patch.setattr(os, each, functools.partial(before, getattr(os, each)))
            assert go(folder, name, resume=True).done, number
        assert ab.verify(folder / name), number
        assert bytes_in(folder / name) == expected, number
        assert not [p for p in folder.rglob("*") if p.name.endswith(".part") or p.name.startswith("rows-")], number
    assert number > 30


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_driver_that_another_overtakes_while_it_looks_goes_on(
    x: np.ndarray, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Place.job

    def late(place: Place) -> Any:
        found = look(place)
        monkeypatch.setattr(Place, "job", look)
        go(tmp_path, name, resume=True)
        return found

    monkeypatch.setattr(Place, "job", late)
    assert go(tmp_path, name, resume=True).done
    assert ab.verify(tmp_path / name)


def test_only_one_of_many_begins_where_none_may_resume(x: np.ndarray, tmp_path: Path) -> None:
    drivers = [driver(tmp_path, "y.npy", 0)]
    assert drivers[0].wait(120) == 0
    with pytest.raises(ab.JobError, match="begun already"):
        go(tmp_path, "y.npy")


@pytest.mark.skipif(sys.platform == "win32", reason="there it is not known which processes are no more")
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_what_killed_workers_left_is_removed_at_the_end(x: np.ndarray, tmp_path: Path, name: str) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    go(tmp_path, name, shards="0/2")
    folder = output_at(tmp_path / name).place.folder
    places = {folder, folder / "marks", folder.parent if name == "y.zarr" else folder}
    left = [place / f".anyback-{_files._host()}-{ended.pid}-{'0' * 16}.part" for place in places]

    def leave(done: int, total: int) -> None:  # meanwhile
        for path in left:
            path.write_bytes(b"half")

    go(tmp_path, name, resume=True, progress=leave)
    assert not [path for path in left if path.exists()]


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_shard_looks_through_no_folder(
    x: np.ndarray, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path, name, shards="0/2")
    job = output_at(tmp_path / name).place.job()
    assert job is not None
    read: list[str] = []

    def listed(look: Callable[..., Any], path: Any = ".") -> Any:
        read.append(str(path))
        return look(path)

    for each in ("scandir", "listdir"):
        monkeypatch.setattr(os, each, functools.partial(listed, getattr(os, each)))
    assert shard(job, 1).shard == 1
    # Of a million shards, each would read a million names.
    assert not [path for path in read if path.startswith(str(tmp_path))]


# -- Damage, and files of others ----------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_verify_finds_one_bit(x: np.ndarray, tmp_path: Path, name: str) -> None:
    go(tmp_path, name)
    path, at = (tmp_path / name, 128 + 40 * TILE) if name == "y.npy" else (tmp_path / name / "c.1.0", 0)
    flip(path, at)
    found = ab.verify(tmp_path / name)
    assert (bool(found), list(found.wrong), found.missing, found.done) == (False, [1], (), True)
    place = output_at(tmp_path / name).place  # and without its mark it is computed again
    (place.folder / "marks" / "1.json").unlink()
    assert ab.verify(tmp_path / name).missing == (1,)


def test_verify_finds_chunks_that_are_gone_cut_off_or_too_long(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.zarr")
    out = tmp_path / "y.zarr"
    (out / "c.0.0").unlink()
    (out / "c.1.0").write_bytes((out / "c.1.0").read_bytes()[:-1])
    (out / "c.2.0").write_bytes((out / "c.2.0").read_bytes() + b"x")
    flip(out / "c.3.0", -1)
    wrong = ab.verify(out).wrong
    assert list(wrong) == [0, 1, 2, 3]
    assert "No such file" in wrong[0]
    assert "another size" in wrong[1]
    assert "another size" in wrong[2]
    assert "behind the last row" in wrong[3]
    (out / "zarr.json").write_text((out / "zarr.json").read_text().replace("NaN", "0"), encoding="utf-8")
    with pytest.raises(ab.JobError, match=r"zarr\.json does not describe the array"):
        ab.verify(out)


def test_verify_finds_a_file_that_is_gone_or_another(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy")
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(ab.JobError, match="is not the array of the job"):
        ab.verify(tmp_path / "y.npy")
    (tmp_path / "y.npy").unlink()
    for check in (lambda: ab.verify(tmp_path / "y.npy"), lambda: go(tmp_path, "y.npy", resume=True)):
        with pytest.raises(ab.JobError, match="cannot be read: No such file"):
            check()


def test_what_was_written_so_far_and_is_gone_is_said(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy", shards="0/2")
    (part,) = (tmp_path / "y.npy.anyback").glob("rows-*.npy")
    part.unlink()
    with pytest.raises(ab.ShardError, match=r"is gone; remove .*begin again"):
        go(tmp_path, "y.npy", resume=True)


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_shard_that_is_wrong_is_computed_again_without_its_mark(x: np.ndarray, tmp_path: Path, name: str) -> None:
    go(tmp_path, name)
    path, at = (tmp_path / name, 128 + 40 * TILE) if name == "y.npy" else (tmp_path / name / "c.1.0", 0)
    flip(path, at)
    folder = output_at(tmp_path / name).place.folder
    before = kept(tmp_path / name)
    for file in ("done.json", "marks/1.json"):
        (folder / file).unlink()
    assert go(tmp_path, name, resume=True).computed == 1
    assert ab.verify(tmp_path / name)
    assert bytes_in(tmp_path / name) == answer(x)
    changed = {file for file, was in kept(tmp_path / name).items() if was != before[file]}
    assert changed == ({"1.json"} if name == "y.npy" else {"1.json", "c.1.0"})


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs links and pipes")
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_nothing_is_written_through_a_link_beside_an_output(x: np.ndarray, tmp_path: Path, name: str) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    go(tmp_path, name, net=net, shards="1/2")
    folder, mine = output_at(tmp_path / name).place.folder, tmp_path / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    (saved,) = folder.glob("network-*")
    targets = [folder / "marks" / "0.json", folder / "done.json", saved]
    targets += (
        [*folder.glob("rows-*")] if name == "y.npy" else [tmp_path / name / "c.0.0", tmp_path / name / "zarr.json"]
    )
    for path in targets:
        good = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.symlink_to(mine)
        with contextlib.suppress(ab.AnybackError):
            go(tmp_path, name, net=net, resume=True)
        assert mine.read_text(encoding="utf-8") == "mine", path
        path.unlink(missing_ok=True)
        if good is not None:
            path.write_bytes(good)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_pipe_beside_an_output_is_not_waited_for(x: np.ndarray, tmp_path: Path, name: str) -> None:
    go(tmp_path, name, shards="1/2")
    place = output_at(tmp_path / name).place
    files = [*place.folder.glob("rows-*")] if name == "y.npy" else [tmp_path / name / "zarr.json"]
    for path in files:
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ab.JobError, match="not a regular file"):
            ab.verify(tmp_path / name)
        with pytest.raises(ab.JobError, match="cannot be written"):
            go(tmp_path, name, resume=True)
    if name == "y.zarr":
        path.unlink()
        assert go(tmp_path, name, resume=True).done
        (tmp_path / name / "c.1.0").unlink()
        os.mkfifo(tmp_path / name / "c.1.0")
        assert "not a regular file" in ab.verify(tmp_path / name).wrong[1]


def test_what_a_record_says_is_printed_without_what_a_terminal_obeys(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy", shards="0/2")
    path = tmp_path / "y.npy.anyback" / "job.json"
    record = json.loads(path.read_bytes())
    for field, value in (("versions", {"\x1b[31m" * 1000: "1"}), ("backend", "\x1b[31m"), ("stamp", "\ud800")):
        path.write_text(json.dumps({**record, field: value}), encoding="utf-8")
        with pytest.raises(ab.JobError, match=f"begun with another .*{field}: ") as raised:
            go(tmp_path, "y.npy", resume=True)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 2000


def test_a_job_of_an_npy_file_without_a_part_moves_no_folder(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy")
    folder = tmp_path / "y.npy.anyback"
    for path in (tmp_path / "y.npy", folder / "done.json", *(folder / "marks").iterdir()):
        path.unlink()
    record = json.loads((folder / "job.json").read_bytes())
    (folder / "job.json").write_text(json.dumps({**record, "part": ""}), encoding="utf-8")
    with pytest.raises(ab.JobError, match=r"job\.json names no part; begin again: remove"):
        go(tmp_path, "y.npy", resume=True)
    assert folder.is_dir()


def test_a_job_read_from_its_file_computes(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy", shards="0/2")
    job = Job(**json.loads((tmp_path / "y.npy.anyback" / "job.json").read_bytes()))
    assert shard(job, 1).shard == 1
    for i in (-1, 4):
        with pytest.raises(ab.ShardError, match=f"shard {i}: expected 0 to 3"):
            shard(job, i)


#: Bytes that are no record, whatever they say.
HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "zeros": b"\0" * 100,
    "deep": b"[" * 100_000,
    "a number": b"1" * 10_000,
    "a list": b"[]",
    "a dict": b"{}",
    "nan": b'{"job": NaN}',
    "not text": b'{"job": "\xff"}',
    "large": b" " * (1 << 21),
}


@pytest.mark.parametrize("file", ["job.json", "done.json", "marks/1.json"])
def test_any_bytes_beside_an_output_are_a_clear_error(x: np.ndarray, tmp_path: Path, file: str) -> None:
    go(tmp_path, "y.npy")
    path = tmp_path / "y.npy.anyback" / file
    good = path.read_bytes()
    for data in HOSTILE.values():
        path.write_bytes(data)
        with pytest.raises(ab.JobError, match=r"remove|larger than"):
            ab.verify(tmp_path / "y.npy")
    path.unlink()
    path.mkdir()
    with pytest.raises(ab.JobError, match="is a folder"):
        ab.verify(tmp_path / "y.npy")
    path.rmdir()
    path.write_bytes(good)
    assert ab.verify(tmp_path / "y.npy")


#: Values that a field may be given.
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    1 << 62,
    1 << 70,
    1.5,
    "",
    "x",
    "../../x",
    "\ud800",
    [],
    [1 << 62],
    ["x"],
    {},
]
VALUES += [{"x": 1}, {"x": "y"}, {"1": "x"}, {"9" * 5000: "x"}, [[1]], [1] * 1000]


@pytest.mark.parametrize("file", ["job.json", "done.json", "marks/1.json"])
def test_any_value_of_a_field_is_a_clear_error_or_harmless(x: np.ndarray, tmp_path: Path, file: str) -> None:
    go(tmp_path, "y.npy")
    path = tmp_path / "y.npy.anyback" / file
    record = json.loads(path.read_bytes())
    errors = 0
    for field in record:
        for value in VALUES:
            path.write_text(json.dumps({**record, field: value}), encoding="utf-8")
            for check in (lambda: ab.verify(tmp_path / "y.npy"), lambda: go(tmp_path, "y.npy", resume=True)):
                try:
                    check()
                except (ab.AnybackError, UserWarning):  # that there were bad rows
                    errors += 1
    assert errors > 15 * len(record)
    path.write_text(json.dumps(record), encoding="utf-8")
    assert ab.verify(tmp_path / "y.npy")


def test_bytes_by_chance_in_a_record_are_a_clear_error_or_harmless(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.npy")
    chance = random.Random(7)
    for file in ("job.json", "done.json", "marks/1.json"):
        path = tmp_path / "y.npy.anyback" / file
        good = path.read_bytes()
        for _ in range(200):
            data = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
            path.write_bytes(data)
            with contextlib.suppress(ab.AnybackError):
                ab.verify(tmp_path / "y.npy")
        path.write_bytes(good)


def test_a_mark_of_another_job_does_not_count(x: np.ndarray, tmp_path: Path) -> None:
    go(tmp_path, "y.zarr", shards="0/2")
    go(tmp_path, "z.zarr", shard_rows=2 * TILE)
    marks = tmp_path / "y.zarr" / ".anyback" / "marks"
    (marks / "1.json").write_bytes((tmp_path / "z.zarr" / ".anyback" / "marks" / "1.json").read_bytes())
    with pytest.raises(ab.JobError, match=r"1\.json is of another job, .*; remove it, and its shard is computed again"):
        go(tmp_path, "y.zarr", resume=True)
    (marks / "1.json").write_bytes((marks / "0.json").read_bytes())
    with pytest.raises(ab.JobError, match=r"is the mark of shard 0; remove it, and shard 1 is computed again"):
        go(tmp_path, "y.zarr", resume=True)
    (marks / "1.json").unlink()
    assert go(tmp_path, "y.zarr", resume=True).done
