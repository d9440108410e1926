# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Your own network · 自分のネットワーク
#
# anyback runs networks that were trained elsewhere: here with scikit-learn, and with gradients by JAX.
#
# anybackは、ほかで学習したネットワークを動かします。ここではscikit-learnと、JAXの勾配で学習します。
#
# **Training** finds weights that answer examples rightly; it needs gradients, and the libraries that calculate them.
# **Inference** uses the weights, and that is what anyback does. This notebook needs
# `pip install 'anyback[jax,plot]' scikit-learn`.
#
# **学習**は、例に正しく答えられる重みを見つけることです。そのためには勾配と、それを計算するライブラリが必要です。
# **推論**は、その重みを使うことで、anybackが行うのはこちらです。
# このノートブックの実行には `pip install 'anyback[jax,plot]' scikit-learn` が必要です。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import logging
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import anyback as ab
from anyback.activations import log_softmax, relu, softmax
from anyback.layers import Linear, Sequential
from anyback.plots import plot_confusion, plot_weights

logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
print("new arrays are made on", ab.get_backend())
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Data · データ
#
# The embedded digits: 1,297 images to train on, and 500 others to test with.
#
# 付属の数字データを使います。1,297枚で学習し、別の500枚でテストします。

# %% tags=["html"]
train, test = ab.datasets.digits("train"), ab.datasets.digits("test")
x_train = train.images.reshape(-1, 64).astype(np.float32) / 16
x_test = test.images.reshape(-1, 64).astype(np.float32) / 16
train

# %% [markdown]
# ## Train with scikit-learn · scikit-learnで学習する
#
# Its weights become arrays with the names that anyback reads: `W1, b1, W2, b2`.
#
# 学習した重みを、anybackが読む名前 `W1, b1, W2, b2` の配列にします。
#
# `coefs_` are the weights of scikit-learn's network, a matrix for each layer, and `intercepts_` the biases.
#
# scikit-learnのネットワークでは、`coefs_` が層ごとの重みの行列、`intercepts_` がバイアスです。

# %%
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

theirs = MLPClassifier(
    (40,), activation="relu", learning_rate_init=3e-3, max_iter=60, random_state=0
)
with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", ConvergenceWarning
    )  # a minute of training is enough to show the way
    theirs.fit(x_train, train.labels)

arrays = {}
for i, (weight, bias) in enumerate(
    zip(theirs.coefs_, theirs.intercepts_, strict=True), start=1
):
    arrays[f"W{i}"], arrays[f"b{i}"] = weight.astype(np.float32), bias.astype(np.float32)
print({name: array.shape for name, array in arrays.items()})

# %% [markdown]
# ## Save, load, compare · 保存し、読み込み、比べる
#
# A safetensors file holds numbers and nothing that could run.
#
# safetensorsファイルに入るのは数値だけで、実行されるものは何も含まれません。
#
# The file does not say which activations the network has, so we say it: ReLU inside, and the softmax at the end, since
# there are ten classes. Our answers are then those of scikit-learn.
#
# どの活性化関数を使うかはファイルに書かれていないので、指定します。
# 中間層はReLU、出力層は、10クラスの分類なのでソフトマックス関数です。すると、scikit-learnと同じ答えになります。

# %% tags=["html"]
ab.write_weights(folder / "digits.safetensors", arrays)
net = ab.load_model(folder / "digits.safetensors", hidden="relu", output="softmax")
net

# %%
ours = ab.to_numpy(ab.predict(net, x_test))
expected = theirs.predict_proba(x_test)
print("largest difference of a probability:", np.abs(ours - expected).max())

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert np.abs(ours - expected).max() < 2e-6
assert (ours.argmax(axis=1) == theirs.predict(x_test)).all()

# %% tags=["picture"]
result = ab.evaluate(net, x_test, test.labels)
ax = plot_confusion(result)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert result.accuracy > 0.95

# %% [markdown]
# ## Train with gradients by JAX · JAXの勾配で学習する
#
# The forward pass of anyback is plain functions of arrays, so JAX can differentiate it as it is.
#
# anybackの順伝播は配列の関数だけでできているので、JAXでそのまま微分できます。
#
# The network ends in `log_softmax` for training: its output for the right class, with the sign changed, is the loss
# (cross-entropy). `net.with_arrays(arrays)` is the same network with other weights.
#
# 学習するあいだは、ネットワークの最後を `log_softmax` にします。
# 正解のクラスの出力の符号を変えたものが、損失（交差エントロピー誤差）です。
# `net.with_arrays(arrays)` は、重みだけを入れ替えた同じネットワークです。

