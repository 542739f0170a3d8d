"""Two readers' outlines over a cohort: mrdeltanet segment agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from MRDeltaNetLib.cli.options import Progress, ProgressChoice, Seed, guarded, tell


def agree(table: Annotated[Path, typer.Argument(metavar="READERS.csv", help="One row a patient and outline: id, role, scan, mask_a, mask_b.")],
          out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for pairs.csv, agreement.json, agreement.md and the figure.")],
          seed: Seed = 0, progress: Progress = ProgressChoice("bar")) -> None:
    """Compare two readers' outlines: Dice, HD95, volumes, ICC(2,1) and limits of agreement, with intervals by patient."""

    def work() -> int:
        from MRDeltaNetLib.cohort.agreement import PAGE, compare_readers, page
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.agreement_table import problems_of_pairs
        pairs, errors = problems_of_pairs(table)
        for error in errors:
            typer.echo(error.text(), err=True)
        if errors:
            return max(error.exit_status for error in errors)
        tell(pairs.notices)
        with progress_for(progress.value) as bar:
            numbers = compare_readers(pairs, out, seed=seed, progress=stoppable(bar))
        typer.echo(page(numbers).partition("\n## ")[0].partition("![")[0].strip())
        typer.echo(f"\nWritten: {out / PAGE}")
        return 0

    raise typer.Exit(guarded(work, progress.value))
