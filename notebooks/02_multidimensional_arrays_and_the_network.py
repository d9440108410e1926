# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Multidimensional arrays and the network · 多次元配列とニューラルネットワーク
#
# A network of three layers is three matrix products with an activation after each.
#
# 3層のニューラルネットワークは、3回の行列の積と、そのたびに通す活性化関数でできています。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import itertools

import numpy as np

import anyback as ab
from anyback.activations import identity, sigmoid, softmax
from anyback.functional import linear
from anyback.layers import Linear, Sequential
from anyback.plots import plot_batch, plot_network

print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## Arrays and their shapes · 配列と形状
#
# An array is numbers in rows and columns; its shape says how many of each.
#
# 配列は数を行と列に並べたもので、形状（shape）はその行数と列数を表します。

# %%
A = ab.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
print(A)
print("axes:", A.ndim, " shape:", tuple(A.shape), "- 3 rows, 2 columns")
assert A.ndim == 2
assert tuple(A.shape) == (3, 2)

# %% [markdown]
# ## The matrix product · 行列の積
#
# Each number of the result is a row of the left matrix times a column of the right one, added up.
#
# 結果の各要素は、左の行列の行と右の行列の列を、要素ごとに掛けて足し合わせたものです。
#
# So a row of the left must be as long as a column of the right: (**3**×2) · (2×**4**) gives **3×4**. The inner numbers
# must agree, and the outer ones are the shape of the result.

# %%
B = ab.asarray([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 3.0]])
C = A @ B
print(C)
assert tuple(C.shape) == (3, 4)
assert float(C[0, 3]) == 1.0 * 1.0 + 2.0 * 3.0

# %% [markdown]
# Where the inner numbers do not agree there is no product. anyback says what it expected and what it found:

# %%
try:
    linear(A, ab.asarray([[1.0, 2.0, 3.0]]))  # (3, 2) times (1, 3)
except ab.ShapeError as error:
    print(error)
    message = str(error)
assert "expected shape (n, 1) or (1,), found (3, 2)" in message

# %% [markdown]
# ## One layer · 1つの層
#
# A layer multiplies its input by weights, adds a bias, and passes the sum through an activation.
#
# 層は、入力に重みを掛け、バイアスを足し、その和を活性化関数に通します。
#
# $a_1 = w_{11} x_1 + w_{12} x_2 + b_1$ for the first neuron, and the same for the others. All at once that is
# $A = X W + B$ with a column of $W$ for each neuron.

# %%
X = ab.asarray([1.0, 0.5])
W1, B1 = ab.asarray([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), ab.asarray([0.1, 0.2, 0.3])
A1 = X @ W1 + B1  # (2,) · (2, 3) + (3,) gives (3,)
Z1 = sigmoid(A1)
print("A1:", A1)
print("Z1:", Z1)
np.testing.assert_allclose(ab.to_numpy(A1), [0.3, 0.7, 1.1], rtol=1e-3)
np.testing.assert_allclose(ab.to_numpy(Z1), [0.57444252, 0.66818777, 0.75026011], rtol=1e-3)

# %% [markdown]
# ## Three layers · 3つの層
#
# The output of a layer is the input of the next.
#
# ある層の出力が、次の層の入力になります。

# %%
W2, B2 = ab.asarray([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), ab.asarray([0.1, 0.2])
W3, B3 = ab.asarray([[0.1, 0.3], [0.2, 0.4]]), ab.asarray([0.1, 0.2])

Z2 = sigmoid(Z1 @ W2 + B2)  # (3,) · (3, 2) gives (2,)
Y = identity(Z2 @ W3 + B3)  # (2,) · (2, 2) gives (2,)
print("Y:", Y)
np.testing.assert_allclose(ab.to_numpy(Y), [0.31682708, 0.69627909], rtol=1e-3)

# %% [markdown]
# A network is the same as one object: a list of layers, which is called like a function. It prints as a table of what
# it holds. And it multiplies with all digits of float32, where `@` on a GPU may round to fewer: hence the wider margin
# of the comparisons above.

# %% tags=["html"]
net = Sequential(
    (Linear(W1, B1), sigmoid, Linear(W2, B2), sigmoid, Linear(W3, B3), identity)
)
np.testing.assert_allclose(ab.to_numpy(net(X)), [0.31682708, 0.69627909], rtol=1e-6)
net

# %% [markdown]
# And this is its picture. A circle is a neuron, a line is a weight, and the wider the line, the larger the weight. The
# grey neurons always give 1: the lines from them are the biases.

# %% tags=["picture"]
ax = plot_network(net)

# %% [markdown]
# ## The output layer: regression or classification · 出力層：回帰か分類か
#
# The last activation follows from the task.
#
# 最後の活性化関数は、問題の種類によって決まります。
#
# | task · 問題 | last activation | output |
# | --- | --- | --- |
# | regression (a number such as a price) · 回帰 | `identity` | the number itself |
# | two classes · 2クラス分類 | `sigmoid` | the probability of one of them |
# | many classes · 多クラス分類 | `softmax` | a probability for each |

# %%
for last in (identity, sigmoid, softmax):
    y = ab.to_numpy(Sequential((*net.layers[:-1], last))(X))
    print(f"{last.__name__:9}", y, "sum", y.sum())
assert abs(y.sum() - 1.0) < 1e-6, "softmax gives probabilities"

# %% [markdown]
# The softmax keeps the order, so the largest output stays the largest: to name the class alone, it is not needed.

# %%
assert int(np.argmax(y)) == int(np.argmax(ab.to_numpy(Y)))

# %% [markdown]
# ## Batches: many inputs at once · バッチ処理：まとめて計算する
#
# A hundred inputs are a hundred rows, and the same products compute them all.
#
# 100個の入力は100行の行列であり、同じ行列の積でまとめて計算できます。
#
# Nothing in the network changes: the first number of each shape is 100 instead of 1. Here are the shapes that flow
# through the network of the book for handwritten digits, 784-50-100-10:

# %% tags=["picture"]
rng = np.random.default_rng(0)
sizes = (784, 50, 100, 10)
layers = []
for inputs, outputs in itertools.pairwise(sizes):
    layers += [
        Linear(ab.asarray(rng.normal(size=(inputs, outputs)), dtype="float32")),
        sigmoid,
    ]
large = Sequential((*layers[:-1], softmax))
ax = plot_batch(large, 100)

# %% tags=["picture"]
ax = plot_network(large)

# %% [markdown]
# One input gives one row of ten numbers, and a hundred give a hundred: the rows are the same.

# %%
many = ab.asarray(rng.uniform(size=(100, 784)), dtype="float32")
one = large(many[0])
assert tuple(one.shape) == (10,)
assert tuple(large(many).shape) == (100, 10)
np.testing.assert_allclose(
    ab.to_numpy(large(many))[0], ab.to_numpy(one), rtol=1e-4, atol=1e-6
)
