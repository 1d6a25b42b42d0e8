"""What a server with a GPU tells its clients about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from jupyter_ollama.api.listener import listen
from jupyter_ollama.api.metrics import ServerCollector
from jupyter_ollama.config import OllamaServer


async def test_the_memory_of_models_and_devices_is_reported(
    one_gpu: str, ollama_store: Path
) -> None:
    server = OllamaServer(models_dir=str(ollama_store), backend_folders=[str(Path(one_gpu).parent)])
    http = listen(server, "127.0.0.1:0")
    port = next(iter(http._sockets.values())).getsockname()[1]
    client = AsyncHTTPClient(force_instance=True)

    async def fetch(path: str, **body: Any) -> str:
        how = {"method": "POST", "body": json.dumps(body)} if body else {}
        url = f"http://127.0.0.1:{port}{path}"
        return (await client.fetch(url, request_timeout=600, **how)).body.decode()

    try:
        answer = json.loads(await fetch("/api/embed", model="all-minilm", input="Hello"))
        assert len(answer["embeddings"][0]) == 384
        (model,) = json.loads(await fetch("/api/ps"))["models"]
        assert 10 * 2**20 < model["size_vram"] < model["size"]
        gpu, cpu = json.loads(await fetch("/api/devices"))["devices"]
        assert gpu["name"] == "Vulkan0"
        assert gpu["description"]
        assert (gpu["is_cpu"], cpu["is_cpu"]) == (False, True)
        samples = [one for metric in ServerCollector(server).collect() for one in metric.samples]
        of_gpu = [one for one in samples if one.labels.get("device") == "Vulkan0"]
        (total,) = (one for one in of_gpu if "total" in one.name)
        assert total.value == gpu["total"]
    finally:
        http.stop()
        await http.close_all_connections()
        await server.stop()
        client.close()
