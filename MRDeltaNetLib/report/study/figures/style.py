"""How every figure of a study looks: sizes in millimetres as they are printed, one sans font, strokes that also separate in grey.

Layout is by hand and in millimetres, because engines that shift axes until texts fit draw every figure several times, and because risk tables
have to stand below their ticks. Texts are measured with the font that draws them, DejaVu Sans, which comes with matplotlib: the same bytes everywhere.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import warnings
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence

from MRDeltaNetLib.errors import require

SINGLE_MM, DOUBLE_MM = 88.0, 180.0
"""Widths of one and of two columns of a journal."""

DPI = 300
FONT = "DejaVu Sans"
SVG_FONTS = "'DejaVu Sans', Arial, Helvetica, sans-serif"
"""Texts stay text in SVG, so that they can be searched and edited; every font named here is as narrow or narrower than the one that was measured."""

TEXT_PT, SMALL_PT = 7.0, 6.5
LINE_MM = 3.0
"""Height of one line of text."""

MM = 1 / 25.4
INK, GREY, LIGHT = "#16191d", "#5f6670", "#d4d9de"
COLOURS = ("#00224d", "#c9500b", "#2f86bf", "#8a3f9c", "#8f7400", "#3a7d5c")
"""Told apart with every common colour vision deficiency; each has its own dashes and marker, so that nothing is told by colour alone."""

DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1.2)), (0, (8, 2, 1.2, 1.6, 1.2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_MEASURED_PT = 200
_NO_GLYPH = "Glyph .* missing from font"
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]")
_SETTINGS = {"font.family": FONT, "font.size": TEXT_PT, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
             "ytick.major.size": 2.5, "lines.linewidth": 1.2, "text.parse_math": False, "svg.hashsalt": "mrdeltanet", "svg.fonttype": "none", "text.color": INK,
             "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "xtick.labelsize": TEXT_PT, "ytick.labelsize": TEXT_PT,
             "axes.labelsize": TEXT_PT, "axes.axisbelow": True, "path.simplify": True, "axes.formatter.use_mathtext": False, "axes.unicode_minus": True}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's settings while a figure is made and written."""
    matplotlib = require("matplotlib", "The figures of a study", "pip install 'mrdeltanet[cohort]'")
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_SETTINGS, "backend": matplotlib.rcParams["backend"]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_NO_GLYPH)        # a box stands for it in the PNG; SVG and alternative text keep it
        yield


def stroke(place: int) -> dict[str, Any]:
    """Colour and dashes of the curve at this place, 0 first."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[(place + place // len(COLOURS)) % len(DASHES)]}


def marker(place: int) -> dict[str, Any]:
    """Colour and marker of the points at this place."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "linestyle": "none"}


def clean(value: Any) -> str:
    """A text for a figure, on one line: what hides or reorders text becomes visible, line ends become spaces; spaces that do not break stay."""
    return re.sub(" +", " ", _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"[\t\r\n]+", " ", str(value)))).strip(" ")


def named(value: Any) -> str:
    """A label for a figure; one that is empty says so."""
    return clean(value) or "(no name)"


@functools.lru_cache(maxsize=8192)
def text_mm(line: str, points: float = TEXT_PT) -> float:
    """Width of one line of text, mm."""
    manager = require("matplotlib.font_manager", "The figures of a study", "pip install 'mrdeltanet[cohort]'")
    font = manager.get_font(manager.findfont(FONT))
    font.set_size(_MEASURED_PT, 72)                        # large, because at the size of print every letter would be rounded to whole pixels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_NO_GLYPH)
        font.set_text(line, 0)
    return font.get_width_height()[0] / 64 / 72 * 25.4 * points / _MEASURED_PT


def wrapped(value: Any, width_mm: float, points: float = TEXT_PT, most: int = 3) -> list[str]:
    """A text in lines no wider than this; words that are too long are broken, and what does not fit into `most` lines ends with an ellipsis."""
    lines, line = [], ""
    words = clean(value).split(" ")
    while words:
        word = words.pop(0)
        longer = f"{line} {word}" if line else word
        if text_mm(longer, points) <= width_mm:
            line = longer
        elif line:
            lines, line = [*lines, line], ""
            words.insert(0, word)
        else:
            fits = _fitting(word, width_mm, points)
            lines, rest = [*lines, word[:fits]], word[fits:]
            words[:0] = [rest] if rest else []
        if len(lines) > most:
            break
    lines += [line] if line else []
    if len(lines) > most:
        last = lines[most - 1]
        while last and text_mm(last + "\u2026", points) > width_mm:
            last = last[:-1]
        lines = [*lines[:most - 1], last.rstrip() + "\u2026"]
    return lines or [""]


