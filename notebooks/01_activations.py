# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Activation functions · 活性化関数
#
# What turns the sum inside a neuron into its output: the step, the sigmoid, the ReLU and the softmax. We write each of
# them by hand with NumPy first, and then compare it with that of anyback.
#
# ニューロンの中の総和を出力に変えるもの、ステップ関数・シグモイド関数・ReLU・ソフトマックス関数を見ていきます。
# どれも、まずNumPyを使って自分で書き、それからanybackの関数と比べます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

_ = os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import logging

import numpy as np

import anyback as ab
from anyback.activations import relu, sigmoid, softmax, step
from anyback.plots import plot_activation

logging.getLogger("anyback").setLevel("ERROR")  # the next line says what was chosen
print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## The step function · ステップ関数
#
# It answers 1 where its input is above 0, and 0 elsewhere.
#
# 入力が0を超えたら1を、それ以外は0を出力します。
#
# With `if` it works for one number only. Written with NumPy, it takes a whole array: `x > 0` compares each number, and
# gives an array of true and false, which become 1 and 0.
#
# `if` 文で書くと、1つの数しか扱えません。NumPyで書けば、配列をまとめて扱えます。
# `x > 0` は要素ごとに比較して真偽値の配列を作り、それを1と0に変えます。


# %%
def step_by_hand(x):
    return (x > 0).astype(x.dtype)


few = np.array([-1.0, 0.0, 2.0])
print("by hand", step_by_hand(few))
print("anyback", step(ab.asarray(few, dtype="float32")))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert step_by_hand(few).tolist() == [0.0, 0.0, 1.0]
assert ab.to_numpy(step(ab.asarray(few, dtype="float32"))).tolist() == [0.0, 0.0, 1.0]

# %% [markdown]
# `ab.asarray` makes an array where the computing is done, which may be a GPU, and `ab.to_numpy` brings an answer back
# to NumPy. The functions of anyback take the arrays of any library; those that we write here with NumPy take NumPy's.
#
# `ab.asarray` は、計算を行う場所（GPUのこともあります）に配列を作り、`ab.to_numpy` は答えをNumPyの配列に戻します。
# anybackの関数はどのライブラリの配列でも受け取りますが、ここでNumPyを使って書く関数が受け取るのはNumPyの配列だけです。
#
# To draw a function we need two things: the points `x`, and the answers at those points. With both, the horizontal axis
# shows the values of `x`. If only the answers are drawn, it shows their position in the array (0, 1, 2, …, 99) instead:
# a mistake that is easily made. `plot_activation` takes the function and the points.
#
# 関数を描くには、点 `x` と、それらの点での値の2つが必要です。両方を渡せば、横軸は `x` の値になります。
# 値だけを渡すと、横軸は配列の中での番号（0, 1, 2, …, 99）になってしまいます。よくある間違いです。
# `plot_activation` には、関数と点を渡します。

# %% tags=["picture"]
points = np.arange(-5.0, 5.0, 0.1)
ax = plot_activation(step_by_hand, points)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert ax.get_xlim()[0] == -5.0
assert any((np.diff(line.get_xdata()) == 0).any() for line in ax.lines[2:]), "not upright"

# %% [markdown]
# The line at 0 stands upright: the function jumps there, and takes no value between 0 and 1. A line that is simply
# drawn from each point to the next would be a little slanted.
#
# 0のところの線は垂直です。関数はそこで跳び、0と1の間の値をとることはありません。
# 点と点を単純に結ぶと、線は少し斜めになってしまいます。

# %% [markdown]
# ## The sigmoid function · シグモイド関数
#
# It answers any number between 0 and 1, and changes smoothly: $h(x) = 1 / (1 + e^{-x})$.
#
# 0から1までの値を滑らかに出力します。式は $h(x) = 1 / (1 + e^{-x})$ です。


# %%
def sigmoid_by_hand(x):
    return 1 / (1 + np.exp(-x))


