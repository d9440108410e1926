"""A network as a function of a batch, which engines send to where their rows are: Ray Data, Spark, Dask, xarray."""

from __future__ import annotations

import math
import os
import sys
import threading
import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np

from anyback import backends
from anyback._files import shown
from anyback._typing import Array
from anyback.backends import get_precision
from anyback.errors import AnybackError, DataError, ShapeError, WeightsError
from anyback.inference import predict
from anyback.models import NETWORKS, load_model
from anyback.network import Network, checked_network
from anyback.numbers import PrecisionName
from anyback.plan import Shape
from anyback.streams._model import arrays_sha256, file_sha256

__all__ = ["Predictor"]

#: The networks that this process has, by what they were made of: tasks that come one by one load none twice.
_networks: dict[Hashable, Network] = {}
_most_networks = 8
_loading = threading.Lock()


class Predictor:
    """A network as a function of a batch, for engines that carry the rows: the same bits in any batch and any process.

    Made from a path or a name, it is pickled as that and the SHA-256 of the file, without a weight; where a process
    first calls it, the file is read there, and refused if it is another. A network in memory is pickled as itself. A
    process keeps the last eight networks that came to it.

    Parameters
    ----------
    net : Network, str or path-like
        A network; or a path or a name as `load_model` takes it, which every process must be able to read.
    column : str or None
        Which array of a dict of arrays is the input, or which column of a data frame, which holds an array in each row.
        None is the one that `keep` leaves; of a data frame, all columns that it leaves, with a number each.
    keep : sequence of str
        The arrays or columns that are passed on as they are, such as an id.
    name : str
        What the output is called in a dict, and in a data frame with a number behind it for each column. Of a network
        of several outputs, each has its own name.
    axes : int or None
        How many of the last axes of an array make up a sample: all axes before count rows. None takes a batch or one
        sample, as `predict` does.
    batch_size : int or None
        As in `predict`.
    workers : int or None
        As in `predict`; 1 unless given, since engines call it several times at once.
    backend, precision : str or None
        Where the network computes and how it multiplies, in every process; None is what is chosen here, and for a
        network in memory the place where it is.
    sha256 : str or None
        The SHA-256 that the file must have; None is the one that it has now.
    **options
        What else `load_model` takes, such as ``shape=(28, 28)``.

    Attributes
    ----------
    sha256 : str or None
        The SHA-256 of the file; None for a network in memory.

    Raises
    ------
    WeightsError
        If the file is no network, or has another SHA-256.
    AnybackError
        If `net` is neither a network nor a path.

    Examples
    --------
    >>> import anyback as ab
    >>> images = ab.datasets.digits("test").images
    >>> ab.Predictor("digits-mlp", backend="numpy")(images).shape
    (500, 10)
    >>> predictor = ab.Predictor("digits-mlp", backend="numpy", column="image", keep=["id"])
    >>> found = predictor({"image": images[:2], "id": np.arange(2)})
    >>> list(found), found["output"].shape
    (['id', 'output'], (2, 10))
    """

    def __init__(
        self,
        net: Network | str | os.PathLike[str],
        *,
        column: str | None = None,
        keep: Sequence[str] = (),
        name: str = "output",
        axes: int | None = None,
        batch_size: int | None = None,
        workers: int | None = 1,
        backend: str | None = None,
        precision: PrecisionName | None = None,
        sha256: str | None = None,
        **options: Any,
    ) -> None:
        self._column, self._keep, self._name = column, (keep,) if isinstance(keep, str) else tuple(keep), name
        self._axes, self._batch_size, self._workers = axes, batch_size, workers
        self._precision = precision or get_precision()
        self.sha256: str | None = None
        self._source: str | None = None
        self._arrays = ""  # a hash of them, since those of an ONNX file may lie in other files
        if isinstance(net, (str, os.PathLike)):
            self._source = net if isinstance(net, str) and net in NETWORKS else str(Path(net).absolute())
            self._options = {**options, "backend": str(backends.resolve(backend))}
            self.sha256 = file_sha256(self._source) if sha256 is None else sha256.lower()
            found = _loaded(self._source, self.sha256, "", self._options)  # anew: other files may have changed
            self._arrays = arrays_sha256(found)
            options_text = repr(sorted(self._options.items(), key=str))
            self._key: Hashable = (self._source, self.sha256, self._arrays, options_text)
            _kept(self._key, lambda: found)
            return
        if given := [*options, *(["sha256"] if sha256 is not None else [])]:
            raise AnybackError(f"{', '.join(given)}: for a network that is read from a file; leave it out")
        checked_network(net)
        self._held = net if backend is None else net.to(backend)
        self._key = uuid.uuid4().hex

    def __repr__(self) -> str:
        if self._source is None:
            return "<Predictor of a network in memory>"
        return f"<Predictor of {shown(self._source)}, SHA-256 {str(self.sha256)[:12]}...>"

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._source is None:  # whose plans are made already, if it came before
            self._held = _kept(self._key, lambda: state["_held"])

    def _network(self) -> Network:
        """Return the network, which this process reads if it does not have it."""
        if self._source is None:
            return self._held
        source, sha256, arrays, options = self._source, str(self.sha256), self._arrays, self._options
        return _kept(self._key, lambda: _loaded(source, sha256, arrays, options))

    def __call__(self, batch: Any) -> Any:
        """Return the outputs for a batch, each row with the bits that it has in any other.

        Parameters
        ----------
        batch : array, dict of str to array, or pandas.DataFrame
            Shape (n, in_features) or whatever else a batch of the network is.

        Returns
        -------
        array, dict of str to array, or pandas.DataFrame
            What the batch was. An array has shape (n, out_features), and is a NumPy array for a NumPy array. A dict
            holds what `keep` names, and the outputs. A data frame has the same index, the columns that `keep` names,
            and one for each number of an output, or one of arrays for an output with more axes. A network of several
            outputs gives a dict for an array.

        Raises
        ------
        DataError
            If a dict or a data frame lacks a name, or leaves open which array is the input; or as of `predict`.
        ShapeError
            If the shape does not fit the network.
        WeightsError
            If the file of the network is another than it was.
        """
        if _is_frame(batch):
            rest = batch[self._column] if self._named(batch.columns) else batch.drop(columns=list(self._keep))
            outputs = self._outputs(_rows_of(rest, self._network().usual_sample))
            columns = {name: values for key, y in outputs.items() for name, values in _columns(key, y)}
            self._check_free(columns)
            return batch[list(self._keep)].assign(**columns)
        if isinstance(batch, Mapping):
            given = dict(batch)
            self._named(given)
            rest = [name for name in given if name not in self._keep]
            if self._column is None and len(rest) != 1:
                raise DataError(f"expected one array to be the input, found {_listed(rest)}; pass column= and keep=")
            outputs = self._outputs(given[self._column or rest[0]])
            self._check_free(outputs)
            return {**{name: given[name] for name in self._keep}, **outputs}
        outputs = self._outputs(batch)
        return outputs if len(self._network().outputs) > 1 else outputs[self._name]

    def _named(self, known: Any) -> bool:
        """Return whether a name of the input was given, or raise `DataError` where a name is not among the known."""
        names = [*self._keep, *([] if self._column is None else [self._column])]
        if missing := [name for name in names if name not in known]:
            raise DataError(f"the batch has no {_listed(missing)}; it has {_listed(known)}")
        return self._column is not None

    def _check_free(self, outputs: Mapping[str, Any]) -> None:
        """Raise `DataError` where an output would take the place of what is passed on."""
        if both := [name for name in outputs if name in self._keep]:
            raise DataError(f"{_listed(both)}: what is kept and an output have one name; pass name=, or rename it")

    def _outputs(self, x: Any) -> dict[str, Array]:
        """Return the outputs for an array by name."""
        net = self._network()
        if not array_api_compat.is_array_api_obj(x):
            x = (
                np.zeros((0, *(net.usual_sample or ())), np.float32)
                if _is_empty(x)
                else backends.asarray(x, backend="numpy")
            )
        lead: Shape | None = None
        if self._axes is not None:
            if not 0 < self._axes <= x.ndim:
                raise ShapeError(f"axes={self._axes}: expected an array of at least as many, found shape {x.shape}")
            cut = x.ndim - self._axes
            lead = tuple(x.shape[:cut])
            x = backends.array_namespace(x).reshape(x, (math.prod(lead), *x.shape[cut:]))
        found = predict(net, x, self._batch_size, workers=self._workers, precision=self._precision)
        outputs = found if isinstance(found, dict) else {self._name: found}
        if isinstance(x, np.ndarray):
            outputs = {name: backends.to_numpy(y) for name, y in outputs.items()}
        if lead is None:
            return outputs
        return {name: backends.array_namespace(y).reshape(y, (*lead, *y.shape[1:])) for name, y in outputs.items()}


