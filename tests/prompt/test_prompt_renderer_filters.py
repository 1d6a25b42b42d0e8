"""The filters of the renderers' templates against the output of Go."""

from typing import Any

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction
from jupyter_ollama.prompt.renderers.filters import gofmt, goint, gojson, goquote, image_tags
from jupyter_ollama.prompt.renderers.renderer import Renderer

NUMBERS: list[tuple[float, str, str, str]] = [
    (0, "0", "0", "0"),
    (-3, "-3", "-3", "-3"),
    (2.5, "2.5", "2.5", "2.5"),
    (1e6, "1000000", "1e+06", "1000000"),
    (1234567.5, "1234567.5", "1.2345675e+06", "1.2345675e+06"),
    (12345678901, "12345678901", "1.2345678901e+10", "12345678901"),
    (0.0001, "0.0001", "0.0001", "0.0001"),
    (-0.00001234, "-0.00001234", "-1.234e-05", "-1.234e-05"),
    (1e-7, "1e-7", "1e-07", "1e-07"),
    (2**53 + 1, "9007199254740992", "9.007199254740992e+15", "9007199254740992"),
    (1e20, "100000000000000000000", "1e+20", "1e+20"),
    (1e21, "1e+21", "1e+21", "1e+21"),
    (1.5e300, "1.5e+300", "1.5e+300", "1.5e+300"),
]
"""A number, and the results of json.Marshal, fmt.Sprint, and fmt.Sprint after a cast to int64."""


@pytest.mark.parametrize(("number", "as_json", "printed", "as_int"), NUMBERS)
def test_numbers_are_float64(number: float, as_json: str, printed: str, as_int: str) -> None:
    """Each filter chooses between plain digits and an exponent as Go does."""
    assert (gojson(number), gofmt(number), goint(number)) == (as_json, printed, as_int)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    """A conversation cannot contain them, so they are errors."""
    with pytest.raises(ValueError, match="json: unsupported value"):
        gojson(number)


@pytest.mark.parametrize(
    ("text", "as_json", "quoted"),
    [
        ('a"b\\c\n\t\r\a\b\v\f', r'"a\"b\\c\n\t\r\u0007\b\u000b\f"', r'"a\"b\\c\n\t\r\a\b\v\f"'),
        ("\0\x1f", r'"\u0000\u001f"', r'"\x00\x1f"'),
        ("\u2028\u200b", '"\\u2028\u200b"', r'"\u2028\u200b"'),
        ("<b>&'é🙂", r'''"\u003cb\u003e\u0026'é🙂"''', '''"<b>&'é🙂"'''),
    ],
)
def test_texts_are_escaped(text: str, as_json: str, quoted: str) -> None:
    """JSON escapes for HTML as well, strconv.Quote escapes unprintable characters."""
    assert (gojson(text), goquote(text)) == (as_json, quoted)
    assert gojson(text, quote=True) == quoted


def test_json_layouts() -> None:
    """The order of keys is kept; empty objects and lists stay on one line when indented."""
    value: dict[str, Any] = {"b": [1, "x"], "a": {}, "c": [], "<": {"d": None}}
    assert gojson(value) == r'{"b":[1,"x"],"a":{},"c":[],"\u003c":{"d":null}}'
    assert gojson(value, spaced=True, html=False) == (
        '{"b": [1, "x"], "a": {}, "c": [], "<": {"d": null}}'
    )
    assert gojson({"b": [1], "a": {}, "c": []}, indent=2) == (
        '{\n  "b": [\n    1\n  ],\n  "a": {},\n  "c": []\n}'
    )


def test_values_are_printed_with_sorted_maps() -> None:
    """Go sorts the keys of maps when it prints them."""
    value = {"b": [1, "x y", None, True], "a": {"z": 1e6}}
    assert gofmt(value) == "map[a:map[z:1e+06] b:[1 x y <nil> true]]"
    assert (goint(True), goint(None), goint("7")) == ("true", "<nil>", "7")


@pytest.mark.parametrize(
    ("content", "marked"),
    [
        ("Compare", "[img-4][img-5] Compare"),
        ("Compare [img]", "[img-5] Compare [img-4]"),
        ("[img] or [img] or [img]", "[img-4] or [img-5] or [img]"),
        ("\n blank", "[img-4][img-5]\n blank"),
        ("", "[img-4][img-5]"),
        ("See [img-0]", "See [img-0]"),
    ],
)
def test_image_tags(content: str, marked: str) -> None:
    """Placeholders are filled in order; other markers precede the content."""
    assert image_tags(content, [4, 5]) == marked
    assert image_tags(content, []) == content


def test_gemma4_marks_a_picture_by_its_own_number() -> None:
    """A result without a call is omitted; Ollama gives its number to the next image."""
    messages = [
        Message(role="tool", content="taken", images=["0"]),
        Message(role="user", content="And this?", images=["1"]),
    ]
    assert Renderer("gemma4").render(messages) == (
        "<bos><|turn>user\n[img-1] And this?<turn|>\n<|turn>model\n"
    )


@pytest.mark.parametrize("name", ["gemma4", "glm-4.7"])
def test_arguments_nested_too_deeply_are_refused(name: str) -> None:
    """The recursion of Python ends as an error of the template."""
    arguments: dict[str, Any] = {}
    for _ in range(5000):
        arguments = {"a": arguments}
    call = ToolCall(ToolCallFunction("look", arguments))
    with pytest.raises(TemplateError, match="nested too deeply"):
        Renderer(name).render([Message(role="assistant", tool_calls=[call])])
