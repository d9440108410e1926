"""Files that are downloaded once, checked against a known checksum, and kept.

A file that was put by hand into the data folder, as it is or unpacked, is checked and used, and never touched; what
anyback downloads goes into a folder of its own below, so that where a file lies says where it came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from anyback._files import replacing
from anyback._kinds import kind_of, seems
from anyback._progress import bar
from anyback.errors import DataError

__all__ = ["FILES", "File", "data_dir", "fetch"]

_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
# The book's repository, at a pinned commit.
_BOOK = (
    "https://github.com/oreilly-japan/deep-learning-from-scratch/raw/07b1161/",
    "https://raw.githubusercontent.com/oreilly-japan/deep-learning-from-scratch/"
    "07b11618cdb5d5f78ad45464de0730efc07b0a4a/",
)

#: Seconds that a server may take to connect, and to send something.
_TIMEOUT = (10.0, 20.0)
#: A download may take so many seconds, and one more for each so many bytes.
_PATIENCE, _SLOWEST = 60.0, 4000
#: What the files are; a wrong file of these kinds is only told by its checksum.
_KINDS = {"a gzip file", "an IDX file", "a pickle"}
#: Bytes at the beginning of a wrong file that say what it is.
_LOOKED_AT = 1024
#: Seconds to wait while another process downloads.
_LOCK_TIMEOUT = 900.0


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
    unpacked : str or None
        The checksum of what a compressed file holds; None where it is not compressed.
    there : str or None
        Its path in those folders; None where it is the file's name.
    """

    sha256: str
    size: int
    mirrors: tuple[str, ...]
    unpacked: str | None = None
    there: str | None = None


#: The files by name.
FILES: MappingProxyType[str, File] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": File(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
            _MNIST,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte.gz": File(
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
            _MNIST,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
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
        "sample_weight.pkl": File(
            "b7f55a27988ba34c3777b0f1bbd464817c8a4db855723e6ff26f703501917a13",
            181_853,
            _BOOK,
            there="ch03/sample_weight.pkl",
        ),
        "simple_convnet_params.pkl": File(
            "a5da99cffddafcfe5e686e79dc0ec3a7cc993b58e64f483b50960511e5e85344",
            3_471_484,
            _BOOK,
            there="ch07/params.pkl",
        ),
        "deep_convnet_params.pkl": File(
            "4b7a27baee2037605afa94d3f514ca9fa9cc96623739328609765073cfd5f802",
            989_219,
            _BOOK,
            there="ch08/deep_convnet_params.pkl",
        ),
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
    """Return the path of a file, checked: put there by hand, downloaded before, or downloaded now.

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
    for by_hand in _by_hand(name, file):
        if os.path.lexists(by_hand):
            if fault := _fault(by_hand, file):
                raise DataError(f"{by_hand}: {fault}; replace it, or remove it to have it downloaded")
            return by_hand
    downloaded = data_dir() / "downloads" / name
    if not downloaded.exists() or _fault(downloaded, file):
        _download(downloaded, file)
    return downloaded


def _by_hand(name: str, file: File) -> list[Path]:
    """Return where a file may lie that was put there by hand: compressed, or unpacked under the names that tools give.

    gunzip only drops the suffix; others take the name that the compressed file holds, with a dot before its kind.
    """
    names = [name]
    if file.unpacked:
        plain = name.removesuffix(".gz")
        names += [plain, plain.replace("-idx", ".idx")]
    return [data_dir() / each for each in names]


def _fault(path: Path, file: File) -> str | None:
    """Return what is wrong with a file, in words; None where it is the right one, compressed or not."""
    if not path.is_file():  # a pipe would make its reader wait
        return "expected a file"
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            first = stream.read(_LOOKED_AT)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if found in (file.sha256, file.unpacked):
        return None
    right = file.unpacked if file.unpacked and not _is_compressed(first) else file.sha256
    return f"expected SHA-256 {right}, found {found}{'' if kind_of(first) in _KINDS else seems(first)}"


def _is_compressed(first: bytes) -> bool:
    return first[:2] == b"\x1f\x8b"


def _download(path: Path, file: File) -> None:
    """Download a file from the first mirror that gives it; it appears under its name once it is whole and right."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if path.exists():
                if (fault := _fault(path, file)) is None:
                    return
                import logging

                logging.getLogger("anyback").warning("%s: %s; it is downloaded again", path, fault)
            _from_mirrors(path, file)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); set ANYBACK_DATA_DIR to a folder that can"
        ) from None