# -- The file -----------------------------------------------------------------------------------------


def _kept(key: Hashable, make: Callable[[], Network]) -> Network:
    """Return the network of a key, made where this process has none; the one that was used longest ago goes."""
    with _loading:  # threads that ask at once read it once
        net = _networks.pop(key) if key in _networks else make()
        _networks[key] = net
        if len(_networks) > _most_networks:
            del _networks[next(iter(_networks))]
        return net


def _loaded(source: str, sha256: str, arrays: str, options: Mapping[str, Any]) -> Network:
    """Return the network in a file, or raise `WeightsError` where the file or its arrays do not have these hashes."""
    found = file_sha256(source)
    if found == sha256:
        net = checked_network(load_model(source, **options))
        found, sha256 = arrays_sha256(net) if arrays else file_sha256(source), arrays or sha256
        if found == sha256:
            return net
    raise WeightsError(
        f"{shown(source)} is another file than the predictor was made of: expected SHA-256 {sha256}, found {found}; "
        "put the file back, or make a new predictor"
    )


# -- Data frames --------------------------------------------------------------------------------------


def _is_frame(batch: Any) -> bool:
    pandas = sys.modules.get("pandas")  # who has a data frame has imported it
    return pandas is not None and isinstance(batch, pandas.DataFrame)


def _is_empty(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and not x


def _rows_of(values: Any, sample: Shape | None) -> np.ndarray:
    """Return a column of arrays, or columns of numbers, as an array with a row for each of theirs."""
    if values.ndim == 2 and values.shape[1] != 1:
        return np.asarray(values.to_numpy())
    column = values if values.ndim == 1 else values.iloc[:, 0]
    numbers = column.to_numpy()
    if numbers.dtype.kind in "biuf":
        return np.asarray(numbers).reshape(-1, 1)
    if not len(column):
        return np.zeros((0, *(sample or ())), np.float32)
    try:
        return np.stack(list(column))
    except ValueError:
        raise DataError(f"column {column.name!r}: expected an array in each row, all of one shape") from None


def _columns(name: str, y: np.ndarray) -> list[tuple[str, Any]]:
    """Return the columns of an output, each with its name."""
    if y.ndim == 2:
        return [(f"{name}_{i}", y[:, i]) for i in range(y.shape[1])]
    return [(name, y if y.ndim == 1 else list(y))]


def _listed(names: Any) -> str:
    """Return names for a message: the first ten."""
    names = list(map(str, names))
    return (", ".join(map(repr, names[:10])) or "none") + (f" and {len(names) - 10} more" if len(names) > 10 else "")
