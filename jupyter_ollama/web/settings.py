"""The settings of fetches and searches of the web."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Float, Int, List, TraitError, Unicode
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

from .guard import Guard


def checked_networks(proposal: dict[str, Any]) -> list[str]:
    """Return the value of a trait of addresses and networks. Raises TraitError for other texts."""
    try:
        Guard(proposal["value"])
    except ValueError as error:
        raise TraitError(f"{proposal['trait'].name}: {error}") from None
    networks: list[str] = proposal["value"]
    return networks


class WebSettings(LoggingConfigurable):
    """The limits of the pages that users fetch through the server. 0 lifts a limit of a user."""

    web_fetch = Bool(
        False,
        help="""Let users fetch pages of the web through this server (POST /api/web_fetch). Pages on
        hosts that are not public are refused. Needs the extra "web".""",
    ).tag(config=True)
    web_allowed_addresses = List(
        Unicode(),
        help="""Fetch pages from these addresses too, though they are not public, at any port:
        "10.1.2.3" or a network such as "10.1.0.0/16". Addresses of clouds' metadata services are
        allowed only by an entry of their own, not by a network.""",
    ).tag(config=True)
    web_ports = List(
        Int(min=1, max=65535),
        [80, 443],
        help="""Fetch pages of public hosts from these ports only. Other services of foreign hosts
        must not be probed from this server's address. [] allows all.""",
    ).tag(config=True)
    web_search_url = Unicode(
        help="""Search the web (POST /api/web_search) by this SearXNG server, which must allow the
        format JSON: "http://127.0.0.1:8888/search". Without it nothing is searched."""
    ).tag(config=True)
    web_timeout = Float(
        30.0,
        min=0.1,
        help="""Give up a page or a search after this many seconds, from the first name looked up to
        the last byte of text: longer than slow sites take, shorter than clients wait.""",
    ).tag(config=True)
    web_max_bytes = Int(
        4 * 2**20,
        min=1,
        help="""Refuse pages, and answers of the search server, of more bytes. Pages of text are
        far smaller; each is held in memory, by the server and by a reader.""",
    ).tag(config=True)
    web_max_redirects = Int(
        5, min=0, help="Follow this many redirects of a page; usual sites need two or three."
    ).tag(config=True)
    web_requests_per_minute = Int(
        60,
        min=0,
        help="""Let each user start this many fetches and searches in 60 seconds, further ones get
        429: a model that reads pages needs one every few seconds.""",
    ).tag(config=True)
    web_concurrent = Int(
        4,
        min=0,
        help="""Let each user have this many fetches and searches under way, further ones get 429.
        Each can hold a connection for web_timeout.""",
    ).tag(config=True)
    web_bytes_per_day = Int(
        2**30,
        min=0,
        help="""Let each user receive this many bytes of pages in 24 hours, after which fetches get
        429: thousands of pages, but no mirror of a site.""",
    ).tag(config=True)
    web_readers = Int(
        2,
        min=1,
        help="""Extract the text of this many pages at once, each in a separate process of some
        100 MB that starts on demand; one page of a user at a time.""",
    ).tag(config=True)
    web_reader_pages = Int(
        100,
        min=1,
        help="Replace such a process after this many pages: parsers of HTML leak memory.",
    ).tag(config=True)
    web_reader_seconds = Float(
        20.0,
        min=0.1,
        help="""Give up extracting the text of a page after this many seconds and end the process.
        Most pages take less than one, one of web_max_bytes up to fifteen.""",
    ).tag(config=True)
    web_reader_memory = Int(
        2**30,
        min=0,
        help="""Let such a process have this many bytes of address space, 0 for no limit. Most
        pages take a tenth of it; of the worst of web_max_bytes it holds one. Without effect on
        Windows.""",
    ).tag(config=True)
    web_reader_idle = Float(
        60.0, min=0.0, help="End such processes after this many seconds without a page."
    ).tag(config=True)

    @validates("web_allowed_addresses")
    def _networks(self, proposal: dict[str, Any]) -> list[str]:
        return checked_networks(proposal)
