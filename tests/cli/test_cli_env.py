"""`jupyter ollama env`: the variables of clients, as real shells read them."""

from __future__ import annotations

import json
import subprocess
import sys

from cli_process import PROGRAM, Ollama

TOKEN = 'it\'s $HOME "quoted" \\n'


def test_a_shell_gets_every_character_of_the_token(
    ollama: Ollama, environment: dict[str, str]
) -> None:
    script = (
        f'eval "$({PROGRAM} env --shell sh)" && '
        f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env={**environment, "OLLAMA_HOST": "gpu.example:8888", "OLLAMA_API_KEY": TOKEN},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["OLLAMA_HOST"] == "http://gpu.example:8888"
    assert found["OPENAI_BASE_URL"] == "http://gpu.example:8888/v1"
    assert found["ANTHROPIC_BASE_URL"] == "http://gpu.example:8888"
    for name in ("OLLAMA_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        assert found[name] == TOKEN.strip()
    assert found["ANTHROPIC_API_KEY"] == ""


def test_the_shell_decides_about_the_language(ollama: Ollama) -> None:
    fish = ollama("env", host="gpu", SHELL="/usr/bin/fish", OLLAMA_API_KEY="a'b\\c").stdout
    assert "set -gx OLLAMA_HOST 'http://gpu:11434'\n" in fish
    assert "set -gx OLLAMA_API_KEY 'a\\'b\\\\c'\n" in fish
    power = ollama("env", "--shell", "powershell", host="gpu", OLLAMA_API_KEY="a'b").stdout
    assert "$env:OLLAMA_API_KEY = 'a''b'\n" in power
    plain = ollama("env", host="gpu", SHELL="/bin/zsh").stdout
    assert "export OLLAMA_HOST=http://gpu:11434\n" in plain


def test_without_a_token_clients_get_a_word_in_its_place(ollama: Ollama) -> None:
    found = json.loads(ollama("env", "--shell", "json", host="http://gpu/ollama").stdout)
    assert "OLLAMA_API_KEY" not in found
    assert found["OPENAI_API_KEY"] == found["ANTHROPIC_AUTH_TOKEN"] == "none"
    assert found["OPENAI_BASE_URL"] == "http://gpu/ollama/v1"


def test_addresses_that_no_other_program_can_use(ollama: Ollama) -> None:
    done = ollama("env", host="ftp://gpu")
    assert done.returncode == 1
    assert "must begin with http" in done.stderr
    done = ollama("env", host="http://ann:secret@gpu")
    assert done.returncode == 1
    assert "secret" not in done.stderr
