"""A process that pulls, to be killed: python interrupted_pull.py STORE NAME"""

from __future__ import annotations

import sys
from pathlib import Path

from pulling import QUICK, Puller

from jupyter_ollama.library.store import Store

POLICY = QUICK._replace(parts=4, min_part=200_000, max_part=400_000, stall=10)

if __name__ == "__main__":
    store = Store(Path(sys.argv[1]))
    store.prepare()
    print("ready", flush=True)
    Puller(store, policy=POLICY).pull(sys.argv[2])
