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
# A network of three layers is three matrix products with an activation after each. We write it by hand with NumPy
# first, and then as one object of anyback.
#
# 3層のニューラルネットワークは、3回の行列の積と、そのたびに通す活性化関数でできています。
# まずNumPyを使って自分で書き、それからanybackの1つのオブジェクトとして書きます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import itertools
import logging

import numpy as np

import anyback as ab
from anyback.activations import identity, sigmoid, softmax
from anyback.functional import linear
from anyback.layers import Linear, Sequential
from anyback.plots import plot_batch, plot_network

logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## Arrays and their shapes · 配列と形状
#
# An array is numbers in rows and columns; its shape says how many of each.
#
# 配列は数を行と列に並べたもので、形状（shape）はその行数と列数を表します。

# %%
A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
print(A)
print("axes:", A.ndim, " shape:", A.shape, "- 3 rows, 2 columns")

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert A.ndim == ab.asarray(A, dtype="float32").ndim == 2
assert A.shape == tuple(ab.asarray(A, dtype="float32").shape) == (3, 2)

# %% [markdown]
# ## The matrix product · 行列の積
#
# Each number of the result is a row of the left matrix times a column of the right one, added up.
#
# 結果の各要素は、左の行列の行と右の行列の列を、要素ごとに掛けて足し合わせたものです。
#
# So a row of the left must be as long as a column of the right: (**3**×2) · (2×**4**) gives **3×4**. The inner numbers
# must agree, and the outer ones are the shape of the result.
#
# したがって、左の行列の行と右の行列の列は、同じ長さでなければなりません。(**3**×2) · (2×**4**) は **3×4** になります。
# 内側の数は一致する必要があり、外側の数が結果の形状になります。

# %%
B = np.array([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 3.0]])


def product_by_hand(A, B):
    C = np.zeros((A.shape[0], B.shape[1]))
    for row in range(A.shape[0]):
        for column in range(B.shape[1]):
            C[row, column] = (A[row, :] * B[:, column]).sum()
    return C


print("by hand")
print(product_by_hand(A, B))
print("A @ B, which the book writes as np.dot(A, B)")
print(A @ B)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert (A @ B).shape == (3, 4)
assert (A @ B)[0, 3] == 1.0 * 1.0 + 2.0 * 3.0
assert (product_by_hand(A, B) == A @ B).all()
product = ab.asarray(A, dtype="float32") @ ab.asarray(B, dtype="float32")
np.testing.assert_allclose(ab.to_numpy(product), A @ B, rtol=1e-2)

# %% [markdown]
# Where the inner numbers do not agree there is no product. anyback says what it expected and what it found:
#
# 内側の数が一致しなければ、積は計算できません。anybackは、期待した形状と実際の形状を示します。

# %%
try:
    three_by_two = ab.asarray(A, dtype="float32")
    linear(three_by_two, ab.asarray([[1.0, 2.0, 3.0]]))  # (3, 2) times (1, 3)
except ab.ShapeError as error:
    message = str(error)
print(message)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert "expected shape (n, 1) or (1,), found (3, 2)" in message

# %% [markdown]
# ## One layer by hand · 1つの層を自分で書く
#
# A layer multiplies its input by weights, adds a bias, and passes the sum through an activation.
#
# 層は、入力に重みを掛け、バイアスを足し、その和を活性化関数に通します。
#
# $a_1 = w_{11} x_1 + w_{12} x_2 + b_1$ for the first neuron, and the same for the others. All at once that is
# $A = X W + B$ with a column of $W$ for each neuron.
#
# 1つ目のニューロンでは $a_1 = w_{11} x_1 + w_{12} x_2 + b_1$ で、ほかのニューロンも同様です。
# まとめると $A = X W + B$ と書けます。$W$ の1列が、1つのニューロンに対応します。


# %%
def sigmoid_by_hand(x):
    return 1 / (1 + np.exp(-x))


X = np.array([1.0, 0.5])
W1, B1 = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.array([0.1, 0.2, 0.3])
A1 = X @ W1 + B1  # (2,) · (2, 3) + (3,) gives (3,)
Z1 = sigmoid_by_hand(A1)
print("A1:", A1)
print("Z1:", Z1)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
np.testing.assert_allclose(A1, [0.3, 0.7, 1.1], rtol=1e-6)
np.testing.assert_allclose(Z1, [0.57444252, 0.66818777, 0.75026011], rtol=1e-6)

