"""More maps of a finished run: `mrdeltanet explain RESULT_DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

from MRDeltaNetLib.cli.options import Device, DeviceChoice, Progress, ProgressChoice, Seed, Workers, guarded, listed, tell
from MRDeltaNetLib.config import EXPLAIN_METHODS

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
         methods: Annotated[str, typer.Option("--methods", metavar="NAME,NAME", help=f"offered (the default: those that passed the model's own tests, or, where none did, all that did not fail), all, or some of {', '.join(EXPLAIN_METHODS)}.")] = "offered",
         model: Annotated[Optional[str], typer.Option("--model", metavar="BUNDLE", help="The run's own model bundle. Default: the demo model, where it is the run's.")] = None,
         again: Annotated[bool, typer.Option("--again", help="Make maps anew that are there already.")] = False,
         device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Ask the network again about what it saw, and add the maps to the result. Goes on where it was stopped."""

    def ask() -> int:
        from MRDeltaNetLib.doorway import explain_and_tell
        from MRDeltaNetLib.io.explain_jobs import WORDS, explain_job
        wanted = methods.strip()
        return explain_and_tell(explain_job({"result": folder, "methods": wanted if wanted in WORDS else listed(methods), "model": model, "again": again,
                                             "device": device.value, "progress": progress.value}))

    raise typer.Exit(guarded(ask, progress.value))


def verify(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model: the folder of its bundle.")],
           table: Annotated[Path, typer.Argument(metavar="COHORT.csv", help="The table: one row a patient; with residual masks, simulated or drawn, for the tests that need them.")],
           out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything that is written.")],
           methods: Annotated[str, typer.Option("--methods", metavar="NAME,NAME", help="all, or some; the null map is always among them.")] = "all",
           shuffled: Annotated[Optional[Path], typer.Option("--shuffled", metavar="BUNDLE", help="A model of the same kind that was trained on shuffled labels. Without it that test is not done.")] = None,
           cases: Annotated[Optional[int], typer.Option("--cases", metavar="N", help="Only the first N cases. Default: all.")] = None,
           repeated_cases: Annotated[int, typer.Option("--repeated-cases", metavar="N", help="Cascade and stability, which make many maps of a case, on the first N of them.")] = 20,
           randomisations: Annotated[int, typer.Option("--randomisations", metavar="N", help="Networks with random weights a case.")] = 3,
           random_orders: Annotated[int, typer.Option("--random-orders", metavar="N", help="Random orders of deletion and insertion a case.")] = 5,
           pictures: Annotated[int, typer.Option("--pictures", metavar="N", min=0, help="Pictures of the first N cases with every map.")] = 0,
           into_card: Annotated[bool, typer.Option("--into-card", help="Write table and plot into the bundle's card, and into its metadata which maps pass.")] = False,
           cache: Annotated[Optional[Path], typer.Option("--cache", metavar="CACHE", help="Folder of prepared crops, shared with other commands. Default: cache, below the output folder.")] = None,
           workers: Workers = 1, seed: Seed = 0, device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Do the maps show what the model uses? Random weights, shuffled labels, deletion, pointing, stability, each beside a null map. Resumable."""

    def judge() -> int:
        from MRDeltaNetLib.cohort.verifying import Settings, verify_maps
        from MRDeltaNetLib.doorway import progress_for, settled, stoppable
        with progress_for(progress.value) as bar:
            done = verify_maps(bundle, table, out, methods=None if methods.strip() == "all" else listed(methods), shuffled=shuffled, cache=cache, workers=workers,
                               settings=Settings(cases, repeated_cases, randomisations, random_orders, seed), device=device.value, pictured=pictures, into_card=into_card,
                               progress=stoppable(bar))
        settled()
        tell(done.notices)
        typer.echo(done.text())
        return 0

    raise typer.Exit(guarded(judge, progress.value))
