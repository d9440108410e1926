"""Files that are downloaded once, checked against a known checksum, and kept.

A file that was put by hand into the data folder, as it is or unpacked, is checked and used, and never touched; what
anyback downloads goes into a folder of its own below, so that where a file lies says where it came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from anyback._files import replacing
from anyback._kinds import kind_of, seems
from anyback._progress import bar
from anyback.datasets import idx
from anyback.errors import DataError

__all__ = ["FILES", "File", "data_dir", "fetch"]

_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
# The pinned commit of the book's repository, and the one that added the file, which never changed.
_BOOK = (
    "https://github.com/oreilly-japan/deep-learning-from-scratch/raw/07b1161/ch03/",
    "https://raw.githubusercontent.com/oreilly-japan/deep-learning-from-scratch/"
    "0dda3d1715e2431b76eb4089b60881948853ba2a/ch03/",
)

#: Seconds that a server may take to connect, and to send something.
_TIMEOUT = (10.0, 20.0)
#: A download may take so many seconds, and one more for each so many bytes.
_PATIENCE, _SLOWEST = 60.0, 4000
#: What the files are, by their first bytes: that goes without saying.
_OURS = ("a gzip file", "an IDX file", "a pickle")
#: Seconds to wait while another process downloads.
_LOCK_TIMEOUT = 900.0

_log = logging.getLogger("anyback")


@dataclass(frozen=True)
class File:
    """A file that can be downloaded.

    Parameters
    ----------
    sha256 : str
        Its checksum, in hexadecimal digits.
    size : int
        Bytes.
    mirrors : tuple of str
        Addresses of folders that hold it; they are tried in order.
    unpacked : str or tuple of int
        Of the IDX file in a ``.gz``: its checksum, or, where that is not known, the shape of its array of bytes.
    """

    sha256: str
    size: int
    mirrors: tuple[str, ...]
    unpacked: str | tuple[int, ...] = ""


#: The files by name. Of the training files, only the checksums of the compressed form are on record, and nothing here
#: holds the files to compute those of the unpacked form: there, the shape is what is checked.
FILES: MappingProxyType[str, File] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": File(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422, _MNIST, (60_000, 28, 28)
        ),
        "train-labels-idx1-ubyte.gz": File(
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881, _MNIST, (60_000,)
        ),
        "t10k-images-idx3-ubyte.gz": File(
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
            _MNIST,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte.gz": File(
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
            _MNIST,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        "sample_weight.pkl": File("b7f55a27988ba34c3777b0f1bbd464817c8a4db855723e6ff26f703501917a13", 181_853, _BOOK),
    }
)


def data_dir() -> Path:
    """Return the folder of data files: ``ANYBACK_DATA_DIR``, or the user's cache folder."""
    chosen = os.environ.get("ANYBACK_DATA_DIR", "").strip()
    if chosen:
        return Path(chosen).expanduser()

    import platformdirs

    return Path(platformdirs.user_cache_dir("anyback"))


def fetch(name: str) -> Path:
    """Return the path of a file, checked: put there by hand, packed or not, downloaded before, or downloaded now.

    Parameters
    ----------
    name : str
        A name in `FILES`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DataError
        If a file that was put there by hand is not the right one, or no mirror gives it.
    """
    file = FILES[name]
    for by_hand, expected in _by_hand(name, file):
        if os.path.lexists(by_hand):
            if fault := _fault(by_hand, expected):
                raise DataError(f"{by_hand}: {fault}; replace it, or remove it to have it downloaded")
            return by_hand
    downloaded = data_dir() / "downloads" / name
    if not downloaded.exists() or _fault(downloaded, file.sha256):
        _download(downloaded, file)
    return downloaded


def _by_hand(name: str, file: File) -> Iterator[tuple[Path, str | tuple[int, ...]]]:
    """Yield where a file may have been put by hand, and what it must be there."""
    folder = data_dir()
    yield folder / name, file.sha256
    if file.unpacked:
        bare = name.removesuffix(".gz")
        yield folder / bare, file.unpacked
        yield folder / bare.replace("-idx", ".idx"), file.unpacked  # the name that the gzip files themselves give


