"""Commands on model bundles and on this installation: model verify, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from MRDeltaNetLib.cli.options import guarded


def verify(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder, or the model.json of a tabular model.")]) -> None:
    """Check every digest, the metadata, the weights, and that the stored example still gives its stored output; of a tabular model its digest and content."""

    def examine() -> int:
        if bundle.is_file():
            return _tell_table_model(bundle)
        from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle
        from MRDeltaNetLib.models import registry
        read = read_bundle(bundle)
        difference = check_golden(read, load_network(read, registry.build))
        own, numbers = read.own, sum(value.numel() for value in read.weights.values())
        typer.echo(f"{own['name']} {read.metadata['version']}: {own['network']['name']}, {numbers:,} weights")
        typer.echo(f"Intended use: {own['intended_use']}\nTrained on: {own['trained_on']}")
        low, high = own["held_out_auc_ci"]
        typer.echo(f"Held-out AUC {own['held_out_auc']:.3f} (95 % CI {low:.3f} to {high:.3f}) on {own['held_out_on']}")
        typer.echo(f"Files, metadata and weights are as written; stored example differs by {difference:.2g} (allowed {own['golden_tolerance']:.2g}).")
        return 0

    raise typer.Exit(guarded(examine))


def _tell_table_model(path: Path) -> int:
    """What a tabular model is, after its content was found to be as written."""
    from MRDeltaNetLib.io.table_model import NumberColumn, read_table_model
    model = read_table_model(path)
    facts, kinds = model.trained_on, [isinstance(column, NumberColumn) for column in model.columns.values()]
    typer.echo(f"{model.name}: a tabular model (logistic regression) on {sum(kinds)} numbers and {len(kinds) - sum(kinds)} categories")
    typer.echo(f"Columns: {', '.join(model.columns) or 'none, every case gets the same score'}")
    typer.echo(f"Trained on {facts.get('cases', 'an unknown number of')} cases, {facts.get('events', 'an unknown number')} with pCR")
    if model.threshold is not None:
        typer.echo(f"Threshold on P(pCR) {model.threshold:.3f}: {model.threshold_source}")
    typer.echo(f"Content is as written (SHA-256 {model.sha256}). It scores tables with `mrdeltanet predict`; it has no range and no stored example.")
    return 0


def info() -> None:
    """Versions and devices."""

    def tell() -> int:
        from MRDeltaNetLib.versions import system, versions
        for name, version in versions().items():
            typer.echo(f"{name:14} {version or 'not installed'}")
        typer.echo(f"{'system':14} " + " ".join(system().values()))
        if versions()["torch"]:
            from MRDeltaNetLib.response.prediction import available_devices
            typer.echo(f"{'devices':14} " + ", ".join(available_devices()))
        return 0

    raise typer.Exit(guarded(tell))
