"""Install packages into a virtual environment: by uv where it can be had, else by pip.

uv is several times as fast. It does not read pip's settings, so they are passed on; with settings
that it does not know, or with JUPYTER_OLLAMA_INSTALLER=pip, pip installs.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jupyter_ollama.backends.build_cache import CACHE
from jupyter_ollama.backends.command_log import (
    Failure,
    last_lines,
    run_logged,
    run_quietly,
    say,
    show_in_place,
)

UV = "uv==0.13.9"
LOG = CACHE / "install.log"
PASSED_ON = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "cert": "--cert",
}
"""pip's settings that name where packages come from, and uv's options."""

MEANINGLESS = {
    *("break-system-packages", "cache-dir", "default-timeout", "disable-pip-version-check"),
    *(
        "no-cache-dir",
        "no-color",
        "no-input",
        "no-python-version-warning",
        "no-warn-script-location",
    ),
    *("prefer-binary", "progress-bar", "quiet", "require-virtualenv", "retries"),
    *("root-user-action", "timeout", "user", "verbose", "no-warn-conflicts"),
}
"""pip's settings that change nothing about what is installed into a virtual environment."""

UNITS = {"B": 1, "k": 1e3, "K": 1024, "M": 1e6, "Ki": 1024, "Mi": 2**20, "Gi": 2**30, "G": 1e9}
DOWNLOAD = re.compile(r"\s*Downloading (\S+) \(([\d.]+) ?([kKMG]?i?)B\)")


def find_uv(python: Path) -> Path | None:
    """Return uv: of the search path, of the cache, or of the package index; None without one."""
    if os.environ.get("JUPYTER_OLLAMA_INSTALLER") == "pip":
        return None
    if found := shutil.which("uv"):
        return Path(found)
    folder = CACHE / "tools" / UV
    if not (folder / "bin" / "uv").exists():
        new = folder.with_name(f"{UV}.{os.getpid()}")
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        fetched = run_quietly([*command, "--only-binary", "uv", "--target", str(new), UV])
        if fetched and not folder.exists():
            try:
                new.rename(folder)
            except OSError:
                pass  # another run was faster
        shutil.rmtree(new, ignore_errors=True)
    found = folder / "bin" / "uv"
    return found if found.exists() and run_quietly([str(found), "--version"]) else None


class Installer:
    """Installs into the environment of ``python``."""

    def __init__(self, python: Path) -> None:
        self.python = python
        uv = find_uv(python)
        options = None if uv is None else _options_of_uv(python)
        if uv is None or options is None:
            self._take_pip()
        else:
            self.command = [str(uv), "--no-progress", "pip", "install", "--python", str(python)]
            self.command += ["--no-config", *options]
            self.name = "uv"

    def _take_pip(self) -> None:
        self.command = [str(self.python), "-m", "pip", "install", "--progress-bar", "off"]
        self.name = "pip"

    def locked(self, names: Sequence[str]) -> None:
        """Install what requirements/ locks for some environments, and nothing else."""
        files = [Path(__file__).parents[1] / "requirements" / f"{name}.txt" for name in names]
        listed = [argument for file in files for argument in ("-r", str(file))]
        lines = {line for file in files for line in file.read_text("utf-8").splitlines()}
        self.install(
            "--no-deps", "--require-hashes", *listed, about=sum("==" in line for line in lines)
        )

    def install(self, *arguments: str, about: int = 0) -> None:
        """Run the installer with a log and progress; raise Failure with the end of the log."""
        # Hard links across file systems fail, which uv reports at length.
        environment = {"UV_LINK_MODE": "clone" if sys.platform == "darwin" else "hardlink"}
        progress = InstallProgress(about)
        command = [*self.command, *arguments]
        if run_logged(command, LOG, progress, {**environment, **os.environ}) != 0:
            if self.name == "uv":
                log = LOG.replace(LOG.with_suffix(".uv.log"))
                say(f"uv failed, see {log}; pip installs")
                self._take_pip()
                self.install(*arguments, about=about)
                return
            text = f"{self.name} could not install everything.\n{last_lines(LOG)}\nFull log: {LOG}"
            raise Failure(text)
        progress.end()


def _options_of_uv(python: Path) -> list[str] | None:
    """Return pip's settings as options of uv, None if one of them has no counterpart."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    options: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in ("global", "install", ":env:") and key not in MEANINGLESS:
            options[key] = str(ast.literal_eval(value))
    if options.pop("no-index", "").lower() in ("1", "true", "yes", "on"):
        options["no-index"] = ""
    result = []
    for key, value in options.items():
        if key == "no-index":
            result.append("--no-index")
        elif key not in PASSED_ON:
            say(f"pip installs, since uv does not know its setting {key}")
            return None
        else:
            for one in value.split():
                if key != "find-links" or "://" in one or Path(one).exists():
                    result += [PASSED_ON[key], one]
    if "extra-index-url" in options:
        result += ["--index-strategy", "unsafe-best-match"]  # as pip chooses among indexes
    return result


class InstallProgress:
    """Counts packages and bytes: one line that changes, or in a pipe a line at the end."""

    def __init__(self, about: int) -> None:
        self.about = about
        self.packages: set[str] = set()
        self.bytes = 0.0

    def __call__(self, line: str) -> None:
        """Take one line of uv's or pip's output."""
        if download := DOWNLOAD.match(line):
            self.bytes += float(download[2]) * UNITS.get(download[3] or "B", 1)
        verb, _, rest = line.strip().partition(" ")
        if verb in ("Collecting", "+"):
            self.packages.add(re.split("[ =]", rest.strip())[0])
        elif not download:
            return
        if sys.stdout.isatty():
            count = f"{len(self.packages)} of up to {self.about} packages"
            show_in_place(f"  {count}, {self.bytes / 1e6:.0f} MB downloaded: {rest}")

    def end(self) -> None:
        """State the sums."""
        if self.packages:
            say(f"  {len(self.packages)} packages installed, {self.bytes / 1e6:.0f} MB downloaded")
