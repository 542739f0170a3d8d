"""One Evaluation as files for readers: report.html, and every figure as PNG and SVG."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

from MRDeltaNetLib.evaluation import SECTIONS, Evaluation, Figure, Omission
from MRDeltaNetLib.io.atomic import atomic, write_text
from MRDeltaNetLib.io.evaluations import FIGURES, PAGE, stem
from MRDeltaNetLib.report.study.figures import DRAWN, SAID
from MRDeltaNetLib.report.study.figures.style import drawing, pixels, png_bytes, svg_bytes
from MRDeltaNetLib.report.study.page import Picture, page


def write_study(evaluation: Evaluation, folder: Path | str) -> list[str]:
    """Write the report and its figures.

    evaluation  what was found
    folder      where report.html and figures/ shall be; made if it is not there
    returns     names of the files, relative to folder, report.html first
    raises      MissingPackage without matplotlib; EnvironmentProblem if a file cannot be written
    The same evaluation gives the same bytes. A figure that cannot be drawn is told on the page, with the rest done.
    """
    folder = Path(folder)
    pictures, written, failed, waiting = {}, [], [], []
    with drawing(), ThreadPoolExecutor(1) as writer:               # while one figure is packed and goes to the disk the next one is drawn
        for section, set_name, name, figure in _figures(evaluation):
            try:
                drawn, said = DRAWN[figure.kind](figure.data), SAID[figure.kind](figure.data)
                vector = svg_bytes(drawn, figure.title)
            except Exception as problem:  # noqa: BLE001 one odd figure must not cost the report; the page says which one is missing, its numbers are in the tables
                failed.append((set_name, Omission(section, f"the figure '{figure.title}'", f"it could not be drawn ({type(problem).__name__})",
                                                  "read the tables, and please report this")))
                continue
            path = f"{FIGURES}/{stem(set_name, name)}"
            waiting.append(writer.submit(_write, folder / path, vector, pixels(drawn)))
            written += [f"{path}.png", f"{path}.svg"]
            size = drawn.get_size_inches() * 25.4
            pictures[set_name, name] = Picture(base64.b64encode(vector).decode(), said, round(float(size[0]), 1), round(float(size[1]), 1))
    for job in waiting:
        job.result()
    write_text(folder / PAGE, page(evaluation, pictures, failed))
    return [PAGE, *written]


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, str, Figure]]:
    """Section, set, name and figure, in the order of the page."""
    for section in SECTIONS:
        for set_name, parts in evaluation.sets.items():
            if section in parts:
                for name, figure in parts[section].figures.items():
                    yield section, set_name, name, figure


def _write(path: Path, vector: bytes, picture: Any) -> None:
    """Both files of one figure; path has no ending."""
    for ending, content in ((".svg", vector), (".png", png_bytes(picture))):
        with atomic(path.with_name(path.name + ending)) as temporary:
            temporary.write_bytes(content)
