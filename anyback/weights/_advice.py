"""What to do about files that hold weights in another way than anyback reads: the words of error messages."""

from __future__ import annotations

from anyback._kinds import kind_of, seems

__all__ = ["about_file", "about_module", "about_suffix"]

_SAVE = "save its arrays as NumPy's, with anyback.write_weights"
_UNPACK = "unpack it first"
_CURES = {
    **dict.fromkeys(("gzip", "bzip2", "xz", "zstandard", "7z", "rar", "tar", "zip"), _UNPACK),
    "zlib": "where joblib wrote it, joblib.load it, and " + _SAVE,
    "npz": "give it the suffix .npz",
    "safetensors": "give it the suffix .safetensors",
    "pickle": "give it the suffix .pkl",
    "npy": "one array without a name; save all of them with names: numpy.savez(path, W1=W1, b1=b1)",
    "hdf5": "give it the suffix .h5, under which h5py reads it",
    "keras": "give it the suffix .keras",
    "legacy": "write it again with torch.save(torch.load(path, weights_only=True), path), or as .safetensors",
    "pytorch": "give it the suffix .pt, where it is a state dict of torch.save(module.state_dict(), path)",
    "onnx": "give it the suffix .onnx, and load it with anyback.load_model",
}

#: The first part of the module that a pickle names -> whose arrays they are, and how one becomes NumPy's.
_LIBRARIES = {
    "cupy": ("CuPy", "cupy.asnumpy(x)"),
    "cupyx": ("CuPy", "cupy.asnumpy(x)"),
    "jax": ("JAX", "numpy.asarray(x)"),
    "jaxlib": ("JAX", "numpy.asarray(x)"),
    "torch": ("PyTorch", "x.detach().cpu().numpy()"),
    "tensorflow": ("TensorFlow", "x.numpy()"),
    "dask": ("Dask", "x.compute()"),
    "array_api_strict": ("array-api-strict", "numpy.from_dlpack(x)"),
    "pandas": ("pandas", "x.to_numpy()"),
    "scipy": ("SciPy", "x.toarray()"),
    "mlx": ("MLX", "numpy.array(x)"),
}


#: Suffixes that other libraries give to what they keep -> what to do.
_SUFFIXES = {
    ".joblib": "where it holds an estimator, anyback.from_sklearn(joblib.load(path))",
    ".eqx": "load it with equinox.tree_deserialise_leaves, and pass the module to anyback.from_arrays",
    ".msgpack": "anyback.from_arrays(flax.serialization.msgpack_restore(path.read_bytes()), hidden=...)",
    ".ckpt": "take the state dict out of it: torch.save(checkpoint['state_dict'], 'mine.pt')",
}


def about_suffix(suffix: str) -> str:
    """Return what to do about a file of another library's suffix; the empty string where nothing is known.

    Examples
    --------
    >>> about_suffix(".joblib")
    '; where it holds an estimator, anyback.from_sklearn(joblib.load(path))'
    """
    return f"; {_SUFFIXES[suffix]}" if suffix in _SUFFIXES else ""


def about_module(module: str) -> str:
    """Return what to do about a pickle that names something in a module; the empty string where nothing is known.

    Examples
    --------
    >>> about_module("jax._src.array")
    'the file holds arrays of JAX; save NumPy arrays instead: {name: numpy.asarray(x) for name, x in arrays.items()}'
    >>> about_module("os")
    ''
    """
    first = module.partition(".")[0]
    if first == "joblib":
        return "joblib.dump wrote the file; joblib.load it, and save its NumPy arrays with pickle.dump or numpy.savez"
    if first == "sklearn":
        return "as an estimator of scikit-learn does; load it there, and pass it to anyback.from_sklearn(estimator)"
    if first not in _LIBRARIES:
        return ""
    library, call = _LIBRARIES[first]
    return (
        f"the file holds arrays of {library}; save NumPy arrays instead: {{name: {call} for name, x in arrays.items()}}"
    )


def about_file(data: bytes, kind: str) -> str:
    r"""Return what a file seems to be and what to do, where it does not begin as one of its kind does.

    Examples
    --------
    >>> about_file(b"\x1f\x8b\x08", "a pickle")
    '; it seems to be a gzip file: unpack it first'
    >>> about_file(b"\x80\x04\x95", "a pickle")
    ''
    """
    return "" if kind_of(data) == kind else seems(data, **_CURES)
