"""Long system prompts are kept on the disk: a runner that starts later does not read them again."""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_vision
from ollama_layout import unpack
from runners import Answer, answer_with_probabilities, running
from steps import Steps
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine import kept_prefixes, state_key
from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.prefix_files import PrefixFiles
from jupyter_ollama.engine.protocol import ChatPrompt, PrefixSharing
from jupyter_ollama.engine.reading_order import TILE
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.saved_state import SavedState
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

RULES = (
    "You are a patient teacher in a school by the sea. Use short words, and give no answers. " * 32
)
QUESTIONS = ("Why is the sea salt?", "Who made the wind?", "What is sand?")
OWNER = PrefixSharing(scope="owner")


async def ask(
    runner: RunnerClient, text: str, sharing: PrefixSharing = OWNER
) -> tuple[Answer, Done]:
    prompt = ChatPrompt([Message("system", RULES), Message("user", text)])
    options = Options(temperature=0, num_predict=8)
    return await answer_with_probabilities(runner, prompt, options, sharing=sharing)


async def test_a_restarted_runner_begins_with_the_system_prompt(
    smollm2: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prefixes"
    spec = {"num_ctx": 2048, "prefix_folder": str(folder), "prefix_bytes": 2**30}
    async with running(smollm2, num_ctx=2048) as runner:
        read = [await ask(runner, question) for question in QUESTIONS]
    async with running(smollm2, **spec) as runner:
        for question in QUESTIONS[:2]:
            await ask(runner, question)
        await wait_until(lambda: written(folder))
    async with running(smollm2, **spec) as runner:
        for question, (answer, before) in zip(QUESTIONS[::-1], read[::-1], strict=True):
            again, done = await ask(runner, question)
            # The same to the last bit.
            assert again == answer
            assert before.prompt_eval_count == done.prompt_eval_count > done.cached > 512
    assert len(written(folder)) == 1


async def wait_until(is_done: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not is_done():  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.05)


def written(folder: Path) -> dict[Path, int]:
    """Return the files of a folder with the times at which they were written or read."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("*.prefix")}


class Restarts:
    """Batch loops of one model, one after the other, with one folder of system prompts."""

    def __init__(self, path: Path, folder: Path, **spec: object) -> None:
        self._path = path
        self.folder = folder
        self._spec = {"num_ctx": 2048} | spec

    def start(self, **spec: object) -> Steps:
        folder = {"prefix_folder": str(self.folder), "prefix_bytes": 2**30}
        return Steps(self._path, 4, **(folder | self._spec | spec))

    def send(
        self,
        steps: Steps,
        text: str,
        request: int = 1,
        sharing: PrefixSharing = OWNER,
        *,
        opening: str = "",
        length: int = 600,
    ) -> Sequence:
        """Queue a prompt under a system prompt of ``length`` tokens."""
        tokens = steps.model.tokenize(opening + RULES, special=True)[:length]
        assert len(tokens) == length
        name = f"{opening}{length}".encode()
        system = SystemPrefix(name, length, sharing.after, sharing.scope)
        prompt = [*tokens, *steps.model.tokenize(text, special=False)]
        return steps.add(
            prompt, request=request, system=system, account=sharing.account, top_logprobs=0
        )

    @staticmethod
    def finish(steps: Steps, *sent: Sequence) -> None:
        """Answer what was ``sent``, do the work of idle time, and wait for threads that write."""
        steps.finish()
        while steps.generator.rest():
            pass
        time.sleep(0.5)

    def write(self, **spec: object) -> list[Answered]:
        """Have two requests answered and their system prompt written; return the answers."""
        before = written(self.folder)
        steps = self.start(**spec)
        answers = []
        for number, text in enumerate(QUESTIONS[:2]):
            sequence = self.send(steps, text, number)
            steps.finish()
            answers.append(answer_of(steps, sequence))
        while steps.generator.rest():
            pass
        for _ in range(300):
            if written(self.folder) != before:
                break
            time.sleep(0.1)
        steps.context.close()
        assert written(self.folder) != before
        return answers

    def ask(self, text: str, **spec: object) -> tuple[int, Answered]:
        """Return the tokens that the first request after a restart did not read, and its answer."""
        steps = self.start(**spec)
        sequence = self.send(steps, text)
        steps.finish()
        steps.context.close()
        return sequence.cache.reused, answer_of(steps, sequence)

    def reused(self, **spec: object) -> int:
        return self.ask(QUESTIONS[0], **spec)[0]


Answered = list[tuple[int, float]]
"""Generated tokens with their log-probabilities."""


def answer_of(steps: Steps, sequence: Sequence) -> Answered:
    tokens = steps.answers.pop(sequence.params.request)
    return [(token, one.logprob) for token, one in zip(tokens, sequence.logprobs, strict=True)]


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokens are bytes."""
    return tiny_vision.write_language_model(tmp_path_factory.mktemp("bytes") / "model.gguf")


@pytest.mark.parametrize("kind", ["smollm2_f16", "smollm2_q4_0"])
def test_answers_are_the_same_to_the_last_bit(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Those that begin with a file, and those after them."""
    loop = Restarts(request.getfixturevalue(kind), tmp_path / "prefixes")
    answers = loop.write()
    (file,) = loop.folder.iterdir()
    assert stat.S_IMODE(loop.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    steps = loop.start()
    for text, answer in zip(QUESTIONS[1::-1], answers[::-1], strict=True):
        sequence = loop.send(steps, text)
        steps.finish()
        assert sequence.cache.reused >= 600 // TILE * TILE
        assert answer_of(steps, sequence) == answer
    steps.context.close()


def test_what_is_kept(bytes_model: Path, tmp_path: Path) -> None:
    """Neither short system prompts, nor those sent once, nor any without a scope."""
    loop = Restarts(bytes_model, tmp_path)
    steps = loop.start()
    loop.finish(steps, loop.send(steps, QUESTIONS[0], opening="Once."))
    for question in QUESTIONS:
        loop.finish(steps, loop.send(steps, question, 2, PrefixSharing(7), opening="Mine."))
        loop.finish(steps, loop.send(steps, question, 3, opening="Short.", length=511))
    assert not written(tmp_path)
    for question in QUESTIONS[:2]:
        loop.finish(steps, loop.send(steps, question, 4, opening="Long.", length=512))
    assert len(written(tmp_path)) == 1
    steps.context.close()


def test_a_request_that_is_repeated(bytes_model: Path, tmp_path: Path) -> None:
    loop = Restarts(bytes_model, tmp_path)
    steps = loop.start()
    for _ in range(2):
        loop.finish(steps, loop.send(steps, QUESTIONS[0]))
    assert len(written(tmp_path)) == 1
    steps.context.close()


def test_it_can_be_turned_off(bytes_model: Path, tmp_path: Path) -> None:
    loop = Restarts(bytes_model, tmp_path / "prefixes")
    loop.write()
    assert loop.reused(prefix_bytes=0) == 0
    assert loop.reused() > 512
    steps = loop.start(prefix_bytes=0, prefix_folder=str(tmp_path / "others"))
    for question in QUESTIONS:
        loop.finish(steps, loop.send(steps, question))
    steps.context.close()
    assert not (tmp_path / "others").exists()


def common(account: int) -> PrefixSharing:
    """Return the sharing of an account under a policy of two other accounts."""
    return PrefixSharing(account, 2, "system 2")


def test_accounts_share_what_they_shared_before(bytes_model: Path, tmp_path: Path) -> None:
    loop = Restarts(bytes_model, tmp_path)
    steps = loop.start()
    for question in QUESTIONS:
        for account in (1, 2):
            loop.finish(steps, loop.send(steps, question, account, common(account)))
    assert not written(tmp_path)
    third = loop.send(steps, QUESTIONS[0], 3, common(3))
    loop.finish(steps, third)
    assert third.cache.reused > 512
    assert len(written(tmp_path)) == 1
    for question in QUESTIONS:
        loop.finish(steps, loop.send(steps, question, 4, opening="Mine."))
    steps.context.close()
    assert len(written(tmp_path)) == 2
    for sharing, opening in (
        (OWNER, ""),
        (PrefixSharing(4), ""),
        (PrefixSharing(4, 2), ""),
        (PrefixSharing(4, 3, "system 3"), ""),
        (common(4), "Mine."),
        (PrefixSharing(0, 0, "all"), "Mine."),
    ):
        steps = loop.start()
        sequence = loop.send(steps, QUESTIONS[1], 5, sharing, opening=opening)
        steps.finish()
        assert sequence.cache.reused == 0
        steps.context.close()
    # A common system prompt is common to all, in whole tiles to each that is new.
    steps = loop.start()
    for account in (1, 4, 5):
        sequence = loop.send(steps, QUESTIONS[1], account, common(account))
        steps.finish()
        assert sequence.cache.reused == 600 // TILE * TILE
    steps.context.close()


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:7],
        lambda data: b"",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: b"prefix 0" + data[8:],
    ],
    ids=["bit", "short", "long", "beginning", "empty", "header", "format"],
)
def test_damaged_files_are_removed(
    bytes_model: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    loop = Restarts(bytes_model, tmp_path)
    loop.write()
    (file,) = tmp_path.glob("*.prefix")
    file.write_bytes(damage(file.read_bytes()))
    assert loop.reused() == 0
    assert not file.exists()
    # The next requests write it again.
    loop.write()
    assert loop.reused() > 512


@pytest.mark.parametrize("name", ["gemma3-text", "olmo3"])
def test_sliding_windows(tmp_path: Path, name: str) -> None:
    """The state has all tokens, not only those of the last window."""
    loop = Restarts(unpack(name, tmp_path), tmp_path / "prefixes")
    for text, answer in zip(QUESTIONS, loop.write(), strict=False):
        reused, again = loop.ask(text)
        assert reused == 600 // TILE * TILE
        assert again == answer


def test_a_quantized_cache_and_a_draft_model(smollm2: Path, tmp_path: Path) -> None:
    loop = Restarts(smollm2, tmp_path, kv_cache_type="q8_0", draft=str(smollm2))
    answers = loop.write()
    reused, again = loop.ask(QUESTIONS[0])
    assert reused > 512
    assert again == answers[0]


def test_recurrent_models_keep_none(tmp_path: Path) -> None:
    """A recurrent state cannot be cut to the system prompt."""
    path = write_recurrent(tmp_path / "model.gguf")
    steps = Restarts(path, tmp_path / "prefixes").start()
    assert steps.context.is_recurrent
    assert state_key.prefix_files(steps.loaded, steps.context) is None
    assert not (tmp_path / "prefixes").exists()


def test_files_of_other_settings_are_not_used(
    bytes_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prefixes"
    loop = Restarts(bytes_model, folder)
    loop.write()
    for spec in (
        {"kv_cache_type": "f32"},
        {"flash_attention": False},
        {"num_batch": 128},
        {"num_thread": 1},
    ):
        assert loop.reused(**spec) == 0
    # What has no influence on the state does not matter.
    assert loop.reused(num_ctx=1024) > 512
    other = tmp_path / "other.gguf"
    tiny_vision.write_language_model(other)
    assert Restarts(other, folder).reused() == 0
    with monkeypatch.context() as patch:
        patch.setattr(state_key, "this_build", lambda: "ggml 0.0.0")
        assert loop.reused() == 0
    with monkeypatch.context() as patch:
        patch.setenv("OLLAMA_LLAMA_CPP_COMPAT", "0")
        assert loop.reused() == 0
    assert loop.reused() > 512
    assert len(list(folder.glob("*.prefix"))) == 1


def test_blobs_are_known_by_their_digest(bytes_model: Path, tmp_path: Path) -> None:
    """A store that is restored elsewhere keeps its system prompts."""
    names = [tmp_path / place / f"sha256-{'0' * 64}" for place in ("one", "two")]
    for path in names:
        path.parent.mkdir()
        path.write_bytes(bytes_model.read_bytes())
    Restarts(names[0], tmp_path / "prefixes").write()
    assert Restarts(names[1], tmp_path / "prefixes").reused() > 512
    other = tmp_path / "one" / f"sha256-{'1' * 64}"
    other.write_bytes(bytes_model.read_bytes())
    assert Restarts(other, tmp_path / "prefixes").reused() == 0


def test_others_run_while_a_file_is_read(
    bytes_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Restarts(bytes_model, tmp_path)
    loop.write()
    is_read = threading.Event()
    read = PrefixFiles.read

    def slowly(*asked: Any) -> SavedState | None:
        is_read.wait(30)
        return read(*asked)

    monkeypatch.setattr(PrefixFiles, "read", slowly)
    steps = loop.start()
    running = steps.add("Once upon a time", predict=1000, request=2)
    steps.finish(5)
    waiting = loop.send(steps, QUESTIONS[0])
    before = running.generated
    steps.finish(5)
    assert (running.generated >= before + 5, waiting.started) == (True, 0)
    is_read.set()
    while not waiting.started:
        steps.finish(1)
    assert waiting.cache.reused == 600
    steps.context.close()


def test_a_disk_that_hangs_is_not_waited_for(
    bytes_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Restarts(bytes_model, tmp_path)
    answers = loop.write()
    ends = threading.Event()
    monkeypatch.setattr(PrefixFiles, "read", lambda *asked: ends.wait(30) and None)
    monkeypatch.setattr(kept_prefixes, "LOAD_SECONDS", 0.2)
    try:
        assert loop.ask(QUESTIONS[0]) == (0, answers[0])
    finally:
        ends.set()


def test_what_was_read_beside_others_is_not_kept(bytes_model: Path, tmp_path: Path) -> None:
    """A request that runs alone gets the bits of its own batches, also after a restart."""
    loop = Restarts(bytes_model, tmp_path)
    steps = loop.start()
    steps.add("Once upon a time " * 20, predict=200, request=9)
    steps.finish(5)
    for number, text in enumerate(QUESTIONS[:2]):
        loop.send(steps, text, number)
    steps.finish()
    loop.finish(steps)
    assert not list(tmp_path.glob("*.prefix"))
    # The next request that runs alone reads the prompt anew.
    loop.send(steps, QUESTIONS[2])
    steps.finish()
    loop.finish(steps)
    assert len(list(tmp_path.glob("*.prefix"))) == 1
    steps.context.close()


def test_a_state_beyond_the_bound_is_not_kept(bytes_model: Path, tmp_path: Path) -> None:
    steps = Restarts(bytes_model, tmp_path, prefix_bytes=10_000).start()
    loop = Restarts(bytes_model, tmp_path)
    for number, text in enumerate(QUESTIONS):
        loop.send(steps, text, number)
        steps.finish()
    loop.finish(steps)
    assert not list(tmp_path.iterdir())
    steps.context.close()


def test_sequences_with_adapters_keep_none() -> None:
    """A file belongs to the model alone."""
    system = SystemPrefix(b"rules", 600, 0, "owner")
    assert system.computed_with(0).scope == "owner"
    assert system.computed_with(1).scope == ""