def _alone(path: Path) -> AbstractContextManager[Any]:
    """Return a scope in which this process alone downloads a file; the others wait, and find it.

    Where a browser or a file system has no locks, several may download it; it appears whole all the same.
    """
    try:
        import filelock
    except ImportError:
        return contextlib.nullcontext()
    try:
        return filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_TIMEOUT).acquire()
    except NotImplementedError:
        return contextlib.nullcontext()
    except filelock.Timeout:
        waited = f"another process has been downloading it for {_LOCK_TIMEOUT:.0f} s"
        raise DataError(f"{path}: {waited}; end that process, then try again") from None


def _from_mirrors(path: Path, file: File) -> None:
    failures = []
    for folder in file.mirrors:
        url = folder + (file.there or path.name)
        try:
            _from_mirror(url, path, file)
        except _StoppedError as error:
            failures.append(f"{url}: {error}")
        else:
            return
    called = f", as {path.name}," if file.there and not file.there.endswith(f"/{path.name}") else ""
    raise DataError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}); try again, or put the file{called} into "
        f"{path.parent.parent} by hand"
    )


class _StoppedError(Exception):
    """A download that failed or was given up, and why: no OSError, which is kept for folders that cannot be written."""


def _from_mirror(url: str, path: Path, file: File) -> None:
    """Write what a server sends to `path`, in bounded time and size; or raise `_StoppedError` and leave nothing."""
    digest = hashlib.sha256()
    with (
        contextlib.closing(_received(url, file.size)) as parts,
        bar(file.size, "B", desc=path.name, unit_scale=True) as tell,
        replacing(path, DataError) as temporary,
        temporary.open("wb") as stream,
    ):
        for part in parts:
            stream.write(part)
            digest.update(part)
            tell(stream.tell())
        if (found := digest.hexdigest()) != file.sha256:
            raise _StoppedError(f"expected SHA-256 {file.sha256}, found {found}")


def _received(url: str, size: int) -> Generator[bytes]:
    """Yield the bytes that a server sends, `size` in all, or raise `_StoppedError` with the cause."""
    try:
        import requests
        from urllib3.exceptions import HTTPError, ReadTimeoutError
    except ImportError as error:
        raise _StoppedError(f"{error.name} is missing here") from None
    deadline = time.monotonic() + _PATIENCE + size / _SLOWEST
    done = 0
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            while part := _some(response.raw):
                done += len(part)
                if done > size:
                    raise _StoppedError(f"it sends more than the {size:,} bytes that the file has")
                if time.monotonic() > deadline:
                    raise _StoppedError(f"too slow: {done:,} of {size:,} bytes came in time")
                yield part
    except requests.HTTPError as error:
        raise _StoppedError(f"the server answers {error.response.status_code} {error.response.reason}") from None
    except (requests.ReadTimeout, ReadTimeoutError):
        raise _StoppedError(f"{done:,} of {size:,} bytes came, then nothing for {_TIMEOUT[1]:.0f} s") from None
    except (OSError, HTTPError, ValueError) as error:
        # Whatever a library of networks raises while it opens a connection, certificates that are missing included.
        said = f"cut off: {done:,} of {size:,} bytes came" if done else f"{type(error).__name__}: {_deepest(error)}"
        raise _StoppedError(said) from None
    if done < size:
        raise _StoppedError(f"cut off: {done:,} of {size:,} bytes came")


def _some(response: Any) -> bytes:
    """Return what has come; `read` would wait for a whole piece, byte after byte."""
    try:
        return response.read1(1 << 16)
    except NotImplementedError:  # in a browser
        return response.read(1 << 16)


def _deepest(error: BaseException) -> str:
    """Return what the network said first, without the addresses of objects that its callers add."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]
    return said if said and " object at 0x" not in said else type(error).__name__
