"""Base64 of images: accepted forms, and the position of the fault in others."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_ollama.api.images import decode_base64
from jupyter_ollama.errors import OllamaError


@given(st.binary())
def test_standard_encoding(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


@given(st.binary())
def test_line_breaks_are_ignored(data: bytes) -> None:
    assert decode_base64(base64.encodebytes(data).decode().replace("\n", "\r\n")) == data


@pytest.mark.parametrize(
    ("text", "data"), [("AA\n=\r=", b"\0"), ("\n", b""), ("AB==", b"\0"), ("+/+/", b"\xfb\xff\xbf")]
)
def test_accepted(text: str, data: bytes) -> None:
    assert decode_base64(text) == data


# Each as Go's base64.StdEncoding reports it.
@pytest.mark.parametrize(
    ("text", "byte"),
    [
        ("A", 0),
        ("AA", 0),
        ("AAAAA", 4),
        ("AA\n", 1),
        ("=", 0),
        ("A=", 1),
        ("A===", 1),
        ("AA=", 3),
        ("AA=\n", 4),
        ("AA=A", 2),
        ("AA=\nA", 3),
        ("AAA==", 4),
        ("AA==A", 4),
        ("AA==\nAAAA", 5),
        ("AAAA=", 4),
        ("AA AA", 2),
        ("AA\nA-", 4),
        ("_AAA", 0),
        ("éAAA", 0),
        ("AAAé", 3),
        ("data:image/png;base64,AAAA", 4),
    ],
)
def test_refused(text: str, byte: int) -> None:
    with pytest.raises(OllamaError) as caught:
        decode_base64(text)
    assert caught.value.status == 400
    assert caught.value.message == f"illegal base64 data at input byte {byte}"
