"""The pages of PDF files as rows."""

from __future__ import annotations

import io
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pdf_files
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import pdf_pages
from PIL import Image

REPORT = pdf_files.texts(["Invoice of May", "", "Total 42"])


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A PDF with three pages, the second of them empty."""
    path = tmp_path / "report.pdf"
    path.write_bytes(REPORT)
    return path


def test_texts(report: Path) -> None:
    frame = pd.Series([report, None, pdf_files.texts(["Other"])], list("abc")).ollama.pages()
    assert frame.columns.tolist() == ["document", "page", "text"]
    assert frame["document"].tolist() == [str(report)] * 3 + ["c"]
    assert frame["page"].tolist() == [1, 2, 3, 1]
    assert frame["text"].fillna("-").tolist() == ["Invoice of May", "-", "Total 42", "Other"]


def test_pictures_are_drawn_when_they_are_used(report: Path) -> None:
    frame = pd.Series([str(report)]).ollama.pages("picture", dpi=144)
    assert frame.columns.tolist() == ["document", "page", "picture"]
    first = frame["picture"][0]
    with Image.open(io.BytesIO(first._repr_png_())) as picture:
        assert picture.size == (400, 200)
        assert picture.convert("L").getextrema()[0] < 60  # letters
    with Image.open(io.BytesIO(frame["picture"][1]._repr_png_())) as picture:
        assert picture.convert("L").getextrema() == (255, 255)
    report.unlink()
    with pytest.raises(OllamaMagicsError, match=r"report\.pdf: there is no such file\.$"):
        first._repr_png_()


def test_no_documents() -> None:
    frame = pd.Series([None], dtype=object).ollama.pages()
    assert (len(frame), frame.columns.tolist()) == (0, ["document", "page", "text"])


def test_bad_documents(report: Path, tmp_path: Path) -> None:
    rows = pd.Series([tmp_path / "no.pdf", b"no PDF", report], list("xyz"))
    with pytest.raises(OllamaMagicsError, match=r"^row x: .*no\.pdf: there is no such file\.$"):
        rows.ollama.pages()
    with pytest.raises(OllamaMagicsError, match=r"^row y: y is not a PDF that can be read[^\n]+$"):
        rows[1:].ollama.pages("picture")
    frame = rows.ollama.pages(errors="coerce")
    assert frame["page"].isna().tolist() == [True, True, False, False, False]
    assert frame["document"].tolist()[:2] == [str(tmp_path / "no.pdf"), "y"]
    with pytest.raises(OllamaMagicsError, match="a PDF is a path or bytes, not int"):
        pd.Series([3]).ollama.pages(errors="coerce")


def test_mistakes(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.Series([report]).ollama
    with pytest.raises(OllamaMagicsError, match='as_ is "text" or "picture"'):
        rows.pages("image")
    with pytest.raises(OllamaMagicsError, match="dpi is a positive integer"):
        rows.pages(dpi=0)
    with pytest.raises(OllamaMagicsError, match='errors is "raise" or "coerce"'):
        rows.pages(errors="column")
    monkeypatch.setattr(pdf_pages, "find_spec", lambda name: None)
    with pytest.raises(OllamaMagicsError, match=r"needs pypdfium2: pip install '.*\[pdf\]'\.$"):
        rows.pages()


def test_a_real_model_sees_pages(
    chat_server: str, monkeypatch: pytest.MonkeyPatch, report: Path
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    pages = pd.Series([report, pdf_files.picture("red")]).ollama.pages("picture", dpi=36)
    options = {"num_predict": 2, "temperature": 0, "num_ctx": 512}
    seen = pages.ollama.chat("Read {picture}.", "seeing", images="picture", options=options)
    assert seen.notna().tolist() == [True] * 4
