"""Commands on a table of patients: cohort check, cohort prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import Progress, ProgressChoice, Workers, guarded, tell
from MRDeltaNetLib.errors import UsageError

Table = Annotated[Path, typer.Argument(metavar="COHORT.csv", help="The table: one row a patient (docs/reference/cohort-table.md).")]


def check(table: Table,
          config: Annotated[Optional[Path], typer.Option("--config", metavar="CONFIG.toml", help="Judge events and folds as this study would: its [validation].")] = None,
          prediction: Annotated[bool, typer.Option("--for-prediction", help="The table is for predict only: outcomes may be missing.")] = False,
          images: Annotated[bool, typer.Option("--images", help="Read every scan and mask too, and say what a run would say of them before its alignment; seconds a patient.")] = False,
          write_dictionary: Annotated[bool, typer.Option("--write-dictionary", help="Write a first draft of the data dictionary beside the table, to be edited.")] = False) -> None:
    """Say what a table holds, what is refused, and what looks wrong; every refusal names line and column. Reads no image unless asked to."""

    def examine() -> int:
        from MRDeltaNetLib.cohort import checking
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.study import read_study
        study = None if config is None else read_study(config)
        wanted = {} if study is None else {"validation": study.validation, "seed": study.training.seed}
        if write_dictionary:
            typer.echo(f"Data dictionary to edit: {checking.write_dictionary(table)}")
        with progress_for("bar" if images else "none") as bar:
            report = checking.check_cohort(table, **wanted, require_outcome=not prediction, images=images, progress=stoppable(bar))
        for line in report.lines:
            typer.echo(line)
        tell(report.notices)
        for error in report.errors:
            typer.echo(error.text(), err=True)
        if not report.errors:
            typer.echo("Nothing is refused." if not report.notices else "Nothing is refused; mind the warnings.")
        return max((error.exit_status for error in report.errors), default=0)

    raise typer.Exit(guarded(examine))


def prepare(table: Table,
            out: Annotated[Path, typer.Option("--out", metavar="CACHE", help="Folder of prepared crops; what it holds already is not done again.")],
            config: Annotated[Optional[Path], typer.Option("--config", metavar="CONFIG.toml", help="Prepare as this study wants it: its [preprocessing] and [registration].")] = None,
            model: Annotated[Optional[Path], typer.Option("--model", metavar="BUNDLE", help="Prepare as this model bundle wants it.")] = None,
            workers: Workers = 1,
            shard: Annotated[Optional[str], typer.Option("--shard", metavar="I/N", help="Only every N-th case, from the I-th: one task of a job array.")] = None,
            dask: Annotated[Optional[str], typer.Option("--dask", metavar="ADDRESS", help="Send cases to the workers of a Dask scheduler; 'local' starts one here.")] = None,
            timeout_s: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="A case that takes longer is ended and fails.")] = 1800.0,
            progress: Progress = ProgressChoice("bar")) -> None:
    """Gate, align and prepare every case; resumable. One bad case never stops the others (exit status 7, failures.csv)."""

    def work() -> int:
        from MRDeltaNetLib.cohort.preparing import prepare_cohort
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.cohort_table import read_cohort
        preprocessing, registration = _wanted(config, model)
        cohort = read_cohort(table, require_outcome=False, require_files=False)       # a missing file is that case's failure, not the batch's
        tell(cohort.notices)
        with progress_for(progress.value) as bar:
            summary = prepare_cohort(cohort, out, preprocessing, registration, workers=workers, shard=_shard(shard), dask=dask,
                                     timeout_s=timeout_s, progress=stoppable(bar))
        typer.echo(summary.text())
        return 0

    raise typer.Exit(guarded(work, progress.value))


def _wanted(config: Path | None, model: Path | None):
    """Preprocessing and registration: of a study, of a bundle, or the defaults."""
    from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig
    if config is not None and model is not None:
        raise UsageError("A study and a model bundle were given together, and they may want different preparation", code="MRD-E464",
                         found="--config and --model", fix="give one of them")
    if config is not None:
        from MRDeltaNetLib.io.study import read_study
        study = read_study(config)
        return study.preprocessing, study.registration
    if model is not None:
        from MRDeltaNetLib.cohort.predicting import registration_of
        from MRDeltaNetLib.io.bundle import read_bundle
        bundle = read_bundle(model)
        return bundle.preprocessing, registration_of(bundle)
    return PreprocessingConfig(), RegistrationConfig()


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError("--shard is not of the form I/N", code="MRD-E464", found=f"{len(text)} characters", fix="write --shard 2/10 for the second of ten tasks")
    return int(parts[0]), int(parts[1])
