"""Ollama's own Python client, unmodified, against both kinds of server, set up by variables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest
from cli_process import serving
from run_notebook import jupyter_server

GREEDY = {"temperature": 0, "num_predict": 12}
QUESTION = {"role": "user", "content": "What is the capital of France?"}


@pytest.fixture(scope="module", params=["jupyter ollama serve", "a Jupyter server"])
def address(
    request: pytest.FixtureRequest, ollama_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A server of each kind over a store of its own, in OLLAMA_HOST and OLLAMA_API_KEY."""
    home = tmp_path_factory.mktemp("clients")
    models = home / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_MODELS", str(models))
        patch.setenv("JUPYTER_CONFIG_DIR", str(home / "config"))
        if request.param == "a Jupyter server":
            with jupyter_server(home) as server:
                patch.setenv("OLLAMA_HOST", f"{server.url}/ollama")
                patch.setenv("OLLAMA_API_KEY", server.token)
                yield
        else:
            with serving(dict(os.environ), models, home) as served:
                patch.setenv("OLLAMA_HOST", served.host)
                yield


def test_client(address: None) -> None:
    with ollama.Client() as client:
        text = client.generate("smollm2", "Once upon a time", raw=True, options=GREEDY)
        pieces = list(client.generate("smollm2", "Hello", stream=True, options=GREEDY))
        assert text.eval_count == 12
        assert pieces[-1].done
        whole = client.chat("smollm2", [QUESTION], options=GREEDY)
        assert "Paris" in (whole.message.content or "")
        streamed = client.chat("smollm2", [QUESTION], options=GREEDY, stream=True)
        assert len([part for part in streamed if part.message.content]) > 1
        vectors = client.embed("all-minilm", ["one", "two"]).embeddings
        assert [len(vector) for vector in vectors] == [384, 384]
        assert {model.model for model in client.ps().models} == {
            "smollm2:latest",
            "all-minilm:latest",
        }

        client.create("pirate", from_="smollm2", system="Talk like a pirate.")
        assert "pirate" in (client.show("pirate").modelfile or "")
        client.copy("pirate", "captain")
        assert {"pirate:latest", "captain:latest"} < {model.model for model in client.list().models}
        for name in ("pirate", "captain"):
            assert client.delete(name).status == "success"
        assert len(client.list().models) == 2
        with pytest.raises(ollama.ResponseError, match="model 'pirate' not found") as caught:
            client.chat("pirate", [QUESTION])
        assert caught.value.status_code == 404


async def test_async_client(address: None) -> None:
    async with ollama.AsyncClient() as client:
        answer = await client.generate("smollm2", "Hello", options=GREEDY)
        assert answer.eval_count
        streamed = await client.chat("smollm2", [QUESTION], options=GREEDY, stream=True)
        assert len([part async for part in streamed if part.message.content]) > 1
        assert len((await client.embed("all-minilm", "one")).embeddings[0]) == 384
        assert (await client.ps()).models

        steps = await client.create("pirate", from_="smollm2", system="Arr.", stream=True)
        assert [step.status async for step in steps][-1] == "success"
        assert (await client.show("pirate")).capabilities == ["completion"]
        await client.copy("pirate", "captain")
        for name in ("pirate", "captain"):
            await client.delete(name)
        assert len((await client.list()).models) == 2
