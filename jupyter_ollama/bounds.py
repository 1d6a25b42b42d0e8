"""The bounds of requests and of connections."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from traitlets import Float, Int
from traitlets.config import LoggingConfigurable

if TYPE_CHECKING:
    from .flow_control.body_budget import BodyBudget

_MIB = 2**20

MOST_VALUES = 500_000
"""The default of ``max_json_values``: as Python objects they take some 50 MB."""


class Bounds(LoggingConfigurable):
    """The settings that bound bodies, counts and connections. Requests beyond them are refused."""

    max_body_bytes = Int(
        64 * _MIB,
        min=1,
        help="""Bytes of a JSON body, after decompression. Images and sounds, base64 in it,
        count: ten photos of a phone fit. Blobs are bounded by the disk, forms by
        max_form_bytes.""",
    ).tag(config=True)
    max_form_bytes = Int(
        100 * _MIB,
        min=1,
        help="""Bytes of a form with a sound file (/v1/audio/transcriptions): ten minutes of
        uncompressed stereo, 100 minutes of MP3, four times what OpenAI takes. Kept on disk.""",
    ).tag(config=True)
    max_bodies_bytes = Int(
        1024 * _MIB,
        min=1,
        help="""Bytes that the bodies of all requests take together, received and decoded, the
        first 64 KiB of each not counted: six of the largest, or thousands of usual ones. Requests
        beyond that get 503 and a Retry-After.""",
    ).tag(config=True)
    max_user_bodies_bytes = Int(
        512 * _MIB,
        min=1,
        help="""Bytes of max_bodies_bytes that one user may take, or one address where there are no
        users: half of them, so that no user takes all.""",
    ).tag(config=True)
    max_json_values = Int(
        MOST_VALUES,
        min=1,
        help="""JSON values in the fields of a request that are read. As Python objects they take
        up to 100 times the bytes of their text; the default bounds that at some 50 MB, and holds
        100,000 messages.""",
    ).tag(config=True)
    max_compression_ratio = Int(
        200,
        min=1,
        help="""Bytes of a decompressed body for each compressed byte, once they are more than
        1 MiB. Texts have 3 to 20, tables of equal rows 100, bombs 1,000 and more.""",
    ).tag(config=True)
    max_compressed_members = Int(
        1000,
        min=1,
        help="""Concatenated compressed texts in a body. Clients send one, and each costs some
        10 µs, even an empty one of 20 bytes.""",
    ).tag(config=True)
    body_timeout = Float(
        30.0,
        min=0.1,
        help="""Seconds over which a body must arrive at min_body_rate, else the request ends with
        408. Applies from the headers to the last byte.""",
    ).tag(config=True)
    min_body_rate = Int(
        1024,
        min=0,
        help="""Bytes a second at which a body must arrive, averaged over body_timeout. A modem
        reaches 5,000; a client that sends less only occupies a connection.""",
    ).tag(config=True)

    idle_timeout = Float(
        120.0,
        min=0.1,
        help="""Seconds after which a connection without a request is closed, and one that has not
        sent the whole head of its request. Clients keep connections for 5 to 115 s.""",
    ).tag(config=True)
    max_header_bytes = Int(
        2**16,
        min=1024,
        help="""Bytes of the head of a request. Tokens and cookies of a JupyterHub take 4,000.""",
    ).tag(config=True)
    max_connections = Int(
        4096,
        min=1,
        help="""Connections that `jupyter ollama serve` and `jupyter ollama hub` keep, fewer where
        the process may not open so many files (ulimit -n). A further one replaces the one that
        has been idle for longest. As many, and 128 at least, wait until they are accepted, if the
        system allows it (net.core.somaxconn).""",
    ).tag(config=True)
    max_connections_of_address = Int(
        256,
        min=1,
        help="""Connections from one address. Browsers open 6, a pool of a client 100. Addresses of
        this host do not count: proxies connect from there.""",
    ).tag(config=True)
    reserved_descriptors = Int(
        256,
        min=0,
        help="""Open files that connections leave free for models, runners and transfers, half of
        all at most. A runner takes some 20, a pull 32.""",
    ).tag(config=True)
    max_messages = Int(
        10_000,
        min=1,
        help="""Messages of a conversation. Each costs some 50 µs to render and tokenize; no context
        holds more of them.""",
    ).tag(config=True)
    max_texts = Int(
        32_768,
        min=1,
        help="""Texts to embed, or documents to rank, in one request: a table of 10,000 rows three
        times over. Their vectors are one answer, 300 MB of JSON for 1,024 dimensions.""",
    ).tag(config=True)
    max_text_bytes = Int(
        16 * _MIB,
        min=1,
        help="""Characters of a prompt, or of all messages of a conversation: three times what a
        context of a million tokens holds.""",
    ).tag(config=True)
    max_tokenize_bytes = Int(
        4 * _MIB,
        min=1,
        help="""Characters that are tokenized to the end for a request: of /api/tokenize,
        count_tokens, _debug_render_only, and of the prompt and each continuation of /api/score
        together. Takes 1 to 3 s for each MiB.""",
    ).tag(config=True)
    max_token_ids = Int(
        262_144,
        min=1,
        help="""Token ids in a request, in context or to detokenize: more than the context of most
        models. Takes up to 2 s.""",
    ).tag(config=True)
    max_choices = Int(
        512,
        min=1,
        help="""Answers to one request: prompts times n. As many requests may wait (max_queue), each
        costs some 0.5 ms before the first starts.""",
    ).tag(config=True)
    max_continuations = Int(
        256,
        min=1,
        help="""Continuations that /api/score compares. They are queued together, so other requests
        wait.""",
    ).tag(config=True)
    max_tools = Int(
        1024,
        min=1,
        help="""Tools of a request: several MCP servers' together, and more than a model can choose
        among.""",
    ).tag(config=True)
    max_schema_bytes = Int(
        _MIB,
        min=1,
        help="""Bytes of the tools of a request as JSON, and of its format: a hundred times a long
        schema. They are rendered into the prompt, or compiled to a grammar.""",
    ).tag(config=True)
    max_files = Int(
        256,
        min=1,
        help="""Images and sounds of a request. Each takes a second or more to encode, and hundreds
        of tokens of the context.""",
    ).tag(config=True)
    max_stop_strings = Int(
        256,
        min=1,
        help="""Stop strings of a request. Each is looked for in each piece of an answer; OpenAI
        allows 4.""",
    ).tag(config=True)
    max_stop_bytes = Int(
        16_384,
        min=1,
        help="""Characters of all stop strings together: text that may become one of them is held
        back.""",
    ).tag(config=True)

    @cached_property
    def body_budget(self) -> BodyBudget:
        """The memory of request bodies."""
        from .flow_control.body_budget import BodyBudget

        return BodyBudget(self.max_bodies_bytes, self.max_user_bodies_bytes)
