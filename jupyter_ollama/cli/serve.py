"""`jupyter ollama serve`: the API on an address of its own, without a Jupyter server."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal

from ..api.listener import listen, parse_host
from ..config import OllamaServer
from .command import Command, CommandError


class ServeCommand(Command):
    """jupyter ollama serve"""

    name = "jupyter-ollama-serve"
    verb = "serve"
    description = (
        "Serve the Ollama API at OLLAMA_HOST, by default 127.0.0.1:11434, until Ctrl-C.\n"
        "There is no login: who reaches the address may use the models."
    )
    epilog = """\
settings, each a variable or --OllamaServer.name=value (also in jupyter_ollama_config.py):
  OLLAMA_MODELS             models_dir         where models are kept (~/.ollama/models)
  OLLAMA_KEEP_ALIVE         keep_alive         how long an idle model stays loaded (5m)
  OLLAMA_CONTEXT_LENGTH     context_length     context of a request that asks for none (4096)
  OLLAMA_NUM_PARALLEL       num_parallel       requests at once on a model
  OLLAMA_MAX_LOADED_MODELS  max_loaded_models  models in memory
  OLLAMA_MAX_QUEUE          max_queue          requests that may wait (512)
  OLLAMA_KV_CACHE_TYPE      kv_cache_type      f16, q8_0 or q4_0
  OLLAMA_FLASH_ATTENTION    flash_attention    1 or 0; default: where it is supported
  OLLAMA_LOAD_TIMEOUT       load_timeout       when loading has failed (5m)
  OLLAMA_ORIGINS            origins            pages that may call, besides local ones
  OLLAMA_TRUNCATE_PROMPTS   truncate_prompts   0 refuses prompts that are too long
  OLLAMA_DEBUG              debug              log more
--help-all describes them at length."""
    classes = [OllamaServer]

    def _log_format_default(self) -> str:
        return "[%(levelname)1.1s %(asctime)s] %(message)s"

    def run(self, arguments: argparse.Namespace) -> None:
        """Serve until SIGINT or SIGTERM."""
        for name in ("jupyter_ollama", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers = self.log.handlers
            logger.setLevel(self.log.level)
        try:
            asyncio.run(self.serve(os.environ.get("OLLAMA_HOST", "")))
        except OSError as error:
            raise CommandError(str(error)) from error

    async def serve(self, host: str) -> None:
        """Listen at ``host``, a form of OLLAMA_HOST, and at the end close and unload everything."""
        address, port = parse_host(host)
        server = OllamaServer(parent=self)
        if server.debug:
            logging.getLogger("jupyter_ollama").setLevel(logging.DEBUG)
        models = len(server.library.list())
        try:
            http_server = listen(server, host)
        except OSError as error:
            raise CommandError(refusal(f"{address}:{port}", error)) from error
        self.log.info("Models: %d, in %s", models, server.models_dir)
        self.log.info("Ollama API at http://%s:%d", address, port)
        server.preload()
        await stop_signal()
        self.log.info("Closing, and unloading all models")
        http_server.stop()
        await http_server.close_all_connections()
        await server.stop()


async def stop_signal() -> None:
    """Wait for SIGINT or SIGTERM; a second one ends the process as usual."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)


def refusal(address: str, error: OSError) -> str:
    """Say why an address cannot be listened at."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{address} is in use, perhaps by Ollama itself. OLLAMA_HOST chooses another:\n"
            "    OLLAMA_HOST=127.0.0.1:11435 jupyter ollama serve"
        )
    return f"cannot listen at {address}: {error.strerror or error}"
