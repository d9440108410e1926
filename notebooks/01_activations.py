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
# What turns the sum inside a neuron into its output: the step, the sigmoid, the ReLU and the softmax.
#
# ニューロンの中の総和を出力に変えるもの、ステップ関数・シグモイド関数・ReLU・ソフトマックス関数を見ていきます。
#
# The next two lines choose a GPU when there is one, and NumPy when there is not.
#
# 次の2行は、GPUがあればGPUを、なければNumPyを選びます。

# %%
import os

os.environ.setdefault("ANYBACK_BACKEND", "auto")

# %%
import numpy as np

import anyback as ab
from anyback.activations import relu, sigmoid, softmax, step
from anyback.plots import plot_activation

print("new arrays are made on", ab.get_backend())

# %% [markdown]
# ## The step function · ステップ関数
#
# It answers 1 where its input is above 0, and 0 elsewhere.
#
# 入力が0を超えたら1を、それ以外は0を出力します。
#
# A function is given a whole array at once, and answers each number in it. `ab.asarray` makes the array where the
# computing is done, and `ab.to_numpy` brings an answer back.

# %%
few = ab.asarray([-1.0, 0.0, 2.0])
print(step(few))
assert ab.to_numpy(step(few)).tolist() == [0.0, 0.0, 1.0]

# %% [markdown]
# To draw it we need two things: the points `x`, and the answers at those points. With both, the horizontal axis shows
# the values of `x`. If only the answers are drawn, it shows their position in the array (0, 1, 2, …, 99) instead: a
# mistake that is easily made. `plot_activation` takes the function and `x`.

# %% tags=["picture"]
x = ab.asarray(np.arange(-5.0, 5.0, 0.1), dtype="float32")
ax = plot_activation(step, x)
assert ax.get_xlim()[0] == -5.0

# %% [markdown]
# ## The sigmoid function · シグモイド関数
#
# It answers any number between 0 and 1, and changes smoothly: $h(x) = 1 / (1 + e^{-x})$.
#
# 0から1までの値を滑らかに出力します。
#
# Both are close to 0 far to the left and close to 1 far to the right. The sigmoid is smooth, so a small change of its
# input is a small change of its output; that is what training needs.

# %% tags=["picture"]
ax = plot_activation([step, sigmoid], x)

y = ab.to_numpy(sigmoid(x))
assert np.all((y > 0) & (y < 1))
assert np.all(np.diff(y) > 0), "the sigmoid only rises"
np.testing.assert_allclose(
    ab.to_numpy(sigmoid(ab.asarray([-1.0, 1.0, 2.0]))),
    [0.26894142, 0.73105858, 0.88079708],
    rtol=1e-6,
)

# %% [markdown]
# ## ReLU and its relatives · ReLUとその仲間
#
# ReLU passes what is positive and stops the rest.
#
# ReLUは、正の入力をそのまま出力し、それ以外は0にします。

# %% tags=["picture"]
ax = plot_activation(["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"])
assert ab.to_numpy(relu(few)).tolist() == [0.0, 0.0, 2.0]

# %% [markdown]
# ## Why not a straight line? · なぜ直線ではいけないのか
#
# Layers with a straight line between them could be one layer.
#
# 直線（線形関数）を挟むだけでは、何層重ねても1層と同じになってしまいます。
#
# With $h(x) = c x$, three layers compute $c \cdot c \cdot c \cdot x = c^3 x$, which is $a x$ with $a = c^3$: one layer
# would do. A bend or a curve is what makes more layers worth having.

# %%
c = 0.5
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

# %%
a = np.array([0.3, 2.9, 4.0])
positive = np.exp(a)
total = positive.sum()
by_hand = positive / total
print("positive     ", positive)
print("total        ", total)
print("probabilities", by_hand, "which add up to", by_hand.sum())

np.testing.assert_allclose(
    ab.to_numpy(softmax(ab.asarray(a, dtype="float32"))), by_hand, rtol=1e-6
)

# %% [markdown]
# The formula as it stands fails for large numbers, since $e^{1000}$ is larger than any number a computer keeps.
# Taking the largest of the numbers away from all of them first changes nothing in the quotient, and mends it.

# %%
large = np.array([1010.0, 1000.0, 990.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("as it stands ", np.exp(large) / np.exp(large).sum())
print("largest first", np.exp(large - large.max()) / np.exp(large - large.max()).sum())
print("anyback      ", ab.to_numpy(softmax(ab.asarray(large, dtype="float32"))))

np.testing.assert_allclose(
    ab.to_numpy(softmax(ab.asarray(large, dtype="float32")))[:2],
    [0.9999546, 4.53978686e-05],
    rtol=1e-6,
)

# %% [markdown]
# ## Softmax of two numbers is the sigmoid · 2つの数のソフトマックスはシグモイド
#
# So the softmax does not fall from the sky: it is the sigmoid for more than two classes.
#
# つまり、ソフトマックスはシグモイドを3クラス以上に広げたものです。
#
# For the numbers $x$ and $0$ the first probability is $e^{x} / (e^{x} + e^{0})$; divided by $e^{x}$ above and below,
# that is $1 / (1 + e^{-x})$. The two curves lie on each other:


# %% tags=["picture"]
def softmax_of_x_and_0(x):
    xp = ab.backends.array_namespace(x)  # the functions of the library that x belongs to
    pairs = xp.stack([x, xp.zeros_like(x)], axis=1)  # (n, 2)
    return softmax(pairs)[:, 0]


ax = plot_activation([sigmoid, softmax_of_x_and_0], x)
np.testing.assert_allclose(
    ab.to_numpy(softmax_of_x_and_0(x)), ab.to_numpy(sigmoid(x)), rtol=1e-6
)
