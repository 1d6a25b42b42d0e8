"""The models of the browser tests and their answers."""

from __future__ import annotations

from pathlib import Path

from scripted_model import MESSAGES, write_scripts
from store_models import add_model, add_seeing_model

from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library

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
LINES = "[\n    name.upper()\n    for name in names\n]"
"""A completion of several lines."""
THOUGHT = "First I look at it."
ANSWER = "It is done."
LOOP = """\
import os
total = 0
for x in range(3):
    total += x
print(total)"""
"""A cell that the model "editor" edits."""
EDITED = """\
import math
total = 0
for x in range(3):
    total += x * 2
print(total)
print("done")"""
DOCUMENTED = """\
import os
# The sum of the numbers below three.
total = 0
for x in range(3):
    total += x
print(total)"""
GENERATED = """\
def area(radius: float) -> float:
    return 3.14159 * radius**2"""
PROSE = "# A *short* title\n\nOne line."
ONE_LINE = "total -= x"
"""The answers of the model "editor" to instructions that name them."""
ENDLESS = {
    "temperature": 0,
    "num_predict": -1,
    "logit_bias": {"0": -100, "2": -100},
    "repetition_stop": False,
}
"""Options of smollm2 for endless answers: without the tokens that end them."""
COMMA = 28
"""The token "," of smollm2."""


def fill(folder: Path, library: Library) -> None:
    """Add the models that a library with smollm2 lacks.

    "coder" writes markdown and HTML, "teacher" formulas, "editor" cells, "talker" never ends and
    "comma" writes nothing but commas. The others are "filler", "thinker" and "seeing".
    """
    add_model(library, "coder", write_scripts(folder / "coder.gguf", {"SAY": HOSTILE}))
    add_model(library, "teacher", write_scripts(folder / "teacher.gguf", {"SAY": LESSON}))
    filler = write_scripts(folder / "filler.gguf", {"SAY": FILLED}, infill=True)
    add_model(library, "filler", filler)
    liner = write_scripts(folder / "liner.gguf", {"SAY": LINES}, infill=True)
    add_model(library, "liner", liner)
    thinker = write_scripts(
        folder / "thinker.gguf",
        {"SAY": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"},
        special=("<think>", "</think>"),
        template="{# <think> </think> #}" + MESSAGES,
    )
    add_model(library, "thinker", thinker)
    edits = {
        "EDIT": f"Here it is:\n```python\n{EDITED}\n```\n",
        "DOCUMENT": f"```python\n{DOCUMENTED}\n```\n",
        "GENERATE": f"```python\n{GENERATED}\n```\n",
        "SAME": f"```python\n{LOOP}\n```\n",
        "LINE": f"```python\n{ONE_LINE}\n```\n",
        "PROSE": PROSE,
    }
    add_model(library, "editor", write_scripts(folder / "editor.gguf", edits))
    add_seeing_model(library, "seeing", folder)
    talker = CreateRequest("talker", from_="smollm2", parameters=ENDLESS)
    only_commas = {**ENDLESS, "logit_bias": {str(COMMA): 100}}
    comma = CreateRequest("comma", from_="smollm2", parameters=only_commas)
    for request in (talker, comma):
        list(create(library.store, request, quantize.run))
