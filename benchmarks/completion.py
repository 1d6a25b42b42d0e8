"""How many of the names in a model's completions exist, with and without the names in scope.

    python benchmarks/completion.py --model smollm2

Asks the server of the environment (JUPYTER_OLLAMA_URL). A notebook has loaded three tables, whose
columns its code does not show, and imported helpers. Each of 30 gaps is continued as in JupyterLab:
with the code before it, and with the comment about the names that the kernel knows above that. A
proposed name exists if it is in the scope, in Python, in the code before, if the completion itself
defines it, or if it is a column or an attribute of the value that it is asked of.
"""

from __future__ import annotations

import argparse
import builtins
import io
import keyword
import re
import time
import tokenize
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from jupyter_ollama_client import Client, discover
from jupyter_ollama_magics.context import scope
from jupyter_ollama_magics.context.tokens import estimate

CODE = """\
import numpy as np
import pandas as pd
from helpers import load_tables, top_rows, plot_series

orders, customers, weather = load_tables("warehouse.db")
"""
"""The code that the model sees: it names no columns."""
GAPS = """\
total = orders["
average_price = orders["
by_day = orders.groupby("
by_customer = orders.groupby(["
late = orders[orders["
orders["revenue"] = orders["
joined = orders.merge(customers, on="
joined = orders.merge(customers, left_on="
oldest = customers.sort_values("
emails = customers["
by_country = customers.groupby("
names = customers[["
young = customers.query("
customers = customers.rename(columns={"
rain = weather["
warm = weather[weather["
by_station = weather.groupby("
weather["fahrenheit"] = weather["
weather = weather.drop(columns=["
monthly = weather.set_index("
best = top_rows(
top_rows(orders, "
plot_series(
plot_series(weather, "
print(orders.
print(customers.
daily = orders.resample("D", on="
pivot = orders.pivot_table(index="
correlation = weather[["
missing = customers["
""".splitlines()
DATES = pd.Series(pd.to_datetime(["2026-01-01"]))
HAVE_ATTRIBUTES = (DATES.to_frame(), DATES, DATES.dt, pd.Series(["a"]).str, pd, np, np.ndarray, "")
"""Values of the types that the completions ask for attributes."""


def tables() -> dict[str, Any]:
    """Return the names that the kernel has, with their values."""
    orders = pd.DataFrame(
        {
            "order_no": [1, 2],
            "cust_ref": [7, 8],
            "placed_on": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "unit_eur": [9.5, 3.0],
            "n_items": [1, 4],
            "shipped_late": [True, False],
        }
    )
    customers = pd.DataFrame(
        {"cust_ref": [7], "full_name": ["Ada"], "mail": ["a@b.c"], "born": [1990], "land": ["CH"]}
    )
    weather = pd.DataFrame(
        {"station": ["Bern"], "taken_at": ["2026-01-01"], "temp_c": [3.5], "rain_mm": [0.0]}
    )

    def load_tables(path):  # type: ignore[no-untyped-def]
        """Read the tables."""

    def top_rows(frame, column, n=10):  # type: ignore[no-untyped-def]
        """Return the rows with the largest values."""

    def plot_series(frame, column, title=""):  # type: ignore[no-untyped-def]
        """Plot a column."""

    made = {"np": np, "pd": pd, "load_tables": load_tables, "top_rows": top_rows}
    return {
        **made,
        "plot_series": plot_series,
        "orders": orders,
        "customers": customers,
        "weather": weather,
    }


def proposed(before: str, written: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of the names in a completion: "name", "attribute", "column".

    ``before`` is the line that it continues, which may end in an open string.
    """
    line = before.rsplit("\n", 1)[-1]
    kept = written.split("\n\n")[0]
    source = line + kept
    own = len(line)
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            tokens.append(token)
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # a completion that its limit cut; the tokens before are there
    starts = [0]
    for row in source.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    for at, token in enumerate(tokens):
        end = starts[token.end[0] - 1] + token.end[1]
        if end <= own:
            continue
        previous = tokens[at - 1].string if at else ""
        following = tokens[at + 1].string if at + 1 < len(tokens) else ""
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            if previous == ".":
                yield "attribute", token.string
            elif following != "=" or _is_statement(tokens, at):
                yield "name", token.string
        elif token.type == tokenize.STRING and previous in ("[", ",", "(", "=", "{"):
            text = token.string.strip("\"'")
            if re.fullmatch(r"\w[\w ]*", text):
                yield "column", text


def _is_statement(tokens: list[tokenize.TokenInfo], at: int) -> bool:
    """Return whether a name before "=" is a variable and no parameter of a call."""
    depth = sum((t.string in "([{") - (t.string in ")]}") for t in tokens[:at] if t.string)
    return depth <= 0


def exists(kind: str, name: str, before: str, written: str, names: dict[str, Any]) -> bool:
    """Return whether a proposed name is there when the code runs."""
    frames = [value for value in names.values() if isinstance(value, pd.DataFrame)]
    columns = {str(column) for frame in frames for column in frame.columns}
    if kind == "column":
        return name in columns | set(re.findall(r'\["(\w+)"\]\s*=(?!=)', before + written))
    if kind == "attribute":
        return name in columns or any(hasattr(one, name) for one in HAVE_ATTRIBUTES)
    made = set(re.findall(r"\b(\w+)\s*=(?!=)", before + written))
    made |= set(re.findall(r"\b(?:for|lambda|as|def)\s+(\w+)", written))
    return name in names or hasattr(builtins, name) or name in made


def main() -> None:
    """Print the counts with and without the names in scope."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of a completion")
    parser.add_argument("--show", action="store_true", help="print the completions")
    arguments = parser.parse_args()
    address = discover()
    client = Client(address.url, address.token)
    names = tables()
    lines = scope.lines(dict(reversed(names.items())))
    comment = "\n".join(f"# {line}" for line in ["Names in scope:", *lines]) + "\n\n"
    print(f"{arguments.model}, {len(GAPS)} gaps; the comment has about {estimate(comment)} tokens")
    for title, above in (("without", ""), ("with names in scope", comment)):
        counts: dict[str, list[int]] = {"name": [0, 0], "attribute": [0, 0], "column": [0, 0]}
        seconds = []
        for gap in GAPS:
            before = f"{CODE}\n# %%\n{gap}"
            options = {"temperature": 0, "num_predict": arguments.tokens, "stop": ["# %%", "\n\n"]}
            began = time.perf_counter()
            answer = client.generate(arguments.model, above + before, raw=True, options=options)
            written = "".join(event.get("response", "") for event in answer)
            seconds.append(time.perf_counter() - began)
            for kind, name in proposed(before, written):
                there = exists(kind, name, before, written, names)
                counts[kind][0] += there
                counts[kind][1] += 1
                if arguments.show and not there:
                    print(f"    {kind} {name!r} of {gap!r} + {written!r}")
        there, all_of_them = (sum(count[at] for count in counts.values()) for at in (0, 1))
        share = 100 * there / max(all_of_them, 1)
        parts = ", ".join(f"{kind}s {a} of {b}" for kind, (a, b) in counts.items())
        print(f"{title}: {there} of {all_of_them} names exist ({share:.0f} %): {parts};", end=" ")
        print(f"{median(seconds):.2f} s for a completion (median)")


if __name__ == "__main__":
    main()
