"""The study in one command: mrdeltanet evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import Progress, ProgressChoice, guarded
from MRDeltaNetLib.errors import PartialFailure


def evaluate(predictions: Annotated[list[Path], typer.Argument(metavar="PREDICTIONS.csv ...", help="A row a case: id, outcome, p_pcr, centre, set, other scores. Several tables, as oof.csv and predictions.csv of a training, count as one.")],
             out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for report.html, figures, tables and evaluation.json.")],
             cohort: Annotated[Optional[Path], typer.Option("--cohort", metavar="COHORT.csv", help="Clinical and follow-up columns by id.")] = None,
             config: Annotated[Optional[Path], typer.Option("--config", metavar="EVAL.toml", help="Columns, positive class, endpoints, groups, covariates (docs/reference/evaluation-config.md).")] = None,
             progress: Progress = ProgressChoice("bar")) -> None:
    """Discrimination, calibration, usefulness, subgroups, regression, Table 1 and survival of a study, by set, in one report."""

    def work() -> int:
        from MRDeltaNetLib.cohort.evaluating import evaluate as evaluate_tables
        from MRDeltaNetLib.cohort.evaluating import failures
        from MRDeltaNetLib.config import EvaluationConfig
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.evaluation_config import read_evaluation_config
        from MRDeltaNetLib.io.evaluation_table import read_table, stacked
        from MRDeltaNetLib.io.evaluations import check_folder, staged, write_evaluation
        from MRDeltaNetLib.progress import part
        from MRDeltaNetLib.report.study import write_study
        settings = read_evaluation_config(config) if config else EvaluationConfig()
        check_folder(out)
        with progress_for(progress.value) as bar:
            stop = stoppable(bar)
            stop(0.0, "Reading the tables")
            tables = [read_table(path, "the table of predictions") for path in predictions]
            clinical = read_table(cohort, "the cohort table", with_dictionary=True) if cohort else None
            digests = {f"predictions {number}" if number > 1 else "predictions": table.sha256 for number, table in enumerate(tables, start=1)}
            digests |= {"cohort": clinical.sha256} if clinical else {}
            notices = tuple(notice for table in (*tables, *([clinical] if clinical else ())) for notice in table.notices)
            found = evaluate_tables(stacked(tables), clinical.frame if clinical else None, settings, dictionary=clinical.dictionary if clinical else None,
                                    digests=digests, notices=notices, progress=part(stop, 0.05, 0.8))
            stop(0.8, "Drawing figures")
            with staged(out) as folder:
                write_evaluation(found, folder, write_study(found, folder))
        _tell(found, out)
        failed = failures(found)
        if failed:
            raise PartialFailure("Some sections of the evaluation failed; all others are done", code="MRD-E499",
                                 found=", ".join(sorted({f"{entry['section']} ({entry['code']})" for entry in failed})),
                                 fix="see the omissions in report.html; please report a software error together with what `mrdeltanet info` prints")
        return 0

    raise typer.Exit(guarded(work, progress.value))


def _tell(found, folder: Path) -> None:
    """A few lines: warnings, the main set's AUC, what is left out, where things are."""
    from MRDeltaNetLib.io.evaluations import EVALUATION, PAGE
    for notice in found.facts["notices"]:
        typer.echo(f"Warning {notice['code']}: {notice['text']}." + (f"\nWhat to do: {notice['fix']}." if notice["fix"] else ""))
    counts = found.facts["sets"][found.main_set]
    typer.echo(f"{found.main_set}: {counts['n']} case{'' if counts['n'] == 1 else 's'}, {counts['events']} with pCR, {counts['non_events']} without" +
               (f", {counts['unknown']} not known" if counts["unknown"] else ""))
    for name, values in found.sets[found.main_set]["discrimination"].values.items():
        lo, hi = values["auc_ci"]
        typer.echo(f"{name}: AUC {values['auc']:.3f} ({lo:.3f} to {hi:.3f})")
    omitted = sum(len(section.omissions) for parts in found.sets.values() for section in parts.values())
    typer.echo((f"{omitted} parts are left out; the report says why\n" if omitted else "") + f"Report:  {folder / PAGE}\nNumbers: {folder / EVALUATION}")