def _fault(path: Path, expected: str | tuple[int, ...]) -> str | None:
    """Return what is wrong with a file of this SHA-256, or of this shape, in words; None where it is the right one."""
    if not path.is_file():  # a pipe would make its reader wait
        return "expected a file"
    try:
        if isinstance(expected, tuple):
            return _shape_fault(path, expected)
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            begin = stream.read(1024)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    seen = "" if kind_of(begin) in _OURS else seems(begin)
    return None if found == expected else f"expected SHA-256 {expected}, found {found}{seen}"


def _shape_fault(path: Path, shape: tuple[int, ...]) -> str | None:
    try:
        found = idx.read(path).shape
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return None if found == shape else f"expected an IDX array of shape {shape}, found {found}"


def _download(path: Path, file: File) -> None:
    """Download a file from the first mirror that gives it; it appears under its name once it is whole and right."""
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process downloads, the others wait and find the file.
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_TIMEOUT)
        with lock:
            if path.exists():
                if (fault := _fault(path, file.sha256)) is None:
                    return
                _log.warning("%s: %s; it is downloaded again", path, fault)
            _from_mirrors(path, file)
    except filelock.Timeout:
        waited = f"another process has been downloading it for {_LOCK_TIMEOUT:.0f} s"
        raise DataError(f"{path}: {waited}; end that process, then try again") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); set ANYBACK_DATA_DIR to a folder that can"
        ) from None


def _from_mirrors(path: Path, file: File) -> None:
    failures = []
    for folder in file.mirrors:
        url = folder + path.name
        try:
            with replacing(path, DataError) as part:
                with part.open("wb") as stream, contextlib.closing(_pieces(url, file)) as pieces:
                    stream.writelines(pieces)
                if fault := _fault(part, file.sha256):
                    raise _Stopped(fault)
        except _Stopped as error:
            failures.append(f"{url}: {error}")
        else:
            return
    raise DataError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}); try again, or put the file into "
        f"{path.parent.parent} by hand"
    )


class _Stopped(Exception):
    """A download that was given up, and why."""


def _pieces(url: str, file: File) -> Generator[bytes, None, None]:
    """Yield what a server sends, in bounded time and size, whatever it does; whatever fails on the way is `_Stopped`.

    What takes the pieces fails outside, so that the network is never blamed for the disk, nor the disk for the network.
    """
    import requests
    from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

    deadline = time.monotonic() + _PATIENCE + file.size / _SLOWEST
    done = 0
    try:
        with (
            requests.get(url, stream=True, timeout=_TIMEOUT) as response,
            bar(file.size, "B", desc=url.rpartition("/")[2], unit_scale=True) as tell,
        ):
            response.raise_for_status()
            # read1 returns what has come; read would wait for a whole chunk, byte after byte.
            while part := response.raw.read1(1 << 16):
                done += len(part)
                tell(done)
                if done > file.size:
                    raise _Stopped(f"it sends more than the {file.size:,} bytes that the file has")
                if time.monotonic() > deadline:
                    raise _Stopped(f"too slow: {done:,} of {file.size:,} bytes came in time")
                yield part
    except requests.HTTPError as error:
        raise _Stopped(f"the server answers {error.response.status_code} {error.response.reason}") from None
    except (requests.Timeout, ReadTimeoutError):
        raise _Stopped(f"{done:,} of {file.size:,} bytes came, then nothing for {_TIMEOUT[1]:.0f} s") from None
    except ProtocolError:  # fewer bytes than the server said there would be
        raise _Stopped(f"cut off: {done:,} of {file.size:,} bytes came") from None
    except (OSError, HTTPError, ValueError) as error:  # of requests, certificates, proxies and addresses
        raise _Stopped(f"{type(error).__name__}: {_deepest(error)}") from None
    if done < file.size:
        raise _Stopped(f"cut off: {done:,} of {file.size:,} bytes came")


def _deepest(error: BaseException) -> str:
    """Return what the network said first, without the addresses of objects that its callers add."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return said if said and " object at 0x" not in said else type(error).__name__
