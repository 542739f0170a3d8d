"""One Result as one self-contained HTML page: no script, nothing loaded from outside, every text escaped."""

from __future__ import annotations

from pathlib import Path

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.report import sections
from MRDeltaNetLib.report.certainty import certainty
from MRDeltaNetLib.report.frame import framed
from MRDeltaNetLib.report.gallery import gallery

_STYLE = Path(__file__).with_name("page.css")


def write_report(result: Result, out_path: Path | str, title: str = "Treatment response report") -> Path:
    """Write the report of one run.

    result    what the run found; whatever is None or missing is left out, and the page says so
    out_path  the .html file; replaced whole or not at all
    title     heading of the page; must not name the patient
    returns   out_path
    raises    MissingPackage without Pillow; EnvironmentProblem if the file cannot be written
    The same result gives the same bytes.
    """
    write_text(out_path, page(result, title))
    return Path(out_path)


def page(result: Result, title: str = "Treatment response report") -> str:
    """The whole page as HTML text."""
    body = "\n".join([
        sections.heading(result, title),
        sections.headline(result),
        sections.warnings(result),
        certainty(result),
        sections.measures(result),
        gallery(result),
        sections.registration(result),
        sections.model(result),
        sections.methods(result),
        sections.provenance(result),
    ])
    footer = "Research use only. Not for diagnosis." + (" DEMONSTRATION MODEL." if sections.is_demo(result) else "")
    return framed(body, _STYLE, title=title, print_footer=footer)
