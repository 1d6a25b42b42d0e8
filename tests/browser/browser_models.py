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
LESSON = r"""
The mean is $\bar{x} = \frac{a}{n}$ or \(O(n)\); it costs $5 to $6, `$HOME` aside.

$$
a
+ b = \begin{pmatrix} 1 & 2 \end{pmatrix}
$$

Unknown: $\nosuch{x}$ $\href{javascript:window.hacked=5}{x}$ $\includegraphics{http://127.0.0.1:9/p.png}$

| symbol | meaning |
|--------|---------|
| \[ \alpha \] | a rate |

```py
def double(x):  # <b>no tag</b>
    return "$a$"
```

```
return 1
```
"""
FILLED = "Frame({'a': [1]})"
THOUGHT = "First I look at it."
ANSWER = "It is done."


def fill(folder: Path, library: Library) -> None:
    """Add "coder" (markdown and HTML), "teacher" (formulas), "filler", "thinker" and "seeing"."""
    add_model(library, "coder", write_scripts(folder / "coder.gguf", {"SAY": HOSTILE}))
    add_model(library, "teacher", write_scripts(folder / "teacher.gguf", {"SAY": LESSON}))
    filler = write_scripts(folder / "filler.gguf", {"SAY": FILLED}, infill=True)
    add_model(library, "filler", filler)
    thinker = write_scripts(
        folder / "thinker.gguf",
        {"SAY": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"},
        special=("<think>", "</think>"),
        template="{# <think> </think> #}" + MESSAGES,
    )
    add_model(library, "thinker", thinker)
    add_seeing_model(library, "seeing", folder)
