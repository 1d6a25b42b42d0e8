"""The environment of child processes: the variables that they need, without secrets of the server.

A runner reads untrusted files. It cannot leak a secret that it does not have, so only listed
variables are passed on, and none whose name looks like a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

NAMES = frozenset(
    [
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP",
        "TMP", "TERM", "HOSTNAME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD",
        "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR",
        "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES",
        "USERPROFILE", "NUMBER_OF_PROCESSORS", "OLLAMA_LLAMA_CPP_COMPAT", "OLLAMA_DEBUG",
    ]
)  # fmt: skip
"""Variables that every child gets, in any case of their letters."""

PREFIXES = (
    "LC_", "PYTHON", "CONDA_", "XDG_", "COV_", "COVERAGE_", "MALLOC_", "GLIBC_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_",
    "CUDA_", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCR_", "ROCM_", "GPU_", "AMD_", "VK_", "MESA_",
    "SYCL_", "ONEAPI_", "ZE_", "ZES_", "UR_", "OCL_", "MTL_", "METAL_", "ASCEND_", "MUSA_",
    "GGML_", "LLAMA_",
)  # fmt: skip
"""Prefixes of further variables: of the interpreter, threads and devices."""

SECRET = re.compile(
    r"(?:^|_)(?:API)?(?:TOKENS?|SECRETS?|KEYS?|PASS|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH"
    r"|COOKIES?|PAT|PWD)(?:_|$)|APIKEY"
)
"""Upper-case names that are never passed on, even if they have a listed prefix."""


VULKAN_DEVICES = "GGML_VK_VISIBLE_DEVICES"
"""The numbers of the devices that ggml's Vulkan backend may use; an empty text stands for none."""


def child_environment(others: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of a child process; ``others`` names further ones to pass on."""
    return filtered(os.environ, others)


def filtered(variables: Mapping[str, str], others: Iterable[str] = ()) -> dict[str, str]:
    """Return those variables that a child may have."""
    wanted = {name.upper() for name in others}
    kept = {name: value for name, value in variables.items() if _passes(name.upper(), wanted)}
    return kept | {VULKAN_DEVICES: ""} if hides_vulkan(variables) else kept


def hides_vulkan(variables: Mapping[str, str]) -> bool:
    """Return whether OLLAMA_VULKAN turns Vulkan off; ggml itself does not read it."""
    return is_off(variables.get("OLLAMA_VULKAN", ""))


def is_off(text: str) -> bool:
    """Return whether the text of a variable turns off what it is named for, as in Ollama."""
    return text.strip().lower() in ("0", "f", "false")


def _passes(name: str, wanted: set[str]) -> bool:
    if name in wanted:
        return True
    return (name in NAMES or name.startswith(PREFIXES)) and not SECRET.search(name)
