"""Write the part of the OpenAPI document that the Lab extension uses, as JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from jupyter_ollama.api.openapi import document

PATHS = re.compile(r"/api/(?!web|experimental|embed)|/usage$")


def main() -> None:
    """Keep the paths that match, and what they refer to."""
    whole = document()
    paths = {path: item for path, item in whole["paths"].items() if PATHS.match(path)}
    kept: dict[str, dict[str, Any]] = {}
    waiting: list[Any] = [paths]
    while waiting:
        for kind, name in re.findall(r'"#/components/(\w+)/([\w.]+)"', json.dumps(waiting.pop())):
            if name not in kept.setdefault(kind, {}):
                kept[kind][name] = whole["components"][kind][name]
                waiting.append(kept[kind][name])
    ordered = {kind: dict(sorted(entries.items())) for kind, entries in sorted(kept.items())}
    chosen = {"openapi": whole["openapi"], "info": whole["info"]}
    json.dump({**chosen, "paths": paths, "components": ordered}, sys.stdout)


if __name__ == "__main__":
    main()
