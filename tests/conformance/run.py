"""Run clients of Ollama, OpenAI and Anthropic against a server of ours, and print a table.

The clients live in environments of their own in the user's cache, so that their dependencies and
the server's cannot conflict. Node.js 20 or newer is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "examples"), str(ROOT / "tests")]

from conformance_server import conformance_server  # noqa: E402
from further_environments import FURTHER, Further  # noqa: E402
from install_environment import create_venv  # noqa: E402

from jupyter_ollama.backends.build_cache import CACHE, lock  # noqa: E402
from jupyter_ollama.backends.command_log import Failure, last_lines, run_logged, say  # noqa: E402

HOME = CACHE / "conformance"
ALIASES = {
    "llama3.1": "caller",
    "deepseek-r1:1.5b": "thinker",
    "gpt-oss:20b": "thinker",
    "claude-4": "thinker",
}
"""Models that suites request by name, and the models in their place."""
LANGCHAIN = "langchain-ollama"
CLIENTS = {
    "test_conformance_ollama": "ollama (Python)",
    "test_conformance_openai": "openai (Python)",
    "test_conformance_anthropic": "anthropic (Python)",
    "suite_ollama_js": "ollama (npm)",
    "suite_openai_js": "openai (npm)",
    "suite_anthropic_js": "@anthropic-ai/sdk (npm)",
    "suite_llama_index": "llama-index",
    "suite_pydantic_ai": "pydantic-ai",
    "suite_llm": "llm, llm-ollama",
    "suite_llm_comply": "llm-comply",
    "suite_canitoolcall": "canitoolcall",
    "suite_jupyter_ai": "jupyter-ai",
    "suite_notebook_intelligence": "notebook-intelligence",
    "suite_jupyter_server_mcp": "jupyter-server-mcp",
}
"""The subject of each file of tests."""

Counts = dict[str, dict[str, list[str]]]
"""By client: the names of tests that passed, failed and were skipped."""


def main() -> int:
    """Install, serve, test and report."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        sys.exit("Error: node and npm are needed (Node.js 20 or newer)")
    try:
        with lock(HOME / "install.lock"):
            python, suite = install()
            further = {one: one.install(HOME, logged) for one in FURTHER}
    except Failure as failure:
        sys.exit(f"Error: {failure}")
    left_out = tomllib.loads((FOLDER / "left_out.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, conformance_server(Path(folder)) as served:
        for alias, model in ALIASES.items():
            copy_model(served.host, model, alias)
        counts = run_suites(python, suite, served.host, Path(folder), left_out)
        run_further(further, served.host, Path(folder), counts)
    print_table(counts, left_out)
    return 1 if any(names["failed"] for names in counts.values()) or not counts else 0


def install() -> tuple[Path, Path]:
    """Return the interpreter of the clients and the folder with the tests of langchain-ollama."""
    requirements = FOLDER / "requirements.txt"
    wanted = requirements.read_text() + (FOLDER / "package.json").read_text() + sys.version
    marker = HOME / "installed"
    python = HOME / "venv" / "bin" / "python"
    if not marker.exists() or marker.read_text() != wanted:
        marker.unlink(missing_ok=True)
        python = create_venv(HOME / "venv")
        say("Installing the clients")
        pip = [str(python), "-m", "pip"]
        logged([*pip, "install", "--progress-bar", "off", "-r", str(requirements)])
        (HOME / "npm").mkdir(exist_ok=True)
        shutil.copy(FOLDER / "package.json", HOME / "npm")
        npm = ["npm", "install", "--prefix", str(HOME / "npm"), "--no-package-lock"]
        logged([*npm, "--no-audit", "--no-fund", "--ignore-scripts"])
        pin = next(line for line in wanted.splitlines() if line.startswith(f"{LANGCHAIN}=="))
        fetch = ["download", "--no-deps", "--no-binary", LANGCHAIN, "--dest", str(HOME / "sdist")]
        shutil.rmtree(HOME / "sdist", ignore_errors=True)
        logged([*pip, *fetch, pin])
        (archive,) = (HOME / "sdist").glob("*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(HOME / "sdist", filter="data")
        marker.write_text(wanted)
    (suite,) = (path for path in (HOME / "sdist").iterdir() if path.is_dir())
    return python, suite


def logged(command: list[str]) -> None:
    """Run a command; raise Failure with the end of its output if it fails."""
    log = HOME / "install.log"
    if run_logged(command, log, lambda line: None) != 0:
        raise Failure(f"{' '.join(command[:4])} failed.\n{last_lines(log)}\nFull log: {log}")


def copy_model(host: str, source: str, destination: str) -> None:
    """Give a model one more name."""
    body = json.dumps({"source": source, "destination": destination}).encode()
    urllib.request.urlopen(f"http://{host}/api/copy", body).close()


def run_suites(
    python: Path, suite: Path, host: str, folder: Path, left_out: dict[str, dict[str, str]]
) -> Counts:
    """Run our suites, then the tests that langchain-ollama ships, each by its own settings."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OLLAMA_")}
    environment = {
        **kept,
        "CONFORMANCE_HOST": host,
        "CONFORMANCE_NPM": str(HOME / "npm"),
        "OLLAMA_HOST": f"http://{host}",
        "HOME": str(folder),
    }
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--timeout=100", "--runxfail", "--allow-hosts=127.0.0.1,::1", "--allow-unix-socket"]
    command += ["--continue-on-collection-errors", "-o", "junit_family=xunit1"]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    ours = ["-o", "python_files=test_conformance_*.py suite_*.py", f"--confcutdir={FOLDER}"]
    ours += [f"--ignore=tests/conformance/{name}.py" for one in FURTHER for name in one.suites]
    counts: Counts = defaultdict(lambda: defaultdict(list))
    for place, tests, more in (
        (ROOT, "tests/conformance", ours),
        (suite, "tests/integration_tests", []),
    ):
        report = folder / f"{place.name}.xml"
        dropped = [
            f"--deselect={tests}/{name}"
            for client, names in left_out.items()
            for name in names
            if (client == LANGCHAIN) == (place == suite)
        ]
        subprocess.run(
            [*command, *more, *dropped, f"--junitxml={report}", tests, *sys.argv[1:]],
            cwd=place,
            env=environment,
            check=False,
        )
        read_report(report, counts, LANGCHAIN if place == suite else None)
    return counts


def run_further(further: dict[Further, Path], host: str, folder: Path, counts: Counts) -> None:
    """Run the suites of the other environments, each with its own interpreter."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OLLAMA_")}
    environment = {
        **kept,
        "CONFORMANCE_HOST": host,
        "CONFORMANCE_LAUNCH": str(Path(sys.executable).with_name("jupyter-ollama")),
        "HOME": str(folder),
    }
    for one, python in further.items():
        report = folder / f"{one.name}.xml"
        subprocess.run(
            [
                *(str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=280"),
                *("-c", os.devnull, f"--rootdir={FOLDER}", f"--confcutdir={FOLDER}"),
                *("-o", "junit_family=xunit1", f"--junitxml={report}", *sys.argv[1:]),
                *(str(FOLDER / f"{name}.py") for name in one.suites),
            ],
            cwd=folder,
            env=environment,
            check=False,
        )
        read_report(report, counts, None)


def read_report(report: Path, counts: Counts, client_of_all: str | None) -> None:
    """Add the results of a JUnit file to ``counts``; without a client, each file is a client's."""
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("file") or case.get("name", "").replace(".", "/") + ".py"
        client = client_of_all or CLIENTS[Path(path).stem]
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        outcome = "failed" if failed else "skipped" if "skipped" in kinds else "passed"
        counts[client][outcome].append(case.get("name", ""))


def print_table(counts: Counts, left_out: dict[str, dict[str, str]]) -> None:
    """Print a line for each client, then what was left out and why."""
    say(f"\n{'client':26}{'passed':>8}{'failed':>8}{'left out':>10}")
    for client in (*CLIENTS.values(), LANGCHAIN):
        outcomes = counts.get(client, {})
        dropped = len(left_out.get(client, {})) + len(outcomes.get("skipped", []))
        figures = [len(outcomes.get("passed", [])), len(outcomes.get("failed", [])), dropped]
        say(f"{client:26}{figures[0]:8}{figures[1]:8}{figures[2]:10}")
    for client in (*CLIENTS.values(), LANGCHAIN):
        for name, reason in left_out.get(client, {}).items():
            say(f"left out, {client}: {name.partition('::')[2]}: {reason}")
        for name in counts.get(client, {}).get("skipped", []):
            say(f"left out, {client}: {name}: the client itself skips it")


if __name__ == "__main__":
    sys.exit(main())
