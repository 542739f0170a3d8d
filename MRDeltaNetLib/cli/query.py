"""One question to a finished run: where in the pre-treatment scan does a place of the post-treatment scan look?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from MRDeltaNetLib.cli.options import guarded
from MRDeltaNetLib.errors import UsageError

if TYPE_CHECKING:
    from MRDeltaNetLib.response.correspondence import Answer


def query(folder: Annotated[str, typer.Argument(metavar="RESULT_DIR", help="Output folder of a run with the step explain.")],
          point: Annotated[str, typer.Option("--point", metavar="L,P,S", help="Place on the scan after treatment, in its own coordinates: left, posterior, superior, mm (LPS).")],
          as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Where in the scan before treatment does a place of the scan after treatment look? Writes nothing."""

    def ask() -> int:
        from MRDeltaNetLib.response.correspondence import query_result
        answer = query_result(folder, _point(point))
        typer.echo(_as_json(answer) if as_json else _in_words(answer))
        return 0

    raise typer.Exit(guarded(ask))


def _point(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as cause:
        raise UsageError("This is not a point", code="MRD-E882", found="something else than numbers between commas",
                         fix="give three numbers: left, posterior, superior, in mm (LPS), as --point 12.5,-30,41") from cause


def _in_words(answer: "Answer") -> str:
    size = " x ".join(f"{step:g}" for step in answer.resolution_mm)
    lines = ["All places are LPS, mm, in the scan before treatment.",
             f"The point:          {_place(answer.point_lps_mm)}",
             f"Its token:          {_place(answer.token_lps_mm)}  ({size} mm)",
             f"Looks most at:      {_place(answer.peak_lps_mm)}  (share {answer.peak_share:.3f}, {answer.displacement_mm:.1f} mm from its token)",
             f"On average at:      {_place(answer.centroid_lps_mm)}  ({answer.mean_displacement_mm:.1f} mm from its token, spread {answer.spread_mm:.1f} mm)"]
    return "\n".join(lines + ([f"Mind: {answer.note}."] if answer.note else []))


def _as_json(answer: "Answer") -> str:
    import json
    from dataclasses import fields
    return json.dumps({field.name: getattr(answer, field.name) for field in fields(answer) if field.name != "map"})


def _place(point: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)
