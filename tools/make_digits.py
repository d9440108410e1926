#!/usr/bin/env python3
# /// script
# dependencies = ["anyback", "scikit-learn>=1.5"]
# ///
"""Make what comes with the package: the digits of scikit-learn, split, and a network trained on the first part.

Writes anyback/datasets/digits.npz (images, labels, and which are for testing) and
anyback/weights/digits-mlp.safetensors. The last bits of the weights depend on the machine; those committed count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from anyback.weights import write_weights

PACKAGE = Path(__file__).parent.parent / "anyback"
TESTED = 500


def main() -> None:
    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    np.testing.assert_array_equal(images, data.images)  # whole numbers from 0 to 16
    _, chosen = train_test_split(np.arange(len(labels)), test_size=TESTED, stratify=labels, random_state=0)
    test = np.zeros(len(labels), dtype=bool)
    test[chosen] = True
    np.savez_compressed(PACKAGE / "datasets" / "digits.npz", images=images, labels=labels, test=test)

    x = data.data / 16
    network = MLPClassifier((50, 100), activation="logistic", alpha=1e-2, learning_rate_init=3e-3, random_state=0)
    network.set_params(max_iter=2000, tol=1e-5, n_iter_no_change=50).fit(x[~test], labels[~test])
    arrays = {}
    for i, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), start=1):
        arrays |= {f"W{i}": weight.astype(np.float32), f"b{i}": bias.astype(np.float32)}
    write_weights(PACKAGE / "weights" / "digits-mlp.safetensors", arrays)
    print(f"{network.n_iter_} epochs; accuracy {network.score(x[test], labels[test]):.4f} on {TESTED} images")


if __name__ == "__main__":
    main()
