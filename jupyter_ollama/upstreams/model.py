"""A model of upstreams, as the routes see models of the store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..library.manifest import ImageConfig, Manifest
from ..scheduler.remote_model import RemoteModel
from .offers import Offer, key_of

if TYPE_CHECKING:
    from ..engine.model_runner import ModelRunner
    from .choice import Source

_DIGEST = re.compile("[0-9a-f]{64}")


class UpstreamModel(RemoteModel):
    """A model that the ``sources`` offer, all under one name; ``chosen`` is the one named by @."""

    def __init__(
        self, sources: Sequence[Source], runner: ModelRunner, started: float, chosen: str = ""
    ) -> None:
        """``started`` is the time at which models were changed that state none (time.time())."""
        offer = max((offer for _, offer in sources), key=lambda one: one.is_certain)
        listed = offer.listed
        self.sources = sources
        self.runner = runner
        self.name = offer.name
        self.chosen = chosen
        self.slots = sum(member.spec.concurrent for member, _ in sources)
        self.queue_key = f"{key_of(offer.name)}@{chosen}"
        self.is_certain = offer.is_certain
        self.manifest = Manifest()
        own = hashlib.sha256(f"{listed.name}@{sources[0][0].spec.name}".encode()).hexdigest()
        self.digest = listed.digest if _DIGEST.fullmatch(listed.digest) else own
        self.size = listed.size
        written = listed.modified or started
        self.place = -int(written), self.name.parts
        self.modified_at = datetime.fromtimestamp(written).astimezone()
        self.file_version = ""
        self.config = self._config(offer)

    def _config(self, offer: Offer) -> ImageConfig:
        details = offer.listed.details
        texts = {name: value for name, value in details.items() if isinstance(value, str)}
        families = details.get("families")
        return ImageConfig(
            model_format=texts.get("format", ""),
            model_family=texts.get("family", ""),
            model_families=families if _are_texts(families) else None,
            model_type=texts.get("parameter_size", ""),
            file_type=texts.get("quantization_level", ""),
            remote_host=", ".join(member.spec.name for member, _ in self.sources),
            remote_model=_shown(offer.listed.name),
            capabilities=list(offer.capabilities),
            context_length=offer.listed.context_length,
            embedding_length=offer.listed.embedding_length,
        )

    @property
    def completes_raw(self) -> bool:
        """Whether its upstreams continue a text without a template: by OpenAI's API they do."""
        return all(member.spec.api == "openai" for member, _ in self.sources)

    def lacks(self, capability: str) -> bool:
        """Return whether it is certain that the model lacks a capability."""
        return self.is_certain and super().lacks(capability)

    @property
    def prompt_template(self) -> None:
        """None: the upstream renders prompts."""

    @property
    def suffix_template(self) -> None:
        """None: the upstream renders prompts."""


def _shown(name: str) -> str:
    """Return the name of a model there; of the path of a file the last part."""
    is_path = re.match(r"[/\\~]|[A-Za-z]:[/\\]", name)
    return re.split(r"[/\\]", name)[-1] if is_path else name


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
