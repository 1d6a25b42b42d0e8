"""The hint in an empty input line, which the first key removes."""

from __future__ import annotations

import os
import select
import sys

HINT = "Send a message (/? for help)"
_FAINT, _PLAIN = "\x1b[2m", "\x1b[0m"


def show_until_key(prompt: str) -> bool:
    """Show prompt and hint until a key is pressed, and leave the key for the reader of the line.

    Returns False, having shown nothing, where the terminal cannot do that or keys wait already.
    Raises KeyboardInterrupt for Ctrl-C.
    """
    if not _is_capable():
        return False
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard, termios.TCSANOW)
    try:
        if _has_key(keyboard, 0):
            return False
        _write(f"{prompt}{_FAINT}{HINT}{_PLAIN}\x1b[{len(HINT)}D")
        try:
            _has_key(keyboard, None)
        finally:
            _write("\r\x1b[K")
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return True


def _is_capable() -> bool:
    if os.environ.get("TERM", "dumb") == "dumb" or "readline" not in sys.modules:
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def _has_key(keyboard: int, seconds: float | None) -> bool:
    return bool(select.select([keyboard], [], [], seconds)[0])


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
