"""The pages of PDF files as rows: their texts, or pictures that are drawn when they are needed."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ..failures import OllamaMagicsError
from .columns import TEXT

Source = Path | bytes

_drawing = threading.Lock()
"""PDFium runs in one thread at a time."""


@dataclass(frozen=True)
class PdfPage:
    """A page as a picture. It is drawn at each use, so a column of pages takes little memory.

    ``number`` counts from 1.
    """

    document: Source = field(repr=False)
    label: str
    number: int
    dpi: int

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        with _opened(self.document, self.label) as document:
            page = document[self.number - 1]
            page.render(scale=self.dpi / 72).to_pil().save(file, "PNG")
        return file.getvalue()

    def file_identity(self) -> str:
        """Return what distinguishes the picture from others."""
        if isinstance(self.document, bytes):
            known = hashlib.sha256(self.document).hexdigest()
        else:
            try:
                found = self.document.stat()
            except OSError:
                return f"{self.document} missing"
            known = f"{self.document.absolute()} {found.st_size} {found.st_mtime_ns}"
        return f"{known} {self.number} {self.dpi}"


def pages(
    documents: pd.Series,
    as_: Literal["text", "picture"],
    dpi: int,
    errors: Literal["raise", "coerce"],
) -> pd.DataFrame:
    """Return a row for each page: document, page, and text or picture.

    Raises OllamaMagicsError if a document cannot be read, or pypdfium2 is not installed.
    """
    if as_ not in ("text", "picture"):
        raise OllamaMagicsError('as_ is "text" or "picture".')
    if errors not in ("raise", "coerce"):
        raise OllamaMagicsError('errors is "raise" or "coerce".')
    if not isinstance(dpi, int) or dpi < 1:
        raise OllamaMagicsError("dpi is a positive integer.")
    if not find_spec("pypdfium2"):
        raise OllamaMagicsError("pages needs pypdfium2: pip install 'jupyter-ollama-magics[pdf]'.")
    rows: list[tuple[Any, int | None, Any]] = []
    for label, value in documents.items():
        if pd.api.types.is_scalar(value) and pd.isna(value):
            continue
        name, source = _source(label, value)
        try:
            with _opened(source, name) as document:
                if as_ == "text":
                    found: list[Any] = [_text(page) for page in document]
                else:
                    found = [PdfPage(source, name, at + 1, dpi) for at in range(len(document))]
        except OllamaMagicsError as error:
            if errors == "raise":
                raise OllamaMagicsError(f"row {label}: {error}") from None
            rows.append((name, None, None))
            continue
        rows += [(name, number, one) for number, one in enumerate(found, 1)]
    frame = pd.DataFrame(rows, columns=["document", "page", as_])
    kinds = {"document": TEXT, "page": "Int64"}
    return frame.astype(kinds | ({"text": TEXT} if as_ == "text" else {"picture": object}))


def _source(label: Any, value: Any) -> tuple[str, Source]:
    if isinstance(value, str | os.PathLike):
        return str(value), Path(value).expanduser()
    if isinstance(value, bytes | bytearray | memoryview):
        return str(label), bytes(value)
    raise OllamaMagicsError(f"row {label}: a PDF is a path or bytes, not {type(value).__name__}.")


def _text(page: Any) -> str | None:
    """Return the text of a page, None for a page without any, such as a scan."""
    text = page.get_textpage().get_text_bounded().replace("\r\n", "\n").strip()
    return text or None


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Any]:
    """Open a document. Raises OllamaMagicsError that names it."""
    import pypdfium2

    with _drawing:
        try:
            document = pypdfium2.PdfDocument(source)
        except FileNotFoundError:
            raise OllamaMagicsError(f"{name}: there is no such file.") from None
        except (pypdfium2.PdfiumError, OSError) as error:
            raise OllamaMagicsError(f"{name} is not a PDF that can be read: {error}.") from None
        try:
            yield document
        except pypdfium2.PdfiumError as error:
            raise OllamaMagicsError(f"{name} has a damaged page: {error}.") from None
        finally:
            document.close()


class PdfMethods:
    """``pages`` of a Series."""

    _data: Any

    def pages(
        self,
        as_: Literal["text", "picture"] = "text",
        *,
        dpi: int = 150,
        errors: Literal["raise", "coerce"] = "raise",
    ) -> pd.DataFrame:
        """Return a row for each page of the PDF files of the Series; needs pypdfium2.

        Parameters
        ----------
        as_ : {"text", "picture"}
            What is returned of a page. A picture is drawn when it is sent or shown.
        dpi : int
            The resolution of pictures, in pixels an inch.
        errors : {"raise", "coerce"}
            Whether a file that cannot be read is an error, or one row without a page.

        Returns
        -------
        DataFrame
            The columns "document" (the path, or the label of bytes), "page" (from 1), and "text" or
            "picture". The text of a page without any, such as a scan, is missing.

        Raises
        ------
        OllamaMagicsError
            If a value is not a PDF, or pypdfium2 is not installed.

        Examples
        --------
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("RGB", (200, 100)).save(file, "PDF")
        >>> pages = pd.Series([file.getvalue()], ["scan"]).ollama.pages("picture")
        >>> pages[["document", "page"]].values.tolist()
        [['scan', 1]]
        """
        return pages(self._data, as_, dpi, errors)
