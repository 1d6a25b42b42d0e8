"""The stop button while a request waits, while its prompt is read, and in the middle of a column.

In the middle of an answer: see the tests in tests/end_to_end.
"""

from __future__ import annotations

from collections.abc import Callable

from crowd import crowd, requests, wait_until
from real_kernel import Kernel


def interrupt_once(kernel: Kernel, begun: Callable[[], bool]) -> Callable[[], None]:
    def during() -> None:
        wait_until(begun)
        kernel.manager.interrupt_kernel()

    return during


def assert_next_cell_works(kernel: Kernel) -> None:
    reply, _ = kernel.run("%%chat smollm2 --new --temperature 0 --num-predict 2\nhi")
    assert reply["status"] == "ok"


def test_interrupt_in_the_queue(chat_kernel: Kernel, chat_server: str) -> None:
    def waits() -> bool:
        return any(one["state"] == "queued" for one in requests(chat_server))

    with crowd(chat_server, 16):
        cell = "%%chat smollm2 --new -o answer\nhi"
        chat_kernel.run(cell, interrupt_once(chat_kernel, waits))
        wait_until(lambda: len(requests(chat_server)) == 16)
    assert_next_cell_works(chat_kernel)


def test_interrupt_during_prefill(chat_kernel: Kernel, chat_server: str) -> None:
    def reads() -> bool:
        return any(one["state"] == "running" for one in requests(chat_server))

    story = "The quick brown fox jumps over the lazy dog. " * 380
    cell = f"%%chat smollm2 --new --raw --num-ctx 4096 -o answer\n{story}"
    chat_kernel.run(cell, interrupt_once(chat_kernel, reads))
    wait_until(lambda: not requests(chat_server))
    _, messages = chat_kernel.run("print(repr(answer.text), answer.done_reason)")
    assert messages[0][1]["text"] == "'' interrupted\n"
    assert_next_cell_works(chat_kernel)


def test_interrupt_during_a_column(chat_kernel: Kernel, chat_server: str) -> None:
    chat_kernel.run("import pandas as pd\nrows = pd.Series([f'{n} ships' for n in range(200)])")
    cell = "done = rows.ollama.chat('{text}', model='smollm2', options={'num_predict': 8})"

    seen: set[str] = set()

    def works() -> bool:
        now = {one["id"] for one in requests(chat_server)}
        seen.update(now)
        # The others have been answered: no more requests run at a time than now.
        return len(now) > 10 and len(seen) > 2 * len(now)

    def during() -> None:
        wait_until(works)
        chat_kernel.manager.interrupt_kernel()

    reply, _ = chat_kernel.run(cell, during)
    assert reply["status"] == "error"
    assert "of 200 rows are done and kept" in reply["evalue"]
    assert int(reply["evalue"].split()[0]) > 0
    wait_until(lambda: not requests(chat_server))
    assert_next_cell_works(chat_kernel)