# %% [markdown]
# ## Three layers by hand · 3つの層を自分で書く
#
# The output of a layer is the input of the next.
#
# ある層の出力が、次の層の入力になります。
#
# The weights are kept in a dictionary, and `forward` takes the input through them, from the first layer to the last:
# this is the forward pass. The last activation is the identity here, which changes nothing; the reason follows below.
#
# 重みは辞書にまとめます。`forward` は、入力を最初の層から最後の層へと順に通します。これが順伝播（forward）です。
# 最後の活性化関数は、ここでは値を何も変えない恒等関数です。その理由は、このあと説明します。

# %%
network = {"W1": W1, "b1": B1}
network["W2"], network["b2"] = (
    np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]),
    np.array([0.1, 0.2]),
)
network["W3"], network["b3"] = np.array([[0.1, 0.3], [0.2, 0.4]]), np.array([0.1, 0.2])


def forward(network, x):
    z1 = sigmoid_by_hand(x @ network["W1"] + network["b1"])  # (2,) · (2, 3) gives (3,)
    z2 = sigmoid_by_hand(z1 @ network["W2"] + network["b2"])  # (3,) · (3, 2) gives (2,)
    return z2 @ network["W3"] + network["b3"]  # (2,) · (2, 2) gives (2,)


Y = forward(network, X)
print("Y:", Y)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
np.testing.assert_allclose(Y, [0.31682708, 0.69627909], rtol=1e-6)

# %% [markdown]
# ## The same with anyback · anybackで同じものを書く
#
# The network is one object: a list of layers, which is called like a function. It prints as a table of what it holds.
#
# ネットワークは1つのオブジェクトです。層を並べたもので、関数のように呼び出せます。
# 表示すると、その中身が表になります。

# %% tags=["html"]
weights = {name: ab.asarray(array, dtype="float32") for name, array in network.items()}
net = Sequential(
    Linear(weights["W1"], weights["b1"]),
    sigmoid,
    Linear(weights["W2"], weights["b2"]),
    sigmoid,
    Linear(weights["W3"], weights["b3"]),
    identity,
)
y = net(ab.asarray(X, dtype="float32"))
print("by hand", Y)
print("anyback", ab.to_numpy(y))
net

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
np.testing.assert_allclose(ab.to_numpy(y), Y, rtol=1e-6)
np.testing.assert_allclose(ab.to_numpy(y), [0.31682708, 0.69627909], rtol=1e-6)

# %% [markdown]
# The numbers are those of our own network to about seven digits: NumPy keeps sixteen unless it is told otherwise, and
# anyback's network was given `float32`, as networks usually are. On a GPU, too, it multiplies with all digits of
# `float32`, where `@` may round to fewer.
#
# 答えは、自分で書いたネットワークと約7桁まで一致します。NumPyは、指定しなければ約16桁で計算します。
# anybackのネットワークには、ニューラルネットワークで普通に使われる `float32` の重みを渡しました。
# GPUの `@` は桁を減らして計算することがありますが、anybackはGPUでも `float32` の全桁を使って計算します。
#
# And this is its picture. A circle is a neuron, a line is a weight, and the wider the line, the larger the weight. The
# grey neurons always give 1: the lines from them are the biases.
#
# 次はこのネットワークの図です。丸はニューロン、線は重みで、線が太いほど重みが大きいことを表します。
# 灰色のニューロンは常に1を出力し、そこから出る線がバイアスです。

# %% tags=["picture"]
ax = plot_network(net)

# %% [markdown]
# ## The output layer: regression or classification · 出力層：回帰か分類か
#
# The last activation follows from the task, and from nothing else. These three are easily swapped:
#
# 最後の活性化関数は、問題の種類だけで決まります。次の3つは取り違えやすいので、注意してください。
#
# | task | last activation | output |
# | --- | --- | --- |
# | regression: a number, such as a price | `identity` | the number itself |
# | two classes: yes or no | `sigmoid` | the probability of yes; that of no is the rest to 1 |
# | many classes: one of ten digits | `softmax` | a probability for each class; they add up to 1 |
#
# | 問題 | 最後の活性化関数 | 出力 |
# | --- | --- | --- |
# | 回帰：価格のような数値 | 恒等関数 `identity` | その数値そのもの |
# | 2クラス分類：「はい」か「いいえ」か | シグモイド関数 `sigmoid` | 「はい」の確率。残りが「いいえ」の確率 |
# | 多クラス分類：10個の数字のどれか | ソフトマックス関数 `softmax` | クラスごとの確率。合計は1 |
#
# Why not another one? A price may be 300, or below 0, which neither the sigmoid nor the softmax can answer. Ten
# sigmoids would answer ten numbers between 0 and 1 that do not add up to 1, so they are not the probabilities of ten
# classes of which exactly one is right. And the softmax of a single number is always 1.
#
# なぜほかの関数ではいけないのでしょうか。価格は300にも、0より小さい値にもなりえますが、
# シグモイド関数もソフトマックス関数も、そのような値を出力できません。
# シグモイド関数を10個並べると、0から1までの数が10個得られますが、
# 合計は1にならないので、「10クラスのうち1つだけが正解」という場合の確率にはなりません。
# そして、1つだけの数のソフトマックスは、常に1です。