few = np.array([-1.0, 1.0, 2.0])
print("by hand", sigmoid_by_hand(few))
print("anyback", sigmoid(ab.asarray(few, dtype="float32")))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
known = [0.26894142, 0.73105858, 0.88079708]
np.testing.assert_allclose(sigmoid_by_hand(few), known, rtol=1e-6)
np.testing.assert_allclose(
    ab.to_numpy(sigmoid(ab.asarray(few, dtype="float32"))), known, rtol=1e-6
)

# %% [markdown]
# The step and the sigmoid are both close to 0 far to the left and close to 1 far to the right. The sigmoid is smooth,
# so a small change of its input is a small change of its output; that is what training needs.
#
# ステップ関数もシグモイド関数も、左の端では0に近く、右の端では1に近くなります。
# シグモイド関数は滑らかなので、入力が少し変われば、出力も少しだけ変わります。学習にはこの性質が必要です。

# %% tags=["picture"]
x = ab.asarray(points, dtype="float32")
ax = plot_activation([step, sigmoid], x)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert np.all((ab.to_numpy(sigmoid(x)) > 0) & (ab.to_numpy(sigmoid(x)) < 1))
assert np.all(np.diff(ab.to_numpy(sigmoid(x))) > 0), "the sigmoid only rises"
np.testing.assert_allclose(ab.to_numpy(sigmoid(x)), sigmoid_by_hand(points), rtol=2e-6)

# %% [markdown]
# ## ReLU and its relatives · ReLUとその仲間
#
# ReLU passes what is positive and stops the rest.
#
# ReLUは、正の入力をそのまま出力し、それ以外は0にします。


# %%
def relu_by_hand(x):
    return np.maximum(x, 0)


few = np.array([-1.0, 0.0, 2.0])
print("by hand", relu_by_hand(few))
print("anyback", relu(ab.asarray(few, dtype="float32")))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert relu_by_hand(few).tolist() == [0.0, 0.0, 2.0]
assert ab.to_numpy(relu(ab.asarray(few, dtype="float32"))).tolist() == [0.0, 0.0, 2.0]

# %% [markdown]
# It is the usual choice inside today's networks: it costs one comparison, and its slope does not fade for large inputs
# as that of the sigmoid does. Its relatives bend at 0 in other ways. An activation of anyback may be named by a string.
#
# 現在のネットワークの中間層では、ReLUがよく使われます。比較1回で計算でき、入力が大きくても、
# シグモイド関数のように傾きが消えることがないからです。その仲間は、0の近くでの曲がり方が異なります。
# anybackの活性化関数は、文字列の名前でも指定できます。

# %% tags=["picture"]
ax = plot_activation(["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"])

# %% [markdown]
# ## Why not a straight line? · なぜ直線ではいけないのか
#
# Layers with a straight line between them could be one layer.
#
# 直線（線形関数）を挟むだけでは、何層重ねても1層と同じになってしまいます。
#
# With $h(x) = c x$, three layers compute $c \cdot c \cdot c \cdot x = c^3 x$, which is $a x$ with $a = c^3$: one layer
# would do. A bend or a curve is what makes more layers worth having.
#
# $h(x) = c x$ とすると、3層の計算は $c \cdot c \cdot c \cdot x = c^3 x$ です。これは $a = c^3$ とした $a x$ なので、
# 1層で足ります。層を重ねる意味が生まれるのは、活性化関数が折れ曲がっていたり、曲線だったりするからです。

# %%
c = 0.5
three_layers = c * (c * (c * points))
one_layer = c**3 * points
print("largest difference:", np.abs(three_layers - one_layer).max())

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
assert np.allclose(three_layers, one_layer)
assert np.allclose(ab.to_numpy(c * (c * (c * x))), ab.to_numpy(c**3 * x))

# %% [markdown]
# ## The softmax function · ソフトマックス関数
#
# It turns any numbers into probabilities, in three steps.
#
# どんな数の並びも、3つの手順で確率に変えます。
#
# 1. $e^{a}$ makes every number positive, and keeps their order.
# 2. Adding them up gives a total.
# 3. Dividing by the total makes them add up to 1.
#
# 1. $e^{a}$ によって、大小の順序を保ったまま、すべての数を正にします。
# 2. それらを足し合わせて、総和を求めます。
# 3. 総和で割ると、合計が1になります。

