"""`jupyter ollama serve`: the API on its own address, without a Jupyter server."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import signal

from ..api.connections import raise_descriptor_limit
from ..api.listener import listen, parse_host
from ..api.openai.batch_rows import resume
from ..config import OllamaServer
from ..flow_control.free_memory import bound_heaps
from ..page import standalone_page_handlers
from .command import Command, CommandError


def variables() -> str:
    """Return a table of the environment variables, with the settings that they are defaults of."""
    traits = OllamaServer.class_traits(brief=bool).values()
    return "\n".join(
        f"  {trait.metadata['variable']:<25} {trait.name:<18} {trait.metadata['brief']}"
        for trait in sorted(traits, key=lambda trait: str(trait.name))
    )


class ServeCommand(Command):
    """jupyter ollama serve"""

    name = "jupyter-ollama-serve"
    verb = "serve"
    description = (
        "Serve the Ollama API at OLLAMA_HOST, by default 127.0.0.1:11434, until Ctrl-C.\n"
        "There is no login: any client that reaches the address may use the models, unless there\n"
        "is an access token. Requests from other hosts must name an IP address, a host of the\n"
        "network or an allowed host."
    )
    epilog = f"""\
settings, each a variable or --OllamaServer.name=value (also in jupyter_ollama_config.py):
{variables()}
--help-all describes them at length."""
    classes = [OllamaServer]

    def _log_format_default(self) -> str:
        return "[%(levelname)1.1s %(asctime)s] %(message)s"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the way back to Ollama's own rule."""
        parser.add_argument(
            "--open",
            action="store_true",
            help="answer requests for any host name, as Ollama does (allowed_hosts=*)",
        )

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
        raise_descriptor_limit()
        bound_heaps()
        address, port = parse_host(host)
        server = OllamaServer(parent=self)
        if self.arguments.open:
            server.allowed_hosts = ["*"]
        if server.debug:
            logging.getLogger("jupyter_ollama").setLevel(logging.DEBUG)
        models = len(server.library.list())
        try:
            http_server = listen(server, host, standalone_page_handlers(server))
        except OSError as error:
            raise CommandError(refusal(f"{address}:{port}", error)) from error
        self.log.info("Models: %d, in %s", models, server.models_dir)
        self.log.info("Ollama API at http://%s:%d", address, port)
        server.open_usage()
        server.open_audit()
        server.preload()
        resume(server)
        # Modules are never garbage; examining them would delay all streams.
        gc.freeze()
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
    """Return the reason why the server cannot listen at an address."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{address} is in use, perhaps by Ollama itself. OLLAMA_HOST chooses another:\n"
            "    OLLAMA_HOST=127.0.0.1:11435 jupyter ollama serve"
        )
    return f"cannot listen at {address}: {error.strerror or error}"