# %%
outputs = {}
for last in (identity, sigmoid, softmax):
    with_another_end = Sequential(*net.layers[:-1], last)
    outputs[last.__name__] = ab.to_numpy(with_another_end(ab.asarray(X, dtype="float32")))
    print(f"{last.__name__:9}", outputs[last.__name__], "sum", outputs[last.__name__].sum())

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert abs(outputs["softmax"].sum() - 1.0) < 1e-6, "softmax gives probabilities"
assert abs(outputs["sigmoid"].sum() - 1.0) > 0.1, "sigmoids do not"
assert (outputs["identity"] == ab.to_numpy(y)).all()

# %% [markdown]
# The softmax keeps the order, so the largest output stays the largest: to name the class alone, it is not needed. So
# it may be left out for inference, while training needs it.
#
# ソフトマックス関数は大小の順序を変えないので、最も大きい出力は最も大きいままです。
# クラスを答えるだけなら、ソフトマックス関数は要りません。そのため、推論では省略できますが、学習では必要になります。

# %%
print("largest without softmax:", int(np.argmax(outputs["identity"])))
print("largest with softmax:   ", int(np.argmax(outputs["softmax"])))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert int(np.argmax(outputs["softmax"])) == int(np.argmax(Y))

# %% [markdown]
# ## Batches: many inputs at once · バッチ処理：まとめて計算する
#
# A hundred inputs are a hundred rows, and the same products compute them all.
#
# 100個の入力は100行の行列であり、同じ行列の積でまとめて計算できます。
#
# Nothing in the network changes: the first number of each shape is 100 instead of 1. Here are the shapes that flow
# through the network of the book for handwritten digits, 784-50-100-10. The sides of the rectangles are not to scale:
# 784 would leave no room for 10.
#
# ネットワークは何も変わりません。それぞれの形状の最初の数が、1ではなく100になるだけです。
# 次の図は、本に出てくる手書き数字認識のネットワーク（784-50-100-10）を流れる配列の形状です。
# 長方形の辺の長さは、実際の比率ではありません。784に合わせると、10が見えなくなってしまうからです。

# %% tags=["picture"]
rng = np.random.default_rng(0)
sizes = (784, 50, 100, 10)
layers = []
for inputs, neurons in itertools.pairwise(sizes):
    weight = rng.normal(size=(inputs, neurons))
    layers += [Linear(ab.asarray(weight, dtype="float32")), sigmoid]
large = Sequential(*layers[:-1], softmax)
ax = plot_batch(large, 100)

# %% [markdown]
# Its neurons are too many to be drawn one by one, so its picture has a box for each step of the calculation, with the
# number of its weights on the right.
#
# このネットワークはニューロンが多すぎて1つずつは描けないので、図では計算の段階ごとに1つの箱を描きます。
# 箱の右側の数は、重みの個数です。

# %% tags=["picture"]
ax = plot_network(large)

# %% [markdown]
# One input gives one row of ten numbers, and a hundred give a hundred: the rows are the same.
#
# 1個の入力からは10個の数の並びが1行、100個の入力からは100行得られます。それぞれの行の値は同じです。

# %%
many = ab.asarray(rng.uniform(size=(100, 784)), dtype="float32")
one = large(many[0])
print("one input:     ", tuple(one.shape))
print("a hundred:     ", tuple(large(many).shape))
print(
    "largest difference of the first row:",
    np.abs(ab.to_numpy(large(many))[0] - ab.to_numpy(one)).max(),
)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert tuple(one.shape) == (10,)
assert tuple(large(many).shape) == (100, 10)
np.testing.assert_allclose(
    ab.to_numpy(large(many))[0], ab.to_numpy(one), rtol=1e-4, atol=1e-6
)
