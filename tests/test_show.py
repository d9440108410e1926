"""What objects show of themselves, in a notebook and on a terminal, without matplotlib."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback import _show
from anyback.activations import relu, sigmoid
from anyback.layers import Linear, Sequential
from anyback.plots import Image

HOSTILE = "<script>alert('1')</script>&\""


def decoded(data: bytes) -> np.ndarray:
    """Return the pixels of a PNG as `_show.png` writes it, with every checksum checked: an independent reader."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks.append((kind, body))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, rest) == (8, 0, [0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), dtype=np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


class Page(HTMLParser):
    """Tags, texts and pictures of a piece of HTML; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            kind, _, data = (dict(attrs)["src"] or "").partition(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(decoded(base64.b64decode(data, validate=True)))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# -- PNG ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (28, 28), (3, 40), (300, 2)])
def test_a_png_holds_every_pixel(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, size=shape).astype(np.uint8)
    image[0, 0] = 255  # the range is used as it is
    np.testing.assert_array_equal(decoded(_show.png(image)), image)


def test_a_png_is_enlarged_pixel_by_pixel() -> None:
    image = np.asarray([[0, 255], [51, 102]], dtype=np.uint8)
    np.testing.assert_array_equal(decoded(_show.png(image, size=5)), image.repeat(3, axis=0).repeat(3, axis=1))


def test_pillow_reads_the_png(tmp_path: object) -> None:
    pillow = pytest.importorskip("PIL.Image")
    import io

    image = np.random.default_rng(1).integers(0, 256, size=(28, 28)).astype(np.uint8)
    image[3, 3] = 255
    with pillow.open(io.BytesIO(_show.png(image))) as read:
        read.load()
        np.testing.assert_array_equal(np.asarray(read), image)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 1.0]], [[0, 255]]),
        ([[-1.0, 1.0]], [[0, 255]]),
        ([[0, 16]], [[0, 255]]),
        ([[True, False]], [[255, 0]]),
        ([[0.0, 0.0]], [[0, 0]]),
        ([[np.nan, np.inf, 1.0]], [[0, 0, 255]]),
        ([[-1.7e308, 1.7e308]], [[0, 255]]),
        ([[5e-324, 0.0]], [[0, 0]]),
    ],
)
def test_any_numbers_make_a_picture(values: list[list[float]], expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(decoded(_show.png(np.asarray(values))), expected)


def test_any_numbers_make_blocks() -> None:
    assert _show.blocks(np.asarray([[np.nan, -1.0, 1.0]])) == "    ██"
    assert _show.blocks(np.asarray([[-4.0, -2.0, 0.0]])) == "  ▒▒██"
    assert _show.blocks(np.zeros((2, 2))) == "    \n    "
    assert _show.blocks(np.zeros((28, 28))) == ""


# -- Images and data ----------------------------------------------------------------------------------


def test_an_image_of_any_library_shows_itself(lib: Library) -> None:
    pixels = ab.datasets.digits("test").images[0]
    image = Image(lib.asarray(pixels, "uint8"))
    shown = decoded(image._repr_png_())
    assert shown.shape == (160, 160)
    np.testing.assert_array_equal(shown[::20, ::20], np.rint(pixels * (255 / pixels.max())))
    assert repr(image) == ab.plots.blocks(pixels)
    flat = Image(lib.asarray(pixels.reshape(64), "uint8"))
    assert flat._repr_png_() == image._repr_png_()


@pytest.mark.parametrize("shape", [(63,), (2, 8, 8), (0, 8), ()])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ab.DataError, match=r"expected an image of shape \(height, width\).*found"):
        Image(np.zeros(shape))


def test_a_data_set_shows_its_first_images() -> None:
    test = ab.datasets.digits("test")
    page = Page(test._repr_html_())
    assert len(page.pictures) == 20
    for picture, image in zip(page.pictures, test.images, strict=False):
        np.testing.assert_array_equal(picture[::7, ::7], np.rint(image * (255 / image.max())))
    assert page.texts == [repr(test), *map(str, test.labels[:20])]


def test_parts_and_samples_show_themselves() -> None:
    test = ab.datasets.digits("test")
    np.testing.assert_array_equal(test[:10].images, test.images[:10])
    assert len(test[test.labels == 7]) == np.sum(test.labels == 7)
    assert [sample.label for sample in test[[3, 1]]] == test.labels[[3, 1]].tolist()
    sample = test[np.int64(2)]
    np.testing.assert_array_equal(sample.image, test.images[2])
    assert len(Page(sample._repr_html_()).pictures) == 1
    assert repr(sample) == f"{ab.plots.blocks(sample.image)}\nlabel {sample.label}"
    with pytest.raises(IndexError):
        test[500]


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 4), (3, 0, 8), (3, 1, 8, 8)])
def test_data_without_images_say_so_in_words(shape: tuple[int, ...]) -> None:
    data = ab.datasets.Dataset(np.zeros(shape), np.zeros(shape[0], dtype=np.uint8), HOSTILE, "all")
    page = Page(data._repr_html_())
    assert page.texts == [repr(data)]
    assert page.tags == ["p"]
    if shape[0]:
        Page(data[0]._repr_html_())
        assert repr(data[0]).endswith("label 0")


# -- Results and networks -----------------------------------------------------------------------------


def test_an_evaluation_shows_its_accuracy_and_confusion() -> None:
    test = ab.datasets.digits("test")
    result = ab.evaluate(ab.load_model("digits-mlp", backend="numpy"), test.images, test.labels)
    page = Page(result._repr_html_())
    assert page.texts[0].startswith(f"accuracy {result.accuracy:.4f}: {result.correct} of 500; on numpy:cpu")
    cells = re.findall(r"<td[^>]*>(\d*)</td>", result._repr_html_())
    table = np.asarray([int(cell or 0) for cell in cells]).reshape(10, 11)
    np.testing.assert_array_equal(table[:, 0], np.arange(10))
    np.testing.assert_array_equal(table[:, 1:], result.confusion)


def test_an_evaluation_of_nothing_and_of_many_classes_shows_itself() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert "nan" in Page(ab.Evaluation(nothing, nothing, 3, "numpy:cpu", "highest", 0.0)._repr_html_()).texts[0]
    many = ab.Evaluation(np.arange(1000), np.arange(1000), 1000, HOSTILE, "highest", 0.1, nan_rows=2)
    page = Page(many._repr_html_())
    assert page.tags == ["p"]
    assert HOSTILE in page.texts[0]
    assert "the output of 2 was nan" in page.texts[0]


def test_a_network_prints_as_a_table(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    lines = str(net).splitlines()
    assert lines[0] == f"Sequential on {net.backend}, float32"
    assert lines[1].split() == ["layer", "input", "output", "parameters", "multiply-adds"]
    assert [line.split() for line in lines[2:]] == [
        ["flatten", "8×8", "64"],
        ["pixels", "64", "64"],
        ["linear", "64", "50", "3,250", "3,200"],
        ["sigmoid", "50", "50"],
        ["linear", "50", "100", "5,100", "5,000"],
        ["sigmoid", "100", "100"],
        ["linear", "100", "10", "1,010", "1,000"],
        ["softmax", "10", "10"],
        ["total", "9,360", "9,200"],
    ]
    assert len({len(line) for line in lines if line.startswith(("layer", "Linear", "total"))}) == 1
    page = Page(net._repr_html_())
    assert page.tags.count("tr") == 10
    assert page.texts[-2:] == ["9,360", "9,200"]


def test_the_shapes_printed_are_those_computed() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = ab.datasets.digits("test").images[:1]
    for layer, row in zip(net.layers, net.summary(), strict=True):
        assert x.shape[1:] == row.input
        x = layer(x)
        assert x.shape[1:] == row.output


def test_networks_inside_and_functions_of_ones_own_are_in_the_table() -> None:
    def mystery(x: object) -> object:
        return x

    mystery.__name__ = HOSTILE
    net = Sequential((Sequential((Linear(np.ones((2, 3))), relu)), mystery, Linear(np.ones((5, 1))), sigmoid))
    rows = net.summary()
    assert [row.name for row in rows] == ["linear", "relu", HOSTILE, "linear", "sigmoid"]
    assert [(row.input, row.output) for row in rows[1:4]] == [((3,), (3,)), ((3,), None), ((5,), (1,))]
    assert HOSTILE in Page(net._repr_html_()).texts
    assert str(Sequential(())).splitlines()[0] == "Sequential"


@pytest.mark.jax
def test_a_network_prints_while_it_is_traced() -> None:
    import jax

    net = ab.load_model("digits-mlp", backend="jax")
    printed = []

    def cost(arrays: tuple[object, ...]) -> object:
        inside = net.with_arrays(arrays)
        printed.append(str(inside))
        return inside(jax.numpy.ones(64)).sum()

    jax.grad(cost)(net.arrays)
    assert "9,360" in printed[0]


def test_tables_escape_what_they_show() -> None:
    page = Page(_show.Table([HOSTILE], [[HOSTILE]], HOSTILE, [HOSTILE]).html())
    assert page.texts == [HOSTILE] * 4
    assert "script" not in page.tags
    page = Page(_show.image_html(np.eye(3), HOSTILE) + _show.caption_html(HOSTILE))
    assert page.tags == ["div", "img", "p"]


WORDS = _show.Table(
    ("library", "labels differ", "what to say"),
    [("array_api_strict", "0", "it works here"), ("é出力", "10,000", "two\nlines of words, one after the other")],
    "A caption that is longer than the table may be",
    ["a note"],
    left=(0, 2),
)


@pytest.mark.parametrize("width", [38, 44, 50, 60, 79, 200])
def test_a_table_fits_a_width_and_loses_nothing(width: int) -> None:
    text = WORDS.text(width)
    caption, *lines, note = text.splitlines()
    assert (caption, note) == (WORDS.caption, "a note")
    assert all(line.strip() and len(line) <= width and line == line.rstrip() for line in lines)
    letters = sorted("".join("".join(lines).split()))
    assert letters == sorted("".join("".join(cell.split()) for row in (WORDS.header, *WORDS.rows) for cell in row))


def test_a_table_that_fits_is_not_folded() -> None:
    assert WORDS.text(1000) == WORDS.text() == str(WORDS)
    assert "labels differ" in WORDS.text()
    lines = WORDS.text().splitlines()[1:-1]
    assert len(lines) == 4  # a cell of two lines makes one more
    assert {line.index(word) for line, word in zip(lines, ("what", "it works", "two", "lines"), strict=True)} == {33}


def test_a_table_without_a_header_or_rows_is_shown() -> None:
    facts = _show.Table((), [("network", "n"), ("images", "500")], left=(0, 1))
    assert facts.text() == "network  n\nimages   500"
    assert Page(facts.html()).tags == ["table", "tbody", "tr", "td", "td", "tr", "td", "td"]
    empty = _show.Table((), [], "nothing", ["a note"])
    assert empty.text(10) == "nothing\na note"
    assert Page(empty.html()).texts == ["nothing", "a note"]
    assert _show.Table(("a", "b"), []).text(1) == "a  b"


def test_a_table_of_html_has_lines_colours_and_notes() -> None:
    shown = _show.Table(("", "n"), [("one\ntwo", "5")], notes=["a note"], shade=[("", "red")]).html()
    assert '<td style="text-align:left">one<br>two</td>' in shown
    assert '<td style="text-align:right;background:red">5</td>' in shown
    assert "<ul><li>a note</li></ul>" in shown


# -- Streams and JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932", "cp437", "cp850", "latin-1", "utf-8", "utf-16"])
def test_every_encoding_shows_every_text(encoding: str) -> None:
    text = "░▒▓█▄▀▏▎▍▌▋▊▉▶ µs × − – ’ … é 出力 \U0001f600 \udce9 \x00"
    shown = _show.encodable(text, encoding)
    shown.encode(encoding)
    assert _show.encodable(shown, encoding) == shown
    for character in text:
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            assert character not in shown
        else:
            assert _show.encodable(character, encoding) == character


def test_what_is_drawn_keeps_its_columns_in_ascii() -> None:
    picture = _show.blocks(np.arange(64).reshape(8, 8)) + "\n" + _show.blocks(np.eye(20))
    assert set(picture) >= set("░▒▓█▄▀")
    drawn = _show.encodable(picture, "ascii")
    assert list(map(len, drawn.splitlines())) == list(map(len, picture.splitlines()))
    assert "\\" not in drawn
    assert _show.encodable(picture, "utf-8") == _show.encodable(picture, None) == picture


def test_json_has_null_for_what_is_no_number() -> None:
    value = {"a": [1.5, float("nan"), {"b": (float("-inf"), np.float64("inf"), True, None, "NaN")}], "c": 2}
    assert json.loads(_show.json_text(value)) == {"a": [1.5, None, {"b": [None, None, True, None, "NaN"]}], "c": 2}