def _fitting(word: str, width_mm: float, points: float) -> int:
    """How many of a word's characters fit, one at least."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_mm(word[:middle], points) <= width_mm else (low, middle - 1)
    return low


class Sheet:
    """One figure, laid out in millimetres from its upper left corner."""

    def __init__(self, width_mm: float, height_mm: float) -> None:
        made = require("matplotlib.figure", "The figures of a study", "pip install 'mrdeltanet[cohort]'")
        canvas = require("matplotlib.backends.backend_agg", "The figures of a study")
        self.width, self.height, self._whole = width_mm, height_mm, None
        self.figure = made.Figure(figsize=(width_mm * MM, height_mm * MM), dpi=DPI)
        canvas.FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, frame: Sequence[str] = ("left", "bottom")) -> Any:
        """Axes whose box is there; only the named sides of the frame are drawn."""
        axes = self.figure.add_axes((left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height))
        for side in ("left", "bottom", "top", "right"):
            axes.spines[side].set_visible(side in frame)
        return axes

    def text(self, left: float, top: float, line: str, **settings: Any) -> Any:
        """One line of text; top is where its upper edge is, unless va says otherwise."""
        return self.figure.text(left / self.width, 1 - top / self.height, line, **{"va": "top", "ha": "left", "fontsize": TEXT_PT, **settings})

    def line(self, x: Sequence[float], y: Sequence[float], **settings: Any) -> None:
        """A line over the sheet, in millimetres from its upper left corner."""
        lines = require("matplotlib.lines", "The figures of a study")
        across, down = [place / self.width for place in x], [1 - place / self.height for place in y]
        self.figure.add_artist(lines.Line2D(across, down, **{"linewidth": 0.6, "color": INK, **settings}))

    def image(self, left: float, top: float, width: float, height: float, pixels: Any) -> None:
        """Pixels (rows, columns, 3) uint8 stretched over a box; all images share one pair of axes, because axes are what takes time."""
        if self._whole is None:
            self._whole = self.axes(0, 0, self.width, self.height, frame=())
            self._whole.set_axis_off()
        self._whole.imshow(pixels, interpolation="none", aspect="auto", extent=(left, left + width, top + height, top))
        self._whole.set_xlim(0, self.width)
        self._whole.set_ylim(self.height, 0)

    def box(self, left: float, top: float, width: float, height: float, **settings: Any) -> None:
        """A rectangle on the sheet."""
        patches = require("matplotlib.patches", "The figures of a study")
        self.figure.add_artist(patches.Rectangle((left / self.width, 1 - (top + height) / self.height), width / self.width, height / self.height,
                                                 transform=self.figure.transFigure, **settings))


@dataclass(frozen=True)
class Entry:
    """One line of a legend: how the thing is drawn (settings of a Line2D, None for a remark), what it is, and the number that is never cut."""

    drawn: Mapping[str, Any] | None
    label: str
    number: str = ""


SAMPLE_MM = 8.0
"""Width of what is drawn before a legend's text."""


def legend_mm(entries: Sequence[Entry], width_mm: float) -> float:
    """Height of a legend of this width."""
    return sum(LINE_MM * len(_lines(entry, width_mm)) + 0.5 for entry in entries)


def legend(sheet: Sheet, left: float, top: float, width_mm: float, entries: Sequence[Entry]) -> None:
    """A legend below the axes, where it covers nothing; one entry a line, long ones wrapped."""
    for entry in entries:
        lines = _lines(entry, width_mm)
        if entry.drawn is not None:
            middle = top + LINE_MM / 2
            only_marker = entry.drawn.get("linestyle") == "none"
            x = [left + SAMPLE_MM / 2 - 1] if only_marker else [left, left + SAMPLE_MM - 2]
            sheet.line(x, [middle] * len(x), **{"linewidth": 1.2, "markersize": 4, **entry.drawn})
        for place, line in enumerate(lines):
            sheet.text(left + (SAMPLE_MM if entry.drawn is not None else 0), top + LINE_MM * place + LINE_MM / 2, line, va="center")
        top += LINE_MM * len(lines) + 0.5


def _lines(entry: Entry, width_mm: float) -> list[str]:
    return with_number(entry.label, entry.number, width_mm - (SAMPLE_MM if entry.drawn is not None else 0))


def with_number(label: str, number: str, width_mm: float, points: float = TEXT_PT, most: int = 3) -> list[str]:
    """A label and its number in lines no wider than this; where both do not fit, the label is cut and the number has a line of its own."""
    whole = f"{label}{number}"
    lines = wrapped(whole, width_mm, points, most + 1)
    return lines if len(lines) <= most or not number else [*wrapped(label, width_mm, points, most - 1), *wrapped(number.lstrip(",: "), width_mm, points, 1)]


def unit_ticks(axes: Any, x: bool = True, y: bool = True) -> None:
    """An axis from 0 to 1 with ticks every 0.2, the ends a little free so that lines on the border are seen whole."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for wanted, limits, places, labels in ((x, axes.set_xlim, axes.set_xticks, axes.set_xticklabels), (y, axes.set_ylim, axes.set_yticks, axes.set_yticklabels)):
        if wanted:
            limits(-0.015, 1.015)
            places(ticks)
            labels([f"{tick:.1f}" for tick in ticks])


def empty(axes: Any, words: str) -> None:
    """Say within the axes that there is nothing to draw."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})


def svg_bytes(figure: Any, title: str = "") -> bytes:
    """The figure as SVG, the same bytes for the same figure; title is what programs read out for it."""
    target = io.BytesIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None} | ({"Title": clean(title)} if clean(title) else {}))
    return target.getvalue().replace(f"'{FONT}'".encode(), SVG_FONTS.encode())


def pixels(figure: Any) -> Any:
    """The figure as a picture of Pillow's in DPI; no transparency, as journals want it, which also halves the time of packing it."""
    image = require("PIL.Image", "The figures of a study", "pip install Pillow")
    figure.canvas.draw()
    return image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")


def png_bytes(picture: Any) -> bytes:
    """Such a picture as PNG, without date and software, the same bytes for the same picture. Knows no matplotlib, so that another thread may do it."""
    target = io.BytesIO()
    picture.save(target, format="PNG", dpi=(DPI, DPI), compress_level=4)
    return target.getvalue()
