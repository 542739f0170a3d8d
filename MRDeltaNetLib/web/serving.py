"""`mrdeltanet serve`: the page on this machine alone, behind a token that is in the printed address."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.errors import UsageError, require
from MRDeltaNetLib.io.case_folder import held
from MRDeltaNetLib.mrml.sitting import Door
from MRDeltaNetLib.web.guard import TOKEN, guard, inline_scripts, new_token
from MRDeltaNetLib.web.page import Page
from MRDeltaNetLib.web.routes import add_routes
from MRDeltaNetLib.web.views import FEATURE, INSTALL

HOST = "127.0.0.1"
NEEDED = ("torch", "monai", "safetensors")
"""What predicting needs; the page works without, and says so."""


def serve(port: int, tell: Callable[[str], None], *, case: Path | None = None, model: Path | None = None, base: Path | None = None) -> None:
    """Serve one page until the process is asked to end (Ctrl-C, SIGTERM, a closed terminal); then nothing runs and no file is left.

    port   0: a free one
    tell   gets the address when the page is ready
    case   folder that keeps the case between two starts; None: nothing is kept
    model  bundle; None: the demo model
    base   folder for the sitting's files
    raises  MissingPackage MRD-E801 without trame-slicer; UsageError MRD-E924 for a port that is taken; what io.case_folder.held, the case folder and
            the bundle are refused with
    """
    trame = require("trame.app", FEATURE, INSTALL)
    _refuse_taken(port)
    os.environ["WSLINK_READY_MSG"] = ""                  # a launcher would wait for it; people would wonder
    with contextlib.ExitStack() as stack:
        if case is not None:
            stack.enter_context(held(case))
        server, token, module = trame.get_server("mrdeltanet", client_type="vue3"), new_token(), require("trame_client.module.vue3", FEATURE, INSTALL)
        page = Page(server, Door(model_folder=lambda: model, packages=_packages), base=base, case=case)
        stack.callback(page.close)

        def bound(wslink: Any) -> None:
            page_itself = Path(module.www, "index.html").read_text(encoding="utf-8")
            wslink.app.middlewares.append(guard(token, inline_scripts(page_itself)))
            add_routes(wslink.app, page)

        server.controller.on_server_bind.add(bound)
        server.controller.on_server_ready.add(lambda **_state: tell(f"http://{HOST}:{server.port}/?{TOKEN}={token}"))
        _end_with_the_terminal()
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            server.start(port=port, host=HOST, open_browser=False, show_connection_info=False, disable_logging=True, timeout=0,
                         backend="aiohttp")              # the guard is aiohttp's: no variable of the environment may choose another


def _packages() -> dict[str, Any]:
    """missing_packages of workflow.Situation; looks only, loads nothing."""
    return {"missing_packages": tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)}


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)      # a port that was just given back is free
        try:
            probe.bind((HOST, port))
        except OSError as problem:
            raise UsageError("The page cannot be served on this port", code="MRD-E924", found=problem.strerror or type(problem).__name__,
                             fix="choose another --port, or none for a free one") from problem


def _end_with_the_terminal() -> None:
    """A closed terminal ends the page as Ctrl-C does, with everything in order."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: os.kill(os.getpid(), signal.SIGTERM))
