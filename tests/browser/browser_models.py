"""The models of the browser's tests, and what they say."""

from __future__ import annotations

from pathlib import Path

from scripted_model import MESSAGES, write_scripts
from store_models import add_model, add_seeing_model

from jupyter_ollama.library.model import Library

HOSTILE = """\
## Heading with **bold**

<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>

[bad](javascript:window.hacked=3) [good](https://example.org/) ![picture](http://127.0.0.1:9/p.png)

| left | right |
|------|-------|
| one  | two   |

<svg onload="window.hacked=4"><style>.jp-Notebook{display:none}</style>

```python
answer = 6 * 7  # <b>no tag</b>
```
"""
THOUGHT = "First I look at it."
ANSWER = "It is done."


def fill(folder: Path, library: Library) -> None:
    """Add "coder" (writes markdown and HTML), "thinker" and "seeing" to a store."""
    add_model(library, "coder", write_scripts(folder / "coder.gguf", {"SAY": HOSTILE}))
    thinker = write_scripts(
        folder / "thinker.gguf",
        {"SAY": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"},
        special=("<think>", "</think>"),
        template="{# <think> </think> #}" + MESSAGES,
    )
    add_model(library, "thinker", thinker)
    add_seeing_model(library, "seeing", folder)
