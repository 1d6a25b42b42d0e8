"""bench: its measurements on this machine, and its remarks on given figures."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import Ollama

from jupyter_ollama.cli.bench_report import Measured, WeightFormat, report, text
from jupyter_ollama.cli.command import CommandError
from jupyter_ollama.cli.other_formats import candidates
from jupyter_ollama.cli.speed import Served, Speed, Stream, Workload, speed_together
from jupyter_ollama.engine.events import Ready
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.workload import prompts

QUICK = ("--tokens", "6", "--prompt", "48")


@pytest.fixture
def variables(scratch_store: Path, tmp_path: Path) -> dict[str, str]:
    """A store, and a folder for temporary files to look at."""
    (tmp_path / "temporary").mkdir()
    return {"OLLAMA_MODELS": str(scratch_store), "TMPDIR": str(tmp_path / "temporary")}


def test_a_table_of_measurements(ollama: Ollama, variables: dict[str, str]) -> None:
    options = ("--streams", "3,1", "--rounds", "2", "--no-compare")
    done = ollama("bench", "smollm2", *QUICK, *options, **variables)
    assert done.returncode == 0, done.stderr
    head, _, heads, *rows = done.stdout.splitlines()
    assert re.fullmatch(r"smollm2:latest    Q4_0    92 MB    \d+ CPUs", head)
    assert heads.split() == ["STREAMS", "DECODE", "LIMIT", "RATIO", "PREFILL", "LIMIT", "RATIO"]
    speed = r"[\d.]+ tok/s +"
    for row, streams in zip(rows, (1, 3), strict=False):
        assert re.fullmatch(rf"{streams} +({speed}{speed}\d+%\s*){{2}}", row)
    assert "2 rounds lie" in " ".join(done.stdout.split())
    assert "Other formats were not tried" in done.stdout
    assert re.fullmatch(r"(round \d of 2: server, limit \(\d+ s\)\n){2}", done.stderr)


def test_figures_as_json_with_other_formats(ollama: Ollama, variables: dict[str, str]) -> None:
    options = ("--streams", "1,2,64", "--rounds", "1", "--json")
    done = ollama("bench", "smollm2", *QUICK, *options, **variables, OLLAMA_NUM_PARALLEL="2")
    facts = json.loads(done.stdout)
    assert (facts["model"], facts["format"], facts["rounds"]) == ("smollm2:latest", "Q4_0", 1)
    assert (facts["slots"], facts["left_out"], facts["spread"]) == (2, [64], None)
    assert [line["streams"] for line in facts["streams"]] == [1, 2]
    for line in facts["streams"]:
        for kind in ("decode", "prefill"):
            found = line[kind]
            assert found["server"] > 0
            assert found["ratio"] == pytest.approx(found["server"] / found["limit"], rel=0.01)
    own, other = facts["formats"]
    assert (own["format"], own["decode_gain"], own["prefill_gain"]) == ("Q4_0", 1, 1)
    assert other["format"] == "Q8_0"
    assert 1.3 < other["size"] / own["size"] < 2
    assert other["decode"] > 0
    assert "writing Q8_0" in done.stderr
    assert list(Path(variables["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "model 'nope' not found"),
        (["a//b"], "invalid model name"),
        (["all-minilm"], '"all-minilm" does not support generate'),
        (["smollm2", "--streams", "1,0"], "argument --streams"),
        (["smollm2", "--rounds", "0"], "argument --rounds"),
        (["smollm2", "--streams", "64"], "the server runs at most 16 streams at once"),
        (
            ["smollm2", "--prompt", "9000", "--tokens", "4"],
            "the input length exceeds the context length",
        ),
    ],
)
def test_mistakes_are_one_error(
    ollama: Ollama, variables: dict[str, str], arguments: list[str], message: str
) -> None:
    done = ollama("bench", *arguments, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr[done.stderr.index("Error: ") :]
    assert message in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("shown", "computed", "number"),
    [
        ("server", 0.0, signal.SIGINT),
        ("server", 0.0, signal.SIGTERM),
        ("server", 0.5, signal.SIGINT),
        ("server", 0.5, signal.SIGTERM),
        ("limit", 0.0, signal.SIGINT),
        ("writing Q8_0", 0.0, signal.SIGTERM),
    ],
)
def test_nothing_is_left_behind_when_it_is_stopped(
    environment: dict[str, str],
    variables: dict[str, str],
    shown: str,
    computed: float,
    number: signal.Signals,
) -> None:
    """``computed`` is the runner's processor time in seconds before the signal."""
    with subprocess.Popen(
        ["jupyter-ollama", "bench", "smollm2", "--streams", "1", *QUICK],
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's job in the background ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr
        seen = ""
        while shown not in seen:
            seen += process.stderr.read(1)
        children: list[psutil.Process] = []
        while sum(child.cpu_times().user for child in children) < computed or not children:
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, rest = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in rest
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert list(Path(variables["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(
    ("file_type", "formats"),
    [
        ("Q4_K_M", ["Q4_0", "Q8_0"]),
        ("Q4_1", ["Q4_0", "Q8_0"]),
        ("IQ2_XS", ["Q4_0", "Q8_0"]),
        ("Q4_0", ["Q8_0"]),
        ("Q6_K", ["Q8_0"]),
        ("Q8_0", []),
        ("F16", []),
        ("MXFP4", []),
        ("unknown", []),
    ],
)
def test_formats_of_fewer_bits_are_not_compared(file_type: str, formats: list[str]) -> None:
    assert candidates(file_type) == formats


def measured(
    own: list[Speed], other: list[Speed], *, vram: int = 0, name: str = "Q4_0", size: int = 90
) -> Measured:
    """Return figures of a Q4_1 model as the rounds gave them, the server at half the limit."""
    ready = Ready(num_ctx=4096, slots=16, size=100, size_vram=vram)
    found = Measured("m:latest", "Q4_1", 100, Workload((1,), 64, 512))
    for speed in own:
        half = Speed(speed.decode / 2, speed.prefill / 2)
        found.served.append(Served(LoadSpec(model=""), ready, {1: half}))
        found.limits.append({1: speed})
    found.formats = [
        WeightFormat("Q4_1", Path(), 100, own),
        WeightFormat(name, Path(), size, other),
    ]
    return found


STEADY = [Speed(100, 200), Speed(101, 202), Speed(99, 198)]


def faster(other: list[Speed]) -> bool:
    found: bool = report(measured(STEADY, other))["formats"][1]["faster"]
    return found


def test_a_format_is_faster_if_it_was_so_in_every_round() -> None:
    assert faster([Speed(120, 600)] * 3)
    assert faster([Speed(98, 600)] * 3)
    assert faster([Speed(120, 200)] * 3)
    assert not faster([Speed(101, 205)] * 3)
    assert not faster([Speed(70, 600)] * 3)
    assert not faster([Speed(120, 180)] * 3)
    assert not faster([Speed(500, 200), Speed(102, 200), Speed(500, 200)])


def unfolded(facts: dict[str, Any]) -> str:
    return " ".join(text(facts).split())


def test_the_report_of_a_faster_format() -> None:
    said = unfolded(report(measured(STEADY, [Speed(120, 580)] * 3)))
    gain = "Q4_0 would prefill 2.9 times as fast and decode 1.2 times as fast on this host"
    assert f"{gain}, and is less exact than Q4_1." in said
    assert "loses quality" in said
    assert said.endswith(" jupyter ollama create NAME -f Modelfile --quantize q4_0")
    said = unfolded(report(measured(STEADY, [Speed(100, 580)] * 3, name="Q8_0", size=190)))
    assert "prefill 2.9 times as fast and decode as fast on this host" in said
    assert "and takes 1.9 times the memory" in said


def test_nothing_is_advised_without_a_gain_or_for_a_gpu() -> None:
    said = unfolded(report(measured(STEADY, [Speed(100, 200)] * 3)))
    assert "None is clearly faster here" in said
    assert "create NAME" not in said
    on_gpu = measured(STEADY, [], vram=10**6)
    on_gpu.formats = []
    said = text(report(on_gpu))
    assert "GPU" in said.splitlines()[0]
    assert "compare" not in said


def test_noise_is_reported() -> None:
    steady = report(measured(STEADY, STEADY))
    assert steady["spread"] == 0.02
    assert steady["streams"][0]["decode"] == {"server": 50, "limit": 100, "ratio": 0.5}
    assert "Noisy" not in unfolded(steady)
    drifting = report(measured([Speed(50, 200), *STEADY[1:]], STEADY))
    assert "Noisy: the 3 rounds lie up to 52% apart." in unfolded(drifting)
    assert "One round only" in unfolded(report(measured(STEADY[:1], STEADY[:1])))
    for kind in ("decode", "prefill"):
        facts: dict[str, Any] = report(measured(STEADY, STEADY))
        assert "above its limit" not in unfolded(facts)
        facts["streams"][0][kind]["ratio"] = 1.2
        assert f"{kind.upper()} above its limit:" in unfolded(facts)


def test_prompts_share_no_beginning() -> None:
    texts = [*prompts(16, 32, "a"), *prompts(16, 32, "b")]
    assert len({" ".join(text.split()[:3]) for text in texts}) == 32
    assert prompts(2, 32, "a") == texts[:2]
    assert all(24 <= len(text.split()) <= 40 for text in texts)


def stream(begin: float, end: float, *, every: float = 0.5) -> Stream:
    """Return an answer of 10 tokens a second and 4 letters a token, sent in pieces."""
    pieces = [(begin, 4)]
    while pieces[-1][0] < end:
        pieces.append((pieces[-1][0] + every, int(40 * every)))
    return Stream(pieces, sum(length for _, length in pieces) // 4)


def test_streams_are_measured_while_they_run_side_by_side() -> None:
    assert speed_together([stream(0, 5)]) == pytest.approx(10)
    assert speed_together([stream(0, 5), stream(2, 9)]) == pytest.approx(20)
    # Streams that the same message wakes a moment later count equally.
    assert speed_together([stream(0.001, 5), stream(2, 9), stream(1.001, 8)]) == pytest.approx(
        30, rel=1e-3
    )
    with pytest.raises(CommandError, match="too soon"):
        speed_together([stream(0, 2), stream(2, 9)])
    with pytest.raises(CommandError, match="too soon"):
        speed_together([stream(0, 2), Stream([], 1)])
