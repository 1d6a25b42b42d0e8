"""The settings of the page of a shared server."""

from __future__ import annotations

from traitlets import Int, Unicode
from traitlets.config import LoggingConfigurable


class PageSettings(LoggingConfigurable):
    """The text for users without access, and how many pages may be open."""

    page_contact = Unicode(
        help="""Name these people to users whom the page of the server refuses: "the helpdesk,
        help@example.org". Default: the administrators of this Hub."""
    ).tag(config=True)
    max_page_viewers = Int(
        500,
        min=1,
        help="""Keep at most this many pages of the server up to date at once; further ones try
        again later. A page that changes each second costs a connection and some 20 kB a second for
        an administrator of 200 users who are all busy.""",
    ).tag(config=True)
    max_pages_of_user = Int(
        8,
        min=1,
        help="""Keep at most this many pages of one user up to date at once, so that the tabs of one
        user do not take the connections of max_page_viewers. Hidden tabs are not connected.""",
    ).tag(config=True)
