"""How a network is printed, summarized and saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from anyback import backends

if TYPE_CHECKING:
    from anyback.network._summary import Summary

__all__ = ["Shown"]


class Shown:
    """The part of `Network` that saves, summarizes and prints it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, from which `anyback.load_model` makes the same network again.

        Its calls are JSON in the file's metadata, which loading checks; its arrays are the arrays of the file.
        The file appears whole or not at all.

        Parameters
        ----------
        path : path-like
            A ``.safetensors`` file; one that exists is replaced.

        Raises
        ------
        WeightsError
            If the network holds a function of the user's, an op that is not in the table, or numbers that are nan or
            infinite; if the file has another suffix, or cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import anyback as ab
        >>> from anyback.layers import Linear, Sequential
        >>> net = Sequential(Linear(np.ones((3, 2)), np.zeros(2)), "relu")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(Path(folder, "mine.safetensors"))
        ...     ab.load_model(Path(folder, "mine.safetensors"), backend="numpy")
        Sequential on numpy:cpu, float64
        layer   input  output  parameters  multiply-adds
        linear      3       2           8              6
        relu        2       2
        total                           8              6
        """
        from anyback.network._record import write_network

        write_network(self, path)

    def summary(self) -> tuple[Summary, ...]:
        """Return for each call its name, input and output shapes for one sample, parameters and multiply-adds.

        Returns
        -------
        tuple of Summary

        Examples
        --------
        >>> import numpy as np
        >>> from anyback.layers import Linear, Sequential
        >>> Sequential(Linear(np.ones((3, 2)), np.zeros(2))).summary()
        (Summary(name='linear', input=(3,), output=(2,), parameters=8, multiply_adds=6),)
        """
        from anyback.network._summary import summary_of

        return summary_of(self)

    def _table(self) -> Any:
        from anyback.network._summary import table_of

        net: Any = self
        name, backend = type(net).__name__, net.backend
        title = f"{name} on {backend}, {backends.dtype_name(net.dtype)}" if backend else name
        return table_of(self.summary(), title)

    def __repr__(self) -> str:
        return str(self._table().text())

    def _repr_html_(self) -> str:
        return str(self._table().html())
