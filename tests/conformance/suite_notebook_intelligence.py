"""Notebook Intelligence: chat and completion, as `jupyter ollama launch` sets them up."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance_scripts import PLAIN


@pytest.fixture(scope="module")
def home(host: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the configuration that our command writes."""
    folder = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [
            os.environ["CONFORMANCE_LAUNCH"],
            "launch",
            "notebook-intelligence",
            "--model",
            "caller",
            "--config",
            "--yes",
        ],
        env={
            **os.environ,
            "HOME": str(folder),
            "OLLAMA_HOST": f"http://{host}",
            "OLLAMA_API_KEY": "unused",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def jupyter(home: Path) -> Iterator[str]:
    """The address of a real Jupyter server with Notebook Intelligence, without a token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "jupyter.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "server", "--no-browser", "--allow-root"),
                *(f"--ServerApp.port={port}", "--IdentityProvider.token="),
                "--ServerApp.jpserver_extensions={'notebook_intelligence': True}",
                "--ServerApp.disable_check_xsrf=True",
                f"--ServerApp.root_dir={home}",
            ],
            env={**environment, "HOME": str(home)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while f"127.0.0.1:{port}" not in log.read_text() and process.poll() is None:
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        url = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(f"{url}/api", timeout=60).close()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def exchange(url: str, kind: str, data: dict[str, Any]) -> str:
    """Send a request by the extension's socket and return all texts of the answer."""
    import asyncio

    from tornado.websocket import websocket_connect

    async def ask() -> str:
        address = url.replace("http:", "ws:") + "/notebook-intelligence/copilot"
        connection = await websocket_connect(address)
        await connection.write_message(json.dumps({"id": "1", "type": kind, "data": data}))
        texts = []
        while True:
            message = await connection.read_message()
            assert message is not None, texts
            answer = json.loads(message)
            texts.append(message)
            if answer.get("type") == "stream-end" or kind.startswith("inline"):
                break
        connection.close()
        return "\n".join(str(text) for text in texts)

    return asyncio.run(asyncio.wait_for(ask(), 90))


def test_the_settings_are_read(jupyter: str, host: str) -> None:
    with urllib.request.urlopen(f"{jupyter}/notebook-intelligence/capabilities") as answer:
        found = json.loads(answer.read())
    assert found["chat_model"]["provider"] == "openai-compatible"
    properties = {one["id"]: one["value"] for one in found["chat_model"]["properties"]}
    assert properties["model_id"] == "caller"
    assert properties["base_url"] == f"http://{host}/v1"


def test_the_chat_answers(jupyter: str) -> None:
    data = {
        "chatId": "chat",
        "prompt": "hello",
        "language": "python",
        "filename": "",
        "chatMode": "ask",
        "toolSelections": {},
        "additionalContext": [],
    }
    text = exchange(jupyter, "chat-request", data)
    pieces = re.findall(r'"content": "((?:[^"\\]|\\.)*)"', text)
    said = "".join(json.loads(f'"{piece}"') for piece in pieces)
    assert PLAIN in said, text
