"""``%%chat --audio``: sounds reach the model, other values are errors."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from image_files import noise, saved
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Audio
from jupyter_ollama_magics.failures import OllamaMagicsError
from scripted_server import ScriptedServer
from sound_files import RATE, mp3, tone, wav

OPTIONS = "--num-predict 3 --temperature 0 --num-ctx 512"
SOUND = wav(tone(0.7))


def chat(shell: InteractiveShell, line: str, cell: str = "What is it?") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def test_a_real_model_hears_sounds(chat_shell: InteractiveShell, tmp_path: Path) -> None:
    (tmp_path / "tone.wav").write_bytes(SOUND)
    (tmp_path / "noise.mp3").write_bytes(mp3(30))
    chat_shell.push({"sound": Audio(tone(0.7), rate=RATE)})

    def tokens(line: str) -> int:
        result = chat(chat_shell, f"hearing {OPTIONS} --new {line}")
        return int(result.metrics["prompt_eval_count"])

    # A token each 40 ms, and one before and behind.
    without, one = tokens(""), tokens(f"--audio {tmp_path}/tone.wav")
    assert one == without + 20
    assert tokens("--audio sound") == one
    assert tokens(f"--audio sound --audio {tmp_path}/noise.mp3") == without + 20 + 22


@pytest.mark.parametrize("expression", ["file", "str(file)", "content", "Audio(file)"])
def test_kinds_of_sounds(
    shell: InteractiveShell, server: ScriptedServer, tmp_path: Path, expression: str
) -> None:
    file = tmp_path / "a b.wav"
    file.write_bytes(SOUND)
    shell.push({"file": file, "content": SOUND, "Audio": Audio})
    chat(shell, f"smollm2:135m --audio '{expression}'")
    (body,) = server.bodies("/api/chat")
    (sent,) = body["messages"][-1]["images"]
    assert base64.b64decode(sent) == SOUND


def test_with_images_and_in_lists(shell: InteractiveShell, server: ScriptedServer) -> None:
    picture = saved(noise(2, 2))
    shell.push({"both": [SOUND, mp3(3)], "picture": picture})
    chat(shell, "smollm2:135m --audio both --image picture")
    chat(shell, "", "And now?")
    first, second = (body["messages"] for body in server.bodies("/api/chat"))
    sent = [base64.b64decode(one) for one in first[-1]["images"]]
    assert sent == [picture, SOUND, mp3(3)]
    # A follow-up still hears them.
    assert second[0]["images"] == first[-1]["images"]
    assert "images" not in second[-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--audio nowhere.wav", r"--audio nowhere\.wav: there is no such file, and .* 'nowhere' "),
        ("--audio number", r"--audio number is of type int, not a WAV, MP3 or FLAC file,"),
        ("--audio nothing", r"--audio nothing is empty\.$"),
    ],
)
def test_mistakes(
    shell: InteractiveShell, server: ScriptedServer, line: str, expected: str
) -> None:
    shell.push({"number": 3, "nothing": b""})
    with pytest.raises(OllamaMagicsError, match=expected):
        chat(shell, f"smollm2:135m {line}")
    assert server.bodies("/api/chat") == []


def test_a_model_that_does_not_hear(chat_shell: InteractiveShell) -> None:
    chat_shell.push({"sound": SOUND})
    with pytest.raises(OllamaMagicsError, match=r"does not support audio"):
        chat(chat_shell, "seeing --audio sound --num-predict 3")
