"""``python -m jupyter_ollama.web.text MEMORY``: pages in HTML in, their text as JSON out.

A page is two messages: a JSON list of its URL and its charset ("" for the one that the page names),
and its bytes. The answer is an object, or null for a page that cannot be read.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from urllib.parse import urljoin

import orjson

from ..pipe_messages import read_message, write_message

MAX_LINKS = 500
MAX_LINK = 2000
"""The most characters of a link; longer ones hold data, not addresses."""
LONG_PAGE = 2**20
"""Bytes above which a page without text counts as unreadable: where memory runs out, the parsers
return a part of its tree or nothing, and no error."""


def extract(html: str | bytes, url: str) -> dict[str, object]:
    """Return the title, the main content as Markdown, and the links of a page.

    Raises ValueError or MemoryError if it cannot be read.
    """
    import trafilatura

    page = trafilatura.load_html(html)
    title, links = "", list[str]()
    content: str | None = ""
    if page is not None:
        title = " ".join((page.findtext(".//title") or "").split())
        links = list(dict.fromkeys(_links(page.xpath("//a/@href"), url)))
        # Pages without an article have some text, too.
        content = trafilatura.extract(html, url=url, output_format="markdown", favor_recall=True)
        content = content or trafilatura.html2txt(html)
    if not content and len(html) > LONG_PAGE:
        raise ValueError("a long page has no text")
    return {"title": title, "content": content, "links": links[:MAX_LINKS]}


def _links(found: list[str], url: str) -> list[str]:
    links = []
    for text in found:
        with contextlib.suppress(ValueError):  # no address, as "http://[" is
            link = urljoin(url, text)
            if link.startswith(("http://", "https://")) and len(link) <= MAX_LINK:
                links.append(link)
    return links


def read(html: bytes, url: str, charset: str) -> dict[str, object] | None:
    """Return the result of `extract` for the bytes of a page, or None if it fails."""
    try:
        return extract(html.decode(charset, "replace") if charset else html, url)
    except MemoryError:
        raise
    except Exception:
        return None


def main(memory: int) -> None:
    """Serve pages until standard input ends."""
    _limit(memory)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # output of libraries is not the answer
    while (head := read_message(source)) is not None:
        url, charset = orjson.loads(head)
        write_message(target, orjson.dumps(read(bytes(read_message(source) or b""), url, charset)))


def _limit(memory: int) -> None:
    """Have this process fail, or be the first to go, where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if memory and sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    main(int(sys.argv[1]))
