"""More maps of a finished run: `mrdeltanet explain RESULT_DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from typer.core import TyperGroup

from MRDeltaNetLib.cli.options import Device, DeviceChoice, Progress, ProgressChoice, guarded, listed
from MRDeltaNetLib.config import EXPLAIN_METHODS

if TYPE_CHECKING:
    from MRDeltaNetLib.explainer import Explained

DEFAULT = "maps"
"""The command that is meant when no command's name comes first."""


class DefaultCommand(TyperGroup):
    """`explain RESULT_DIR` is short for `explain maps RESULT_DIR`."""

    def parse_args(self, ctx, args):
        """Put the default command's name first where none is given."""
        if args and args[0] not in self.commands and args[0] not in ("--help",):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def maps(folder: Annotated[str, typer.Argument(metavar="RESULT_DIR", help="Output folder of a run with the steps predict and explain.")],
         methods: Annotated[str, typer.Option("--methods", metavar="NAME,NAME", help=f"all, or some of {', '.join(EXPLAIN_METHODS)}.")] = "all",
         model: Annotated[Optional[str], typer.Option("--model", metavar="BUNDLE", help="The run's own model bundle. Default: the demo model, where it is the run's.")] = None,
         again: Annotated[bool, typer.Option("--again", help="Make maps anew that are there already.")] = False,
         device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Ask the network again about what it saw, and add the maps to the result. Goes on where it was stopped."""

    def ask() -> int:
        from MRDeltaNetLib.doorway import progress_for, settled, stoppable
        from MRDeltaNetLib.explainer import explain_result
        with progress_for(progress.value) as bar:
            done = explain_result(Path(folder), "all" if methods.strip() == "all" else listed(methods), model=model, device=device.value, again=again,
                                  progress=stoppable(bar))
        settled()
        typer.echo(_as_json(done) if progress.value == "json" else _in_words(done, Path(folder)))
        return 0

    raise typer.Exit(guarded(ask, progress.value))


def _in_words(done: "Explained", folder: Path) -> str:
    lines = [f"Written: {folder / name}" for name in done.files]
    lines += [f"There already: {key}" for key in done.kept] + [f"Left out: {key} ({why})" for key, why in done.left_out.items()]
    for name, numbers in done.numbers.items():
        lines.append(f"{name}: " + ", ".join(f"{key} {value:+.2f}" for key, value in numbers.items()))
    return "\n".join(lines)


def _as_json(done: "Explained") -> str:
    import json
    return json.dumps({"finished": {"files": list(done.files), "kept": list(done.kept), "left_out": dict(done.left_out), "numbers": {k: dict(v) for k, v in done.numbers.items()}}})
