"""`jupyter ollama serve`: its settings, its address, its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import urllib.request
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cli_process import Ollama, Served, free_port, serving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_everything_unloaded(
    ollama: Ollama,
    environment: dict[str, str],
    ollama_store: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    with serving(environment, ollama_store, tmp_path) as served:
        assert ollama("run", "smollm2", host=served.host).returncode == 0
        runners = psutil.Process(served.process.pid).children(recursive=True)
        assert runners
        served.process.send_signal(number)
        assert served.process.wait(30) == 0
        assert not [runner for runner in runners if runner.is_running()]
    host, port = served.host.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_it_prints_its_address_and_its_models(server: Served) -> None:
    log = server.log.read_text()
    assert f"Ollama API at http://{server.host}" in log
    assert f"Models: 2, in {server.models}" in log


def test_it_prints_the_variables_of_devices(environment: dict[str, str], tmp_path: Path) -> None:
    devices = {"CUDA_VISIBLE_DEVICES": "1", "OLLAMA_SCHED_SPREAD": "1"}
    with serving(environment | devices, tmp_path, tmp_path) as served:
        served.wait_for("CUDA_VISIBLE_DEVICES=1: other GPUs of NVIDIA are hidden")
        served.wait_for("OLLAMA_SCHED_SPREAD=1: layers of each model are put on all GPUs")


def test_requests_are_logged(server: Served) -> None:
    url = f"http://{server.host}/api/version"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as response:
        assert response.status == 200
    server.wait_for("200 GET /api/version")


def status(served: Served, host: str) -> int:
    """Return the status of an answer to a request for a host name."""
    with closing(http.client.HTTPConnection(served.host, timeout=20)) as connection:
        connection.request("GET", "/api/version", headers={"Host": host})
        return connection.getresponse().status


def test_an_address_that_other_machines_reach(
    ollama: Ollama, environment: dict[str, str], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with serving(environment, models, tmp_path, address="0.0.0.0") as served:
        assert status(served, "evil.example.com") == 403
        assert status(served, "192.168.7.7") == 200
        log = served.log.read_text()
        assert "    OLLAMA_ALLOWED_HOSTS=gpu.example.org " in log
    with serving(environment, models, tmp_path, "--open", address="0.0.0.0") as served:
        assert status(served, "evil.example.com") == 200
    token = {**environment, "OLLAMA_ACCESS_TOKEN": "sesame"}
    with serving(token, models, tmp_path, address="0.0.0.0") as served:
        assert status(served, "127.0.0.1") == 403
        assert ollama("list", host=served.host).returncode == 1
        assert ollama("list", host=served.host, OLLAMA_API_KEY="sesame").returncode == 0
        assert "sesame" not in served.log.read_text()


def test_an_address_in_use(ollama: Ollama, server: Served) -> None:
    done = ollama("serve", host=server.host, OLLAMA_MODELS=str(server.models))
    assert done.returncode == 1
    assert f"Error: {server.host} is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_of_another_machine(ollama: Ollama, tmp_path: Path) -> None:
    # 192.0.2.0/24 is kept for documentation: no machine has it.
    done = ollama("serve", host="192.0.2.1:80", OLLAMA_MODELS=str(tmp_path))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Error: cannot listen at 192.0.2.1:80: " in done.stderr


def test_settings_of_the_command_line_and_of_the_config_file(
    ollama: Ollama, environment: dict[str, str], ollama_store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "jupyter_ollama_config.py").write_text(
        f"c.OllamaServer.models_dir = {str(ollama_store)!r}\nc.OllamaServer.keep_alive = '1h'\n"
    )
    variables = {**environment, "JUPYTER_CONFIG_DIR": str(config)}
    elsewhere = tmp_path / "elsewhere"
    with serving(variables, elsewhere, tmp_path, "--OllamaServer.context_length=2048") as served:
        assert f"Models: 2, in {ollama_store}" in served.log.read_text()
        assert ollama("run", "smollm2", host=served.host).returncode == 0
        row = ollama("ps", host=served.host).stdout.splitlines()[1]
        assert " 2048 " in row
        assert row.endswith(("59 minutes from now", "About an hour from now"))
    assert not elsewhere.exists()


def test_a_setting_with_a_wrong_value(ollama: Ollama, tmp_path: Path) -> None:
    done = ollama(
        "serve",
        "--OllamaServer.keep_alive=soon",
        host=f"127.0.0.1:{free_port()}",
        OLLAMA_MODELS=str(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The 'keep_alive' trait of an OllamaServer")


def test_all_settings_are_described(ollama: Ollama) -> None:
    text = ollama("serve", "--help-all").stdout
    for name in ("models_dir", "keep_alive", "max_queue", "origins"):
        assert f"--OllamaServer.{name}=" in text


def test_a_store_that_cannot_be_made(ollama: Ollama, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ollama(
        "serve", host=f"127.0.0.1:{free_port()}", OLLAMA_MODELS=str(tmp_path / "file" / "models")
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Error: " in done.stderr
    assert os.fspath(tmp_path) in done.stderr
