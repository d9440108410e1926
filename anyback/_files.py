"""Reading with a bound and writing whole or not at all: the two habits every file format shares."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from anyback.errors import AnybackError

__all__ = [
    "create",
    "open_regular",
    "read_bounded",
    "remove_left_parts",
    "rename",
    "replacing",
    "shown",
    "sync",
    "sync_folder",
    "write_all",
    "write_whole",
]

#: What a disk that fails says when it is told to sync; anything else is a place that cannot sync a folder.
_FAILED = {errno.EIO, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
#: What a file system without second names says where it is asked for one.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL}

#: Seconds to wait before a file is renamed once more.
_PAUSES = (0.01, 0.03, 0.1, 0.3, 0.6)


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for a message: as it is, unless it holds what a terminal would obey or cannot print."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def read_bounded(path: str | os.PathLike[str], limit: int, error: type[AnybackError]) -> bytes:
    """Return the bytes of a regular file, or raise `error` in one line.

    Parameters
    ----------
    path : path-like
        The file.
    limit : int
        The largest size accepted, in bytes; nothing larger is read into memory.
    error : type of AnybackError
        What to raise where the file is missing, a folder, a device, unreadable or too large.

    Returns
    -------
    bytes
    """
    path, name = Path(path), shown(path)
    try:
        # Opened before it is looked at, so that what is checked is what is read; without blocking,
        # since opening a named pipe would otherwise wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{name} is not a regular file; expected one")
            if status.st_size > limit:
                raise error(f"{name} is larger than {limit:,} bytes, the most that is read")
            # Python sets aside as many bytes as are asked for: no more than the file has.
            data = file.read(status.st_size + 1)
    except FileNotFoundError:
        raise error(f"{name} does not exist; check the path") from None
    except IsADirectoryError:
        raise error(f"{name} is a folder; expected a file") from None
    except error:  # which may be a ValueError too
        raise
    except (OSError, ValueError) as cause:
        raise error(f"{name} cannot be read: {getattr(cause, 'strerror', None) or cause}") from None
    if len(data) > status.st_size:
        raise error(f"{name} grew while it was read; try again when it is whole")
    return data


def open_regular(path: Path, flags: int) -> int:
    """Return the descriptor of a regular file, opened without waiting for anything; through no link for writing.

    Raises
    ------
    OSError
        If it cannot be opened, or is something else.
    """
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if flags & (os.O_WRONLY | os.O_RDWR):
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], error: type[AnybackError], *, alone: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` on success.

    After an exception, Ctrl-C included, `path` is what it was before and the temporary file is gone; where the disk
    fails at the last, when the folder is synced, `path` may be the new file already. Where the process is killed, the
    next one that writes into the folder removes what was left.

    Parameters
    ----------
    path : path-like
        The file to make or to replace.
    error : type of AnybackError
        What to raise where it cannot be written.
    alone : bool
        Whether the folder is anyback's own and may hold a million files. A link is replaced then, and not what it
        points to; and nothing is looked for that was left, which is for `remove_left_parts`.

    Yields
    ------
    pathlib.Path
        The temporary file, which does not exist yet.
    """
    path, name = Path(path), shown(path)
    mode = stat.S_IFREG  # as it will be
    try:
        if not alone:
            path = path.resolve()  # what a link points to is replaced, and not the link
        exists = path.exists() and not path.is_symlink()
        mode = path.stat().st_mode if exists else mode
    except (OSError, ValueError) as cause:
        raise error(f"{name} cannot be written: {getattr(cause, 'strerror', None) or cause}") from None
    if not stat.S_ISREG(mode):
        # Renaming onto a device such as /dev/null would destroy it for the whole machine.
        raise error(f"{name} cannot be written: it is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}")
    if not alone:
        remove_left_parts(path.parent)
    temporary = _part_beside(path)
    try:
        yield temporary
        sync(temporary)
        if exists:
            temporary.chmod(stat.S_IMODE(mode))
        rename(temporary, path)
        sync_folder(path.parent)
    except OSError as cause:
        raise error(f"{name} cannot be written: {cause.strerror or cause}") from None
    finally:
        with contextlib.suppress(OSError):  # it was never made, or its folder is none
            temporary.unlink()


def rename(path: Path, target: Path) -> None:
    """Give a file another name, in place of a file that has it."""
    # Windows refuses while another program has the target open, such as one that looks for viruses, for a moment.
    for pause in _PAUSES if sys.platform == "win32" else ():
        try:
            path.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    path.replace(target)


def write_whole(
    path: str | os.PathLike[str],
    parts: Iterable[bytes | memoryview],
    error: type[AnybackError],
    *,
    alone: bool = False,
) -> None:
    """Write bytes, one part behind the other, to a file that appears whole or not at all; see `replacing`."""
    with replacing(path, error, alone=alone) as temporary:
        _write_new(temporary, parts)


def create(path: Path, data: bytes) -> bool:
    """Write a file that appears whole, and only where nothing has its name; else return False.

    Of several processes that create one name at a time, one is told True.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    temporary = _part_beside(path)
    try:
        _write_new(temporary, [data])
        sync(temporary)
        try:
            _link(temporary, path)
        except FileExistsError:
            return False
        except OSError as cause:
            if cause.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            rename(temporary, path)
        sync_folder(path.parent)
        return True
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _link(path: Path, name: Path) -> None:
    if not hasattr(os, "link"):  # in a browser
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.link(path, name)


def _write_new(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for part in parts:
            write_all(descriptor, part)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes: the system may take fewer at a time."""
    left = memoryview(data).cast("B")
    while len(left):
        left = left[os.write(descriptor, left[:_AT_A_TIME]) :]


_AT_A_TIME = 1 << 30  # some systems take no more


def _part_beside(path: Path) -> Path:
    """Return a temporary name in the same folder."""
    # Not made of the name, which may be as long as names can be; not guessed, so that two writers never meet.
    return path.with_name(f".anyback-{_host()}-{os.getpid()}-{os.urandom(8).hex()}.part")


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on the disk, where a system can say so."""
    try:
        sync(folder)
    except OSError as cause:  # Windows and some file systems cannot sync a folder
        if cause.errno in _FAILED:
            raise


def sync(path: Path) -> None:
    """Return once what is in a file, or the names in a folder, are on the disk and not only in the cache."""
    # Windows syncs only what is open for writing; a folder can be opened for reading alone.
    access = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
    descriptor = os.open(path, access | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    """Return where this process has its number: the machine and, in a container, the container."""
    import socket

    try:
        space = str(Path("/proc/self/ns/pid").readlink())  # containers may share a folder and the name of their machine
    except OSError:
        space = ""
    return re.sub(r"[^A-Za-z0-9.]+", "_", f"{socket.gethostname()[:100]}.{space}").strip("._")


def remove_left_parts(folder: Path) -> None:
    """Remove the temporary files of those processes of this host that are no more."""
    ours = re.compile(rf"\.anyback-{re.escape(_host())}-([0-9]{{1,9}})-[0-9a-f]{{16}}\.part")
    with contextlib.suppress(OSError):  # the folder cannot be listed, or another process was faster
        for path in folder.iterdir():
            if (found := ours.fullmatch(path.name)) and not _is_alive(int(found[1])):
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Return False only where there is surely no process of this number."""
    if sys.platform == "win32":
        return True  # os.kill would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