# %%
a = np.array([0.3, 2.9, 4.0])
positive = np.exp(a)
total = positive.sum()
by_hand = positive / total
print("positive     ", positive)
print("total        ", total)
print("probabilities", by_hand, "which add up to", by_hand.sum())
print("anyback      ", softmax(ab.asarray(a, dtype="float32")))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
np.testing.assert_allclose(
    ab.to_numpy(softmax(ab.asarray(a, dtype="float32"))), by_hand, rtol=1e-6
)

# %% [markdown]
# The formula as it stands fails for large numbers, since $e^{1000}$ is larger than any number that a computer keeps: it
# becomes infinite, and infinity divided by infinity is not a number (`nan`). Taking the largest of the numbers away
# from all of them first changes nothing in the quotient, and mends it.
#
# この式をそのまま使うと、大きな数では計算できません。
# $e^{1000}$ はコンピュータが扱えるどの数よりも大きいので、無限大になり（オーバーフロー）、
# 無限大を無限大で割った結果は数ではなくなります（`nan`）。
# 先にすべての数から最大値を引いておけば、商の値を変えずに、この問題を避けられます。


# %%
def softmax_by_hand(a):
    positive = np.exp(a - a.max())
    return positive / positive.sum()


large = np.array([1010.0, 1000.0, 990.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("as it stands ", np.exp(large) / np.exp(large).sum())
print("largest first", softmax_by_hand(large))
print("anyback      ", ab.to_numpy(softmax(ab.asarray(large, dtype="float32"))))

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
known = [0.9999546, 4.53978686e-05]
np.testing.assert_allclose(softmax_by_hand(large)[:2], known, rtol=1e-6)
np.testing.assert_allclose(
    ab.to_numpy(softmax(ab.asarray(large, dtype="float32")))[:2], known, rtol=1e-6
)

# %% [markdown]
# ## Softmax of two numbers is the sigmoid · 2つの数のソフトマックスはシグモイド
#
# So the softmax does not fall from the sky: it is the sigmoid for more than two classes.
#
# つまり、ソフトマックス関数は、シグモイド関数を3クラス以上に広げたものです。
#
# For the numbers $x$ and $0$ the first probability is $e^{x} / (e^{x} + e^{0})$; divided by $e^{x}$ above and below,
# that is $1 / (1 + e^{-x})$. The three curves below lie on each other, so the first is drawn widest and the last
# thinnest.
#
# 2つの数 $x$ と $0$ に対して、1つ目の確率は $e^{x} / (e^{x} + e^{0})$ です。分母と分子を $e^{x}$ で割ると、
# $1 / (1 + e^{-x})$ になります。次の図の3本の曲線は重なるので、1本目を最も太く、3本目を最も細く描いています。


# %% tags=["picture"]
def softmax_of_x_and_0(x):
    xp = ab.backends.array_namespace(x)  # the functions of the library that x belongs to
    pairs = xp.stack([x, xp.zeros_like(x)], axis=1)  # (n, 2)
    return softmax(pairs)[:, 0]


def softmax_by_hand_of_x_and_0(x):
    return np.array([softmax_by_hand(np.array([number, 0.0]))[0] for number in x])


ax = plot_activation([sigmoid, softmax_of_x_and_0, softmax_by_hand_of_x_and_0], points)

# %% jupyter={"source_hidden": true} tags=["hide", "remove-cell"]
np.testing.assert_allclose(
    ab.to_numpy(softmax_of_x_and_0(x)), ab.to_numpy(sigmoid(x)), rtol=1e-6
)
np.testing.assert_allclose(
    softmax_by_hand_of_x_and_0(points), sigmoid_by_hand(points), rtol=1e-12
)
widths = [line.get_linewidth() for line in ax.lines[2:]]
assert len(set(widths)) == 3, widths
