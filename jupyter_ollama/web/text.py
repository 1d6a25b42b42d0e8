"""``python -m jupyter_ollama.web.text URL CHARSET``: HTML in, its text as JSON out."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urljoin

import orjson

MAX_LINKS = 500


def extract(html: str | bytes, url: str) -> dict[str, Any]:
    """Return the title, the main content as Markdown, and the links of a page."""
    import trafilatura

    page = trafilatura.load_html(html)
    if page is None:
        return {"title": "", "content": "", "links": []}
    title = " ".join((page.findtext(".//title") or "").split())
    links = [urljoin(url, link) for link in page.xpath("//a/@href")]
    unique = dict.fromkeys(link for link in links if link.startswith(("http://", "https://")))
    # Pages without an article have some text, too.
    content = trafilatura.extract(html, url=url, output_format="markdown", favor_recall=True)
    content = content or trafilatura.html2txt(html)
    return {"title": title, "content": content, "links": list(unique)[:MAX_LINKS]}


def main() -> None:
    """Read standard input, write standard output."""
    url, charset = sys.argv[1:]
    html = sys.stdin.buffer.read()
    try:
        page = extract(html.decode(charset, "replace") if charset else html, url)
    except LookupError:  # a charset that Python does not know
        page = extract(html, url)
    sys.stdout.buffer.write(orjson.dumps(page))


if __name__ == "__main__":
    main()
