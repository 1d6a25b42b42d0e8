"""PDF files, written here: pages of text, of a picture, or damaged."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image


def texts(pages: Sequence[str]) -> bytes:
    """Return a PDF with a page for each text; an empty text is an empty page."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} /MediaBox [0 0 200 100] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 10 50 Td ({text}) Tj ET" if text else ""
        fonts = "<< /Font << /F1 3 0 R >> >>"
        contents = f"/Contents {5 + 2 * at} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Resources {fonts} {contents} >>")
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    file = b"%PDF-1.4\n"
    places = []
    for number, text in enumerate(objects, 1):
        places.append(len(file))
        file += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end = f"trailer\n<< /Root 1 0 R /Size {len(objects) + 1} >>\nstartxref\n{len(file)}\n%%EOF\n"
    return file + head.encode() + end.encode()


def picture(color: str, size: tuple[int, int] = (40, 20)) -> bytes:
    """Return a PDF with one page, which is a picture."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PDF")
    return file.getvalue()