# %%
import jax
import jax.numpy as jnp

rng = np.random.default_rng(0)


def layer(inputs, outputs):
    weight = rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, outputs))
    return Linear(
        jnp.asarray(weight, dtype=jnp.float32), jnp.zeros(outputs, dtype=jnp.float32)
    )


start = Sequential((layer(64, 40), relu, layer(40, 10), log_softmax))
x, labels = jnp.asarray(x_train), jnp.asarray(train.labels)


def loss(arrays):
    log_probabilities = start.with_arrays(arrays)(x)  # (1297, 10)
    return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))


print("loss before training:", loss(start.arrays))

# %% [markdown]
# Gradient descent with momentum: the weights roll downhill, and keep some of their speed.
#
# モメンタム（慣性）付きの勾配降下法です。重みは坂を下るように動き、それまでの速度を一部保ちます。


# %%
@jax.jit
def improve(arrays, speed):
    value, gradient = jax.value_and_grad(loss)(arrays)
    speed = jax.tree.map(lambda v, g: 0.9 * v - 0.1 * g, speed, gradient)
    return jax.tree.map(jnp.add, arrays, speed), speed, value


weights, speed, losses = start.arrays, jax.tree.map(jnp.zeros_like, start.arrays), []
for _ in range(300):
    weights, speed, value = improve(weights, speed)
    losses.append(float(value))
print("loss after training:", losses[-1])

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert losses[-1] < 0.05 < losses[0]

# %% tags=["picture"]
_, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ax.semilogy(losses)
_ = ax.set(xlabel="step", ylabel="loss", title="300 steps of gradient descent")

# %% [markdown]
# The gradient is right: along any direction it is the slope that is measured by two values of the loss. The book calls
# this numerical differentiation.
#
# 勾配が正しいことを確かめます。どの方向に進んでも、勾配から求めた傾きは、損失の2つの値から測った傾きと一致します。
# これは、本に出てくる数値微分です。

# %%
direction = jax.tree.map(
    lambda a: jnp.asarray(rng.normal(size=a.shape), dtype=a.dtype), start.arrays
)
slope = sum(
    jnp.vdot(g, d) for g, d in zip(jax.grad(loss)(start.arrays), direction, strict=True)
)
small = 1e-3
ahead, behind = (
    loss(tuple(a + sign * small * d for a, d in zip(start.arrays, direction, strict=True)))
    for sign in (1, -1)
)
measured = (ahead - behind) / (2 * small)
print("by JAX:", slope, " measured:", measured)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert abs(slope - measured) < 0.02 * abs(measured) + 0.02

# %% [markdown]
# ## Use it anywhere · どこでも使う
#
# The trained network ends in softmax, is saved, and runs on every library.
#
# 学習したネットワークの最後をソフトマックス関数に替えて保存すれば、どのライブラリでも動きます。
#
# The file holds the weights bit by bit, so what is loaded is what was trained.
#
# ファイルには重みが1ビットも変わらずに保存されるので、読み込んだものは、学習したものとまったく同じです。

# %% tags=["html"]
trained = Sequential((*start.with_arrays(weights).layers[:-1], softmax))
names = ("W1", "b1", "W2", "b2")
saved = {
    name: ab.to_numpy(array) for name, array in zip(names, trained.arrays, strict=True)
}
ab.write_weights(folder / "by-jax.safetensors", saved)

again = ab.load_model(
    folder / "by-jax.safetensors", hidden="relu", output="softmax", backend="numpy"
)
result = ab.evaluate(again, x_test, test.labels)
result

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
for name, array in zip(names, again.arrays, strict=True):
    assert array.tobytes() == saved[name].tobytes(), "every bit comes back"
np.testing.assert_allclose(
    again(x_test), ab.to_numpy(trained(jnp.asarray(x_test))), atol=2e-6
)
assert result.accuracy > 0.95

# %% [markdown]
# And this is what its first neurons learned to look for: blue where ink speaks for it, and red where it speaks against.
#
# 最後に、1層目のニューロンが何を探すように学習したかを見ます。
# 青はインクがあると反応が強まるところ、赤は弱まるところです。

# %% tags=["picture"]
ax = plot_weights(again, limit=20)
