"""The settings of the audit log."""

from __future__ import annotations

from traitlets import Bool, Int, Unicode
from traitlets.config import LoggingConfigurable


class AuditSettings(LoggingConfigurable):
    """The file of the audit log, and what it contains."""

    audit_file = Unicode(
        help="""Append a JSON line to this file for each request to a model and for each change:
        who, when, which model, what changed, with which status. Empty: no audit log. A file is
        begun anew each day (UTC); the former ones get their date as a suffix."""
    ).tag(config=True)
    audit_days = Int(90, min=1, help="Keep the audit logs of so many days.").tag(config=True)
    audit_text = Bool(
        False,
        help="""Write the bodies of requests to models into the audit log, too. Users are informed:
        answers have "audited": true, %%chat shows it below each answer, and GET /usage says so.""",
    ).tag(config=True)
    audit_max_text = Int(
        20_000,
        min=1,
        help="""Write at most so many characters of a body into the audit log. Images and long texts
        would fill the disk.""",
    ).tag(config=True)
