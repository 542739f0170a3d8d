"""Commands of a study: train, pretrain, ablate, controls, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import Device, DeviceChoice, Progress, ProgressChoice, Seed, Workers, guarded, tell

Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The study: table, folders, model, training (docs/reference/study-config.md).")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model: the folder of its bundle.")]
Model = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model: the folder of its bundle, or the model.json of a tabular model.")]
Table = Annotated[Path, typer.Argument(metavar="COHORT.csv", help="The table: one row a patient (docs/reference/cohort-table.md).")]
Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything that is written.")]
Cache = Annotated[Optional[Path], typer.Option("--cache", metavar="CACHE", help="Folder of prepared crops, shared with other commands. Default: cache, below the output folder.")]


def train(config: Config, progress: Progress = ProgressChoice("bar")) -> None:
    """Train a model on your own cohort with out-of-fold scores, recalibration and a locked threshold; writes a bundle. Resumable."""

    def work() -> int:
        from MRDeltaNetLib.cohort.study import train as train_study
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.study import read_study
        with progress_for(progress.value) as bar:
            trained = train_study(read_study(config), progress=stoppable(bar))
        tell(trained.notices)
        typer.echo(f"{trained.text()}\nModel: {trained.bundle}")
        return 0

    raise typer.Exit(guarded(work, progress.value))


def pretrain(config: Config, progress: Progress = ProgressChoice("bar")) -> None:
    """Let the network learn the order of visits and hidden tumour signal first, without outcomes; name the weights as 'start' in CONFIG.toml."""

    def work() -> int:
        from MRDeltaNetLib.cohort.study.pretraining import pretrain as pretrain_study
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.study import read_study
        with progress_for(progress.value) as bar:
            pretrained = pretrain_study(read_study(config), progress=stoppable(bar))
        tell(pretrained.notices)
        best = [epoch for epoch in pretrained.history if epoch["best"]][-1]
        typer.echo(f"{pretrained.cases} pairs; of those held out, the order of {best['validation_right']:.0%} was told at the best epoch\n"
                   f"Weights: {pretrained.weights}")
        return 0

    raise typer.Exit(guarded(work, progress.value))


def ablate(config: Config, only: Annotated[Optional[list[str]], typer.Option("--only", metavar="PATTERN", help="Variants to do, beside the reference: a name, or a pattern with * in quotes; may be given several times.")] = None,
           listed: Annotated[bool, typer.Option("--list", help="Only list the variants, with --only those that it means.")] = False,
           progress: Progress = ProgressChoice("bar")) -> None:
    """The study again with one thing changed at a time: a table and a plot of what each part of the model is worth. Resumable."""

    def work() -> int:
        from MRDeltaNetLib.cohort.ablation import TABLE, ablate as ablate_study, chosen
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.study import read_study
        if listed:
            for variant in chosen(read_study(config), tuple(only or ())):
                typer.echo(f"{variant.name:24} {variant.words}")
            return 0
        with progress_for(progress.value) as bar:
            found = ablate_study(read_study(config), only=tuple(only or ()), progress=stoppable(bar))
        tell(found.notices)
        typer.echo(f"{len(found.rows)} variants: {found.folder / TABLE}")
        return 0

    raise typer.Exit(guarded(work, progress.value))


def controls(bundle: Bundle, table: Table, out: Folder, cache: Cache = None, workers: Workers = 1,
             epochs: Annotated[Optional[int], typer.Option("--epochs", metavar="N", min=1, help="Train rivals for at most so many epochs. Default: as the model was.")] = None,
             members: Annotated[int, typer.Option("--members", metavar="N", min=1, max=64, help="Networks a trained rival.")] = 1,
             seed: Seed = 0, device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Volume only, one scan only, wrong patient, swapped, shuffled labels, random ROI, scanner only: beside the model, on held-out cases."""

    def work() -> int:
        from MRDeltaNetLib.cohort.controls import run_controls
        from MRDeltaNetLib.cohort.predicting import prepare_for
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.bundle import read_bundle
        from MRDeltaNetLib.io.cohort_table import read_cohort
        from MRDeltaNetLib.progress import part
        from MRDeltaNetLib.response.prediction import choose_device
        read, cohort = read_bundle(bundle), read_cohort(table, require_outcome=False)
        accelerator = choose_device(device.value)[0].type
        with progress_for(progress.value) as bar:
            stop = stoppable(bar)
            prepared = prepare_for(read, cohort, cache or out / "cache", workers, part(stop, 0.0, 0.2))
            found = run_controls(read, prepared, out, epochs=epochs, members=members, seed=seed, accelerator=accelerator, progress=part(stop, 0.2, 1.0))
        tell((*cohort.notices, *found.notices))
        typer.echo(f"{found.sentence}\nNumbers: {out / 'controls.json'}\nFigure:  {out / 'controls.png'}")
        return 0

    raise typer.Exit(guarded(work, progress.value))


def predict(model: Model, table: Table, out: Folder,
            imaging: Annotated[Optional[Path], typer.Option("--imaging", metavar="BUNDLE", help="Of a fusion: the imaging model that it was fitted with.")] = None,
            cache: Cache = None, workers: Workers = 1, device: Device = DeviceChoice("auto"),
            progress: Progress = ProgressChoice("bar")) -> None:
    """Predict every case of a table by a bundle or a tabular model: predictions.csv with P(pCR) and its range, embeddings.csv. Resumable."""

    def work() -> int:
        from MRDeltaNetLib.cohort.predicting import CasesNotPredicted, predict_cohort
        from MRDeltaNetLib.doorway import progress_for, stoppable
        try:
            with progress_for(progress.value) as bar:
                predicted = predict_cohort(model, table, out, imaging=imaging, cache=cache, workers=workers, device=device.value, progress=stoppable(bar))
        except CasesNotPredicted as problem:
            tell(problem.predicted.notices)                          # what is to be said of the cases that have a score
            raise
        tell(predicted.notices)
        typer.echo(predicted.text())
        return 0

    raise typer.Exit(guarded(work, progress.value))
