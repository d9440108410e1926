"""The network of a job: a name or a path with a hash, loaded once in each process."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyback import backends, weights
from anyback._files import read_bounded, shown
from anyback.errors import JobError, WeightsError
from anyback.models import NETWORKS, load_model
from anyback.network import NETWORK_TEXT, Network, checked_network

__all__ = ["Given", "arrays_sha256", "file_sha256", "given_network", "loaded_network"]

#: The largest file of a network, in bytes.
_MOST_BYTES = 1 << 33


class Given(NamedTuple):
    """A network as it is given to a job.

    Parameters
    ----------
    net : Network
        The network.
    source : str
        A name, or an absolute path; empty where it is to be saved first.
    data : bytes
        The file to save, where there is no source.
    sha256 : str
        Of the file.
    arrays : str
        A hash of the arrays, which may lie in other files than that.
    select : str
        The output that is taken of the network in the file; empty for its only one.
    """

    net: Network
    source: str
    data: bytes
    sha256: str
    arrays: str
    select: str


def given_network(model: Any, select: str | None = None) -> Given:
    """Return a network by name, from a file, or from memory, with the hash of its file.

    Parameters
    ----------
    model : str, path-like or Network
        A name or a path is taken as it is where the file says itself what it computes. Another network is one to save.
    select : str or None
        The name of one of several outputs.

    Raises
    ------
    JobError
        If a network in memory cannot be saved, with what to do.
    WeightsError
        If there is no such network.
    """
    if isinstance(model, (str, os.PathLike)):
        net = load_model(model)
        if _says_itself(model):
            source = str(model) if _is_name(model) else str(Path(model).resolve())
            net = net.select(select) if select else net
            return Given(net, source, b"", file_sha256(source), arrays_sha256(net), select or "")
    else:
        net = model
        checked_network(net)
    net = net.select(select) if select else net
    with tempfile.TemporaryDirectory(prefix="anyback-") as folder:
        path = Path(folder, "network.safetensors")
        try:
            net.save(path)
        except WeightsError as error:
            why = str(error).removeprefix(f"{shown(path)}: ")
            raise JobError(
                f"workers load the network from a file, and this one cannot be saved: {why}. Or pass the path of the "
                "file that it was loaded from, such as 'mine.onnx'"
            ) from None
        data = path.read_bytes()
    return Given(net, "", data, hashlib.sha256(data).hexdigest(), arrays_sha256(net), "")


def _says_itself(model: str | os.PathLike[str]) -> bool:
    """Return whether a name or a file says itself what it computes, without options."""
    if _is_name(model) or Path(model).suffix.lower() == ".onnx":
        return True
    return NETWORK_TEXT in weights.read_file(model).texts


def _is_name(model: str | os.PathLike[str]) -> bool:
    return str(model) in NETWORKS and (isinstance(model, str) or not os.path.lexists(model))


def file_sha256(source: str) -> str:
    """Return the SHA-256 of the file of a network, by its name or path."""
    path = NETWORKS[source].path() if _is_name(source) else Path(source)
    return hashlib.sha256(read_bounded(path, _MOST_BYTES, WeightsError)).hexdigest()


def arrays_sha256(net: Network) -> str:
    """Return a hash of the arrays of a network, which may lie in other files than that of the network."""
    whole = hashlib.sha256()
    for x in net.arrays:
        array = np.asarray(backends.to_numpy(x))
        whole.update(f"{array.dtype} {array.shape};".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


_loading = threading.Lock()


def loaded_network(source: str, sha256: str, arrays: str, select: str, backend: str) -> Network:
    """Return a network by name or path on a backend, loaded once in this process.

    Raises
    ------
    JobError
        If the file, or what it loads, is another than that of the hashes.
    """
    with _loading:
        return _loaded(source, sha256, arrays, select, backend)


@functools.lru_cache(maxsize=2)
def _loaded(source: str, sha256: str, arrays: str, select: str, backend: str) -> Network:
    found = file_sha256(source)
    if found == sha256:
        net = load_model(source, backend=backend)
        net = net.select(select) if select else net
        found, sha256 = arrays_sha256(net), arrays
        if found == sha256:
            return net
    raise JobError(
        f"the network {shown(source)} was changed: expected SHA-256 {sha256[:16]}..., found {found[:16]}...; put "
        "the file back, or begin a new output"
    )
