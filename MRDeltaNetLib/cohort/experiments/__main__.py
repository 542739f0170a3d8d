"""Experiments as commands.

    python -m MRDeltaNetLib.cohort.experiments ordering --out OUT [--threads N] [--only PATTERN] [--hours H]
    python -m MRDeltaNetLib.cohort.experiments tables --out OUT
    python -m MRDeltaNetLib.cohort.experiments coverage --out OUT

Start the same command several times to use several cores; a command that was stopped is started again and goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.io.atomic import write_text

NAMES = ("ordering", "alignment", "calibration", "centres", "all")


def main(arguments: list[str] | None = None) -> int:
    """Command line; see --help. 7: cells are left (stopped by --hours, or others are at work on them)."""
    options = _parser().parse_args(arguments)
    try:
        return {"tables": _summarise, "coverage": _cover}.get(options.name, lambda _: _run(options))(options.out)
    except MRDeltaNetError as problem:
        print(problem.text(), file=sys.stderr)
        return problem.exit_status


def cells_of(name: str):
    """The cells of one experiment, or of all; each once."""
    from MRDeltaNetLib.cohort.experiments import alignment, centres, ordering

    found = {"ordering": ordering.cells, "alignment": alignment.cells, "calibration": ordering.cells, "centres": centres.cells}
    chosen = [cell for part in (("ordering", "alignment", "centres") if name == "all" else (name,)) for cell in found[part]()]
    return tuple({cell.name: cell for cell in chosen}.values())


def _run(options: argparse.Namespace) -> int:
    cells = cells_of(options.name)
    if options.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    import torch

    from MRDeltaNetLib.cohort.experiments.grid import run

    torch.set_num_threads(options.threads)
    missing = run(cells, options.out, options.cache or options.out / "cases", only=options.only, hours=options.hours, workers=options.workers, progress=_say)
    print(f"{len(missing)} cells are missing" if missing else "all cells are done")
    return 7 if missing else 0


def _summarise(out: Path) -> int:
    from MRDeltaNetLib.cohort.experiments.figures import draw
    from MRDeltaNetLib.cohort.experiments.grid import records
    from MRDeltaNetLib.cohort.experiments.tables import TABLES, alignment_table, winner

    kept, plans = records(out), {cell.name: cell.plan for cell in cells_of("all")}
    found = {name: record for name, record in kept.items() if record.get("plan") == plans.get(name)}     # never two recipes in one table
    if left_out := len(kept) - len(found):
        print(f"{left_out} cells were made with another plan, or belong to no experiment: left out", file=sys.stderr)
    for name, table in TABLES.items():
        write_text(out / f"{name}.md", table(found))
    write_text(out / "alignment-validation.md", alignment_table(found, "validation") + f"\nHighest on the validation cases: {winner(found)}.\n")
    files = draw(found, out)
    print(f"{len(found)} cells; wrote {len(TABLES) + 1} tables and {len(files)} pictures")
    return 0


def _cover(out: Path) -> int:
    from MRDeltaNetLib.cohort.experiments.coverage import table

    write_text(out / "coverage.md", table(_say))
    print("wrote coverage.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m MRDeltaNetLib.cohort.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=(*NAMES, "tables", "coverage"))
    parser.add_argument("--out", type=Path, required=True, help="folder of cells, tables and pictures; shared by all processes")
    parser.add_argument("--cache", type=Path, help="folder of simulated cases; by default OUT/cases")
    parser.add_argument("--threads", type=int, default=1, help="of this process; several processes with one thread each are faster")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate cases")
    parser.add_argument("--only", default="*", help="names of cells, with * and ?")
    parser.add_argument("--hours", type=float, help="begin no cell after so many")
    parser.add_argument("--list", action="store_true", help="show the cells' names and stop")
    return parser


def _say(done: float, message: str) -> None:
    print(f"{100 * done:5.1f} %  {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
