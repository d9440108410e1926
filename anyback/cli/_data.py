"""Data for the command line, from names and files."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyback import datasets, models, weights
from anyback._kinds import seems
from anyback.datasets import Dataset, idx
from anyback.errors import AnybackError, DataError
from anyback.network import Network

__all__ = ["DATASETS", "check_count", "compared", "data_of", "dataset", "inputs", "network", "sample_shape"]


def data_of(model: str) -> str:
    if model not in models.NETWORKS:
        # These say what is wrong with the file or the name.
        weights.read_weights(model) if os.path.lexists(model) and not _is_onnx(model) else models.load_model(model)
        raise DataError(f"which data? pass --data with one of {', '.join(DATASETS)}, or a file of images")
    return models.NETWORKS[model].data


#: The data sets by name.
DATASETS = {"digits": datasets.digits, "mnist": datasets.mnist}


def dataset(name: str) -> Dataset:
    if name in DATASETS:
        return DATASETS[name]("test")
    path = Path(name)
    if path.suffix.lower() != ".npz":
        raise DataError(f"unknown data {name[:80]!r}; known: {', '.join(DATASETS)}, or an .npz file")
    arrays = weights.read_weights(path, allow_nonfinite=True)
    if missing := {"images", "labels"} - set(arrays):
        raise DataError(f"{path}: expected arrays images and labels, missing {', '.join(sorted(missing))}")
    return Dataset(arrays["images"], arrays["labels"], path.name, "all")


def compared(name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inputs of a data set or a file, and their labels where it has them."""
    path = Path(name)
    if name in DATASETS:
        found = dataset(name)
        return found.images, found.labels
    if path.suffix.lower() == ".npz":
        arrays = weights.read_weights(path, allow_nonfinite=True)
        labels = arrays.pop("labels", None)
        return _images(path, arrays), labels
    if path.suffix.lower() != ".npy" and not os.path.lexists(path):
        raise DataError(f"unknown data {name[:80]!r}; known: {', '.join(DATASETS)}, or an .npz, .npy or IDX file")
    return inputs(path), None


def network(model: str, *, shape: tuple[int, ...] | None, **options: Any) -> Network:
    """Return a network by name or from a file; `shape` is that of an image, which an ONNX file says itself."""
    return models.load_model(model, shape=None if _is_onnx(model) else shape, **options)


def _is_onnx(model: str) -> bool:
    return Path(model).suffix.lower() == ".onnx"


def check_count(count: int | None) -> None:
    """Raise `AnybackError` where a number of images is below 1."""
    if count is not None and count < 1:
        raise AnybackError(f"count: expected a whole number of at least 1, found {count}")


def sample_shape(images: np.ndarray) -> tuple[int, ...] | None:
    """Return the shape of one image of a batch; None where the inputs are flat, or one sample."""
    return images.shape[1:] if images.ndim > 2 else None


def inputs(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _images(path, weights.read_weights(path, allow_nonfinite=True))
    if suffix == ".npy":
        return _npy(path)
    try:
        return idx.read(path)
    except idx.NotIdxError as error:
        raise DataError(f"{error}; give images as an .npy or .npz file of numbers, or as IDX") from None


def _images(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the array named images, or the only one."""
    if "images" not in arrays and len(arrays) != 1:
        raise DataError(f"{path}: expected an array images, found {', '.join(map(ascii, arrays))[:80]}")
    return arrays["images"] if "images" in arrays else next(iter(arrays.values()))


def _npy(path: Path) -> np.ndarray:
    try:
        mode = path.stat().st_mode  # opening a named pipe would wait for a writer for ever
        if not stat.S_ISREG(mode):
            raise DataError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}; expected a file")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path") from None
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:
        with path.open("rb") as stream:
            seen = seems(stream.read(1024))
        raise DataError(f"{path} is not an .npy file of numbers ({type(error).__name__}){seen}") from None
    if not isinstance(found, np.ndarray):  # an .npz archive by its first bytes
        raise DataError(f"{path} holds several arrays; name it .npz")
    return found
