"""images= and audio= of .ollama: files as rows, each sent once and read when it is sent."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupyter_ollama_magics.accessor
import jupyter_ollama_magics.polars_frame  # noqa: F401
import pandas as pd
import polars as pl
import pytest
from image_files import noise, saved
from IPython.display import Audio
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.operators.label_chat import CLASSIFY
from jupyter_ollama_magics.operators.plain import EXTRACT
from jupyter_ollama_magics.rows.registry import OPERATORS
from jupyter_ollama_magics.rows.tasks import IN_FLIGHT
from row_server import RowServer, application
from sound_files import tone, wav

PICTURES = [saved(noise(8, 6, seed)) for seed in range(3)]
SOUND = wav(tone(0.2))
FIELDS = {"properties": {"n": {"type": "integer"}}}
SHORT = {"num_predict": 3, "temperature": 0, "num_ctx": 512}


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server with a model that sees and hears; it answers with the texts in capitals."""
    server = RowServer()
    server.models[0] |= {
        "digest": secrets.token_hex(32),
        "capabilities": ["completion", "vision", "audio"],
    }
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files of the pictures; the last has the content of the first."""
    paths = []
    for number, content in enumerate([*PICTURES, PICTURES[0]]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(content)
    return paths


def sent(server: RowServer) -> list[tuple[str, list[bytes]]]:
    """Return the text and the files of each request, sorted."""
    last = [body["messages"][-1] for body in server.bodies]
    found = [(one["content"], [base64.b64decode(file) for file in one["images"]]) for one in last]
    return sorted(found, key=str)


def test_a_column_of_files(echo: RowServer, files: list[Path]) -> None:
    frame = pd.DataFrame(
        {"picture": [*map(str, files), None], "place": list("abcde")}, list("vwxyz")
    )
    result = frame.ollama.chat("What is on {picture}, taken in {place}?", images="picture")
    assert result.index.tolist() == list("vwxyz")
    assert result.isna().tolist() == [False] * 4 + [True]
    assert result["v"] == "WHAT IS ON THE IMAGE, TAKEN IN A?"
    expected = [
        (f"What is on the image, taken in {place}?", [content])
        for place, content in zip("abcd", [*PICTURES, PICTURES[0]], strict=True)
    ]
    assert sent(echo) == sorted(expected, key=str)


def test_equal_pictures_are_sent_once(echo: RowServer, files: list[Path]) -> None:
    kinds = [files[0], str(files[0]), PICTURES[0], files[3], files[1]]
    result = pd.Series(kinds).ollama.chat("What is it?", images=True)
    assert result.tolist() == ["WHAT IS IT?"] * 5
    expected = [("What is it?", [PICTURES[0]]), ("What is it?", [PICTURES[1]])]
    assert sent(echo) == sorted(expected, key=str)


def test_pil_images_and_sounds(echo: RowServer) -> None:
    picture = noise(8, 6)
    pd.Series([picture, picture.copy()]).ollama.chat("What is it?", images=True)
    ((_, (content,)),) = sent(echo)
    assert content.startswith(b"\x89PNG")
    echo.bodies.clear()
    both = pd.DataFrame({"picture": [PICTURES[0]], "sound": [Audio(SOUND)]})
    both.ollama.chat("Does {sound} fit {picture}?", images="picture", audio="sound")
    assert sent(echo) == [("Does the sound fit the image?", [PICTURES[0], SOUND])]


def test_several_files_in_a_row(echo: RowServer) -> None:
    frame = pd.DataFrame({"a": [PICTURES[:2], [], None], "b": [PICTURES[2]] * 3, "t": ["x"] * 3})
    result = frame.ollama.chat("t", images=["a", "b"])
    assert result.isna().tolist() == [False, True, True]
    assert sent(echo) == [("x", PICTURES)]


def test_default_messages_speak_of_the_files(echo: RowServer) -> None:
    pictures = pd.Series(PICTURES)
    echo.answer = lambda text: '"cat"'
    labels = pictures.ollama.classify(["cat", "dog"], images=True)
    assert labels.dtype == pd.CategoricalDtype(["cat", "dog"])
    echo.answer = lambda text: '{"n": 2}'
    assert pictures.to_frame("p").ollama.extract(FIELDS, images="p")["n"].tolist() == [2, 2, 2]
    pd.Series([SOUND]).ollama.extract(FIELDS, audio=True, system="Listen.")
    systems = {body["messages"][0]["content"] for body in echo.bodies}
    image, sound = (EXTRACT.replace("the text", f"the {noun}") for noun in ("image", "sound"))
    label = CLASSIFY.replace("the text", "the image")
    assert len(systems) == 3
    assert any(system.startswith(label) for system in systems)
    assert any(system.startswith(image) for system in systems)
    assert "Listen." in systems
    assert not any(system.startswith(sound) for system in systems)


def test_bad_files_fail_as_rows(echo: RowServer, files: list[Path], tmp_path: Path) -> None:
    rows = pd.Series([files[0], tmp_path / "no.png", b"", 7, files[1]], list("vwxyz"))
    with pytest.raises(OllamaMagicsError, match=r"^row [wxy]: image[^\n]+$"):
        rows.ollama.chat("What?", images=True)
    frame = rows.ollama.chat("What?", images=True, errors="column")
    assert frame["answer"].isna().tolist() == [False, True, True, True, False]
    assert frame["error"].fillna("").tolist() == [
        "",
        f"image: {tmp_path}/no.png: No such file or directory",
        "image is empty",
        "image is of type int, not a file, a PIL image, a matplotlib figure or bytes",
        "",
    ]
    assert rows.ollama.chat("What?", images=True, errors="coerce").notna().sum() == 2


def test_files_are_read_when_they_are_sent(
    echo: RowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number in range(200):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(f"picture {number}".encode())
    read: list[int] = []
    ahead: list[int] = []
    original = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(1)
        ahead.append(len(read) - len(echo.answered))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    plan = pd.Series(paths).ollama.plan("chat", "What?", images=True)
    assert read == []
    plan.run()
    assert len(read) == len(echo.answered) == 200
    assert max(ahead) <= 2 * IN_FLIGHT


def test_a_file_that_changes_is_another(echo: RowServer, files: list[Path]) -> None:
    column = pd.Series(files[:1])
    column.ollama.chat("What?", images=True, cache=files[0].parent / "rows.sqlite")
    files[0].write_bytes(b"another content")
    column.ollama.chat("What?", images=True, cache=files[0].parent / "rows.sqlite")
    assert len(echo.bodies) == 2
    column.ollama.chat("What?", images=True, cache=files[0].parent / "rows.sqlite")
    assert len(echo.bodies) == 2


def test_a_cache_knows_pictures_in_memory_by_their_content(echo: RowServer, tmp_path: Path) -> None:
    for seed, requests in ((0, 1), (1, 2), (0, 2), (1, 2)):
        column = pd.Series([noise(8, 6, seed)])
        column.ollama.chat("What?", images=True, cache=tmp_path / "rows.sqlite")
        assert len(echo.bodies) == requests


def test_on_polars(echo: RowServer, files: list[Path]) -> None:
    frame = pl.DataFrame({"picture": [PICTURES[0], None], "path": [str(files[1])] * 2})
    assert frame.ollama.chat("See {picture}", images="picture").to_list() == ["SEE THE IMAGE", None]
    lazy = frame.lazy().ollama.chat("See {path}", images="path", into="seen")
    assert lazy.collect()["seen"].to_list() == ["SEE THE IMAGE"] * 2
    expression = pl.col("picture").ollama.chat("See it", images=True)
    assert frame.select(expression).to_series().to_list() == ["SEE IT", None]
    several = pl.struct("picture", "path").ollama.chat("{path}: see {picture}", images="picture")
    assert frame.select(several).to_series().to_list() == [
        f"{files[1]}: see the image".upper(),
        None,
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"images": "pictures"}, r"^images of a DataFrame names a column: one of picture, text\.$"),
        ({"audio": True}, r"^audio of a DataFrame names a column: one of picture, text\.$"),
    ],
)
def test_mistakes(echo: RowServer, more: dict[str, Any], expected: str) -> None:
    frame = pd.DataFrame({"picture": PICTURES[:1], "text": ["x"]})
    with pytest.raises(OllamaMagicsError, match=expected):
        frame.ollama.chat("What?", **more)
    with pytest.raises(OllamaMagicsError, match="A DataFrame takes the name of a column"):
        frame["picture"].ollama.chat("What?", images="picture")
    with pytest.raises(OllamaMagicsError, match="/api/embed takes texts alone"):
        frame["picture"].ollama.embed(images=True)
    assert echo.bodies == []


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"images": True}, r"^blind:latest does not see images\. Models that see images: echo"),
        ({"audio": True}, r"^blind:latest does not hear sounds\. Models that hear sounds: echo"),
    ],
)
def test_the_capability_is_checked_first(
    echo: RowServer, tmp_path: Path, named: dict[str, Any], expected: str
) -> None:
    echo.models.append({"name": "blind:latest", "digest": "e" * 64, "capabilities": ["completion"]})
    rows = pd.Series([tmp_path / "no.png"])
    with pytest.raises(OllamaMagicsError, match=expected):
        rows.ollama.chat("What?", "blind:latest", errors="coerce", **named)
    assert echo.bodies == []


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_takes_files_or_says_why_not(echo: RowServer, name: str) -> None:
    assert {"images", "audio"} <= set(OPERATORS[name].signature.parameters)


def test_a_real_model_sees(
    chat_server: str, monkeypatch: pytest.MonkeyPatch, files: list[Path]
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    pictures = pd.Series([*files, b"no picture"])
    seen = pictures.ollama.chat("What?", "seeing", images=True, options=SHORT, errors="column")
    assert seen["answer"].notna().tolist() == [True] * 4 + [False]
    assert seen["answer"][0] == seen["answer"][3]
    assert seen["error"].notna().tolist() == [False] * 4 + [True]
    labels = pictures[:2].ollama.classify(["cat", "dog"], model="seeing", images=True)
    assert labels.isin(["cat", "dog"]).all()
    schema = {"properties": {"animal": {"enum": ["a cat", "a dog"]}}, "required": ["animal"]}
    fields = pictures[:2].ollama.extract(schema, model="seeing", images=True)
    assert fields["animal"].isin(["a cat", "a dog"]).all()
    with pytest.raises(OllamaMagicsError, match=r"^smollm2 does not see images\.[^\n]+seeing"):
        pictures.ollama.chat("What?", "smollm2", images=True)
    with pytest.raises(OllamaMagicsError, match=r"from /api/score, which takes texts alone"):
        pictures[:1].ollama.classify(["a", "b"], model="seeing", images=True, probabilities=True)


def test_a_real_model_hears(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    sounds = pd.DataFrame({"sound": [SOUND, wav(tone(0.4, 880.0)), None]})
    heard = sounds.ollama.chat("What is {sound}?", "hearing", audio="sound", options=SHORT)
    assert heard.isna().tolist() == [False, False, True]
    with pytest.raises(OllamaMagicsError, match=r"^seeing does not hear sounds\.[^\n]+hearing"):
        sounds.ollama.chat("What?", "seeing", audio="sound")
