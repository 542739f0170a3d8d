"""The page in a browser: mrdeltanet serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import guarded


def serve(port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port on this machine; 0: a free one.")] = 0,
          case: Annotated[Optional[Path], typer.Option("--case", metavar="DIR", help="Folder that keeps scans, outlines and results, so that the page can be stopped and started again. Without it they go when the page ends.")] = None,
          model: Annotated[Optional[Path], typer.Option("--model", metavar="DIR", help="Model bundle. Default: the demo model, whose numbers mean nothing on a patient.")] = None) -> None:
    """The six steps in a browser on this machine: open the address that is printed. One user a process; stop with Ctrl-C."""

    def work() -> int:
        from MRDeltaNetLib.web.serving import serve as serve_page
        serve_page(port, lambda address: typer.echo(f"Open this address in a browser on this machine (stop with Ctrl-C):\n{address}"), case=case, model=model)
        return 0

    raise typer.Exit(guarded(work))
