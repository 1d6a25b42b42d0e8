"""The settings of upstreams and their bounds."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Float, Int, TraitError
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

from .spec import read_spec


class UpstreamSettings(LoggingConfigurable):
    """The settings of other servers whose models are offered here, too."""

    upstreams = Dict(
        default_value={},
        help="""Offer the models of these servers, too, under the same rights, limits, budgets and
        records as local ones: {"gpu": {"url": "http://gpu:8000", "api": "openai", "key_file":
        "/etc/ollama/gpu.key", "models": ["qwen*"]}}. "api" is "openai" (vLLM, llama-server and
        others; the url is the one below which /chat/completions is, /v1 is added to one without a
        path) or "ollama" (Ollama, or a jupyter_ollama). The key is a "key", or in the variable
        "key_env" or the file "key_file", which are not shown by --show-config. "models" is a list
        of names and patterns, or a dict of names here to names there; without it all are offered.
        Several upstreams may offer the same model: the one with the fewest requests per "weight"
        (1) gets the next, "concurrent" (32) at once for each model. "capabilities" is a list, or a
        dict of patterns to lists, where the server does not state them. "thinking" is how
        an "openai" server switches it: "effort" (reasoning_effort) or "template"
        (chat_template_kwargs). "connect_seconds", "first_seconds" and "pause_seconds" replace the
        settings of these names.""",
    ).tag(config=True)
    upstreams_first = Bool(
        False,
        help="""Where a local model and one of an upstream have the same name, use the upstream's.
        By default the local one answers; name@upstream always names an upstream's.""",
    ).tag(config=True)
    upstream_connect_seconds = Float(
        3.0,
        min=0.1,
        help="""Seconds that a connection to an upstream may take, TLS included. Connections within
        a site take milliseconds; after this the request goes to another upstream.""",
    ).tag(config=True)
    upstream_first_seconds = Float(
        300.0,
        min=0.1,
        help="""Seconds from a request to the first part of an upstream's answer. It has to cover
        the upstream's queue, the load of a model there, and a prompt of many thousand tokens.""",
    ).tag(config=True)
    upstream_pause_seconds = Float(
        60.0,
        min=0.1,
        help="""Seconds between two parts of an upstream's answer. Long thoughts arrive in parts,
        too; a pause of this length means that the upstream or the network is gone.""",
    ).tag(config=True)
    upstream_poll_seconds = Float(
        15.0,
        min=1.0,
        help="""Ask upstreams for their models at intervals of about this many seconds, while
        models are listed or used. A server that nothing is asked of asks nothing.""",
    ).tag(config=True)
    upstream_max_line = Int(
        4 * 2**20,
        min=2**12,
        help="""Bytes of one part of an upstream's stream; longer ones end the request with 502.
        The longest parts that occur are the arguments of a tool call that writes a file.""",
    ).tag(config=True)
    upstream_max_bytes = Int(
        128 * 2**20,
        min=2**16,
        help="""Bytes of a whole answer of an upstream; longer ones end the request with 502. 5,000
        vectors of 1,024 numbers as JSON take 100 MB.""",
    ).tag(config=True)

    @validates("upstreams")
    def _readable_upstreams(self, proposal: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = proposal["value"]
        try:
            for name, given in found.items():
                read_spec(name, given)
        except ValueError as error:
            raise TraitError(f"upstreams: {error}") from None
        return found
