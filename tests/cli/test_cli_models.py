"""list, ps, show, cp, rm, stop and create against a real server, and against a scripted one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cli_process import Ollama, Peer, Served, Terminal


def names(ollama: Ollama, server: Served) -> list[str]:
    lines = ollama("list", host=server.host).stdout.splitlines()[1:]
    return [line.split()[0] for line in lines]


def test_list_shows_name_id_size_and_age(ollama: Ollama, server: Served) -> None:
    done = ollama("list", host=server.host)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    row = next(row for row in rows if row.startswith("smollm2:latest"))
    assert re.fullmatch(r"smollm2:latest +[0-9a-f]{12} +\d+ MB +\S.* ago", row)
    manifest = Path(server.models, "manifests/registry.ollama.ai/library/smollm2/latest")
    assert hashlib.sha256(manifest.read_bytes()).hexdigest()[:12] in row
    again = ollama("ls", host=server.host).stdout.splitlines()
    assert [line.split()[:2] for line in again] == [line.split()[:2] for line in [head, *rows]]


def test_list_takes_the_beginning_of_a_name(ollama: Ollama, server: Served) -> None:
    rows = ollama("list", "ALL-", host=server.host).stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["all-minilm:latest"]


def test_show_prints_the_facts(ollama: Ollama, server: Served) -> None:
    text = ollama("show", "smollm2", host=server.host).stdout
    assert re.search(r"^ {4}architecture +llama$", text, re.M)
    assert re.search(r"^ {4}parameters +134.52M$", text, re.M)
    assert re.search(r"^ {4}context length +8192$", text, re.M)
    assert re.search(r"^  Capabilities\n    completion$", text, re.M)


def test_show_one_part(ollama: Ollama, server: Served) -> None:
    text = ollama("show", "--modelfile", "smollm2", host=server.host).stdout
    assert Path(from_line(text).removeprefix("FROM ")).is_file()


def from_line(modelfile: str) -> str:
    return next(line for line in modelfile.splitlines() if line.startswith("FROM "))


def test_create_uploads_files_and_keeps_the_modelfiles_instructions(
    ollama: Ollama, server: Served, tmp_path: Path
) -> None:
    blob = next(path for path in Path(server.models, "blobs").iterdir() if is_gguf(path))
    # Other bytes than those the server has: the file has to be uploaded.
    (tmp_path / "weights.gguf").write_bytes(blob.read_bytes() + b"\0" * 32)
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text('FROM ./weights.gguf\nSYSTEM """Be\nbrief."""\nPARAMETER num_predict 3\n')
    done = ollama("create", "mine", "-f", str(modelfile), host=server.host)
    assert (done.returncode, done.stdout) == (0, "")
    steps = done.stderr.splitlines()
    assert steps[:2] == ["reading weights.gguf", "uploading weights.gguf"]
    assert steps[-1] == "success"
    assert ollama("show", "mine", "--system", host=server.host).stdout == "Be\nbrief.\n"
    parameters = ollama("show", "mine", "--parameters", host=server.host).stdout
    assert parameters.split() == ["num_predict", "3"]

    again = ollama("create", "mine2", "--file", str(modelfile), host=server.host)
    assert "uploading weights.gguf" not in again.stderr.splitlines()
    assert ollama("rm", "mine", "mine2", host=server.host).returncode == 0


def is_gguf(path: Path) -> bool:
    return path.stat().st_size > 1_000_000 and path.open("rb").read(4) == b"GGUF"


def test_create_from_a_model(ollama: Ollama, server: Served, tmp_path: Path) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text("from smollm2\nsystem Answer in rhymes.\n")
    assert ollama("create", "poet", "-f", str(modelfile), host=server.host).returncode == 0
    assert "poet:latest" in names(ollama, server)
    small, poet = (
        ollama("show", name, "--modelfile", host=server.host).stdout for name in ("smollm2", "poet")
    )
    assert from_line(small) == from_line(poet)
    assert "SYSTEM Answer in rhymes." in poet
    assert ollama("rm", "poet", host=server.host).returncode == 0


def test_create_with_a_draft_model(ollama: Ollama, server: Served, tmp_path: Path) -> None:
    blob = next(path for path in Path(server.models, "blobs").iterdir() if is_gguf(path))
    (tmp_path / "small.gguf").write_bytes(blob.read_bytes() + b"\0" * 32)
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text("FROM smollm2\nDRAFT ./small.gguf\n")
    command = ("create", "drafted", "-f", str(modelfile))
    done = ollama(*command, host=server.host)
    assert (done.returncode, "uploading small.gguf" in done.stderr.splitlines()) == (0, True)
    shown = ollama("show", "drafted", "--modelfile", host=server.host).stdout
    assert re.search(r"^FROM \S+\nDRAFT \S+$", shown, re.M)
    wrong = ollama(*command, "--draft-quantize", "Q9", host=server.host)
    assert "Error: unsupported quantization type Q9" in wrong.stderr
    assert ollama("rm", "drafted", host=server.host).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("SYSTEM hello\n", "no FROM line"), ("FROM a\nFLY b\n", "(line 2): command must be one of")],
)
def test_a_wrong_modelfile(
    ollama: Ollama, server: Served, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "Modelfile").write_text(text)
    done = ollama("create", "x", "-f", str(tmp_path / "Modelfile"), host=server.host)
    assert (done.returncode, done.stderr.startswith(f"Error: {message}")) == (1, True)


def test_create_quantizes_only_to_types_of_the_server(
    ollama: Ollama, server: Served, tmp_path: Path
) -> None:
    (tmp_path / "Modelfile").write_text("FROM smollm2\n")
    done = ollama("create", "x", "-q", "Q9", "-f", str(tmp_path / "Modelfile"), host=server.host)
    assert done.returncode == 1
    assert "Error: unsupported quantization type Q9" in done.stderr
    assert "x:latest" not in names(ollama, server)


def test_cp_and_rm_of_several(ollama: Ollama, server: Served) -> None:
    for name in ("one", "two:v2"):
        done = ollama("cp", "smollm2", name, host=server.host)
        assert done.stdout == f"copied 'smollm2' to '{name}'\n"
    assert {"one:latest", "two:v2"} <= set(names(ollama, server))
    done = ollama("rm", "one", "absent", "two:v2", host=server.host)
    assert done.stdout == "deleted 'one'\ndeleted 'two:v2'\n"
    assert (done.returncode, done.stderr) == (1, "Error: model 'absent' not found\n")
    assert not {"one:latest", "two:v2"} & set(names(ollama, server))
    assert "smollm2:latest" in names(ollama, server)


def test_errors_of_the_server(ollama: Ollama, server: Served) -> None:
    done = ollama("show", "absent", host=server.host)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: model 'absent:latest' not found\n"
    done = ollama("cp", "absent", "x", host=server.host)
    assert done.stderr == 'Error: model "absent" not found\n'
    done = ollama("stop", "absent", host=server.host)
    assert (done.returncode, done.stderr) == (1, 'Error: couldn\'t find model "absent" to stop\n')


def test_ps_and_stop(ollama: Ollama, server: Served) -> None:
    assert ollama("run", "smollm2", "--keepalive", "10m", host=server.host).returncode == 0
    head, row = ollama("ps", host=server.host).stdout.splitlines()
    assert head.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    shown = re.fullmatch(r"smollm2:latest +\w{12} +\d+ MB +\S+ [CG]PU +4096 +(\d+) minutes.*", row)
    assert shown is not None
    assert shown[1] == "9"
    assert ollama("stop", "smollm2", host=server.host).returncode == 0
    assert len(ollama("ps", host=server.host).stdout.splitlines()) == 1


def test_a_loaded_model_follows_its_names(ollama: Ollama, server: Served) -> None:
    def loaded() -> list[list[str]]:
        rows = ollama("ps", host=server.host).stdout.splitlines()[1:]
        return [row.split()[:2] for row in rows]

    assert ollama("run", "smollm2", "--keepalive", "-1", host=server.host).returncode == 0
    assert ollama("cp", "smollm2", "other", host=server.host).returncode == 0
    assert ollama("rm", "other", host=server.host).returncode == 0
    ((name, identity),) = loaded()
    assert name == "smollm2:latest", "the other name was removed, not the model"
    assert ollama("stop", identity, host=server.host).returncode == 0
    assert loaded() == []
    done = ollama("stop", "f" * 12, host=server.host)
    assert done.stderr == f'Error: couldn\'t find model "{"f" * 12}" to stop\n'


@pytest.mark.parametrize(
    ("on_gpu", "processor"), [(0, "100% CPU"), (1000, "100% GPU"), (520, "48%/52% CPU/GPU")]
)
def test_ps_prints_the_devices_of_a_model(
    ollama: Ollama, peer: Peer, on_gpu: int, processor: str
) -> None:
    common = {"digest": "a" * 64, "size": 1000, "size_vram": on_gpu, "context_length": 8192}
    peer.answers["/api/ps"] = [
        {
            "models": [
                {"name": "kept:1b", "expires_at": "2318-01-01T00:00:00Z", **common},
                {"name": "going:1b", "expires_at": "2020-01-01T00:00:00+01:00", **common},
            ]
        }
    ]
    _, kept, going = ollama("ps", host=peer.host).stdout.splitlines()
    assert re.split(r" {2,}", kept) == [
        "kept:1b",
        "a" * 12,
        "1 KB",
        processor,
        "8192",
        "Forever",
    ]
    assert going.endswith("Stopping...")


def test_show_sections_of_a_model_that_has_all(ollama: Ollama, peer: Peer) -> None:
    peer.answers["/api/show"] = [
        {
            "details": {"family": "gemma3", "quantization_level": "Q4_0"},
            "model_info": {"general.architecture": "gemma3", "general.parameter_count": 4e9},
            "projector_info": {"general.architecture": "clip"},
            "capabilities": ["completion", "vision"],
            "parameters": 'temperature                    1\nstop                           "a b"',
            "system": "One.\nTwo.",
            "license": "Apache\n\nVersion 2.0\nJanuary 2004",
        }
    ]
    assert ollama("show", "g", host=peer.host).stdout == (
        "  Model\n"
        "    architecture    gemma3\n"
        "    parameters      4.0B\n"
        "    quantization    Q4_0\n"
        "\n  Projector\n    architecture    clip\n"
        "\n  Capabilities\n    completion\n    vision\n"
        '\n  Parameters\n    temperature    1\n    stop           "a b"\n'
        "\n  System\n    One.\n    Two.\n"
        "\n  License\n    Apache\n    Version 2.0\n    ...\n"
    )


def test_progress_on_a_terminal(environment: dict[str, str], peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM base\n")
    step = {"status": "quantizing", "total": 2_000_000_000}
    peer.answers["/api/create"] = [{**step, "completed": 500_000_000}, {"status": "success"}]
    command = ["jupyter-ollama", "create", "x", "-f", str(tmp_path / "Modelfile")]
    with Terminal(command, {**environment, "OLLAMA_HOST": peer.host}) as terminal:
        terminal.expect("quantizing  25 % of 2 GB")
        terminal.expect("\nsuccess\n")
        assert terminal.status() == 0


def test_an_error_in_the_middle_of_a_stream(ollama: Ollama, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM base\n")
    peer.answers["/api/create"] = [{"status": "parsing GGUF"}, {"error": "disk full"}]
    done = ollama("create", "x", "-f", str(tmp_path / "Modelfile"), host=peer.host)
    assert (done.returncode, done.stderr) == (1, "parsing GGUF\nError: disk full\n")
