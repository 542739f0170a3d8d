"""Mask borders as smooth closed curves, cut into dashes."""

from __future__ import annotations

import numpy as np

DASHES = {"solid": None, "dashed": (9.0, 5.0), "dotted": (2.0, 4.0)}
"""Length of line and gap, pixels; None draws through."""

_SMOOTHING = 7
"""Vertices over which a curve is averaged: takes the pixel stairs away, moves the border by less than a pixel."""


def borders(inside: np.ndarray) -> list[np.ndarray]:
    """Closed curves around a boolean picture (height, width): arrays (n, 2) of column, row; pixel corners are at k - 0.5."""
    return [_smooth(loop) for loop in _loops(inside)]


def dashes(curve: np.ndarray, style: str) -> list[np.ndarray]:
    """The closed curve as open pieces to draw, by line style."""
    closed = np.vstack([curve, curve[:1]])
    if DASHES[style] is None:
        return [closed]
    line, gap = DASHES[style]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    periods = max(1, round(along[-1] / (line + gap)))
    stretch = along[-1] / (periods * (line + gap))
    pieces = []
    for start in np.arange(periods) * (line + gap) * stretch:
        at = np.linspace(start, start + line * stretch, max(2, int(line)))
        pieces.append(np.column_stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)]))
    return pieces


def _loops(inside: np.ndarray) -> list[np.ndarray]:
    """Walk along the edges between inside and outside pixels, inside always on the right hand."""
    padded = np.pad(inside.astype(bool), 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def edges(cells: np.ndarray, start: tuple[int, int], stop: tuple[int, int]) -> None:
        for row, column in cells - 1:
            following.setdefault((row + start[0], column + start[1]), []).append((row + stop[0], column + stop[1]))

    edges(np.argwhere(padded & ~np.roll(padded, 1, 0)), (0, 0), (0, 1))
    edges(np.argwhere(padded & ~np.roll(padded, -1, 1)), (0, 1), (1, 1))
    edges(np.argwhere(padded & ~np.roll(padded, -1, 0)), (1, 1), (1, 0))
    edges(np.argwhere(padded & ~np.roll(padded, 1, 1)), (1, 0), (0, 0))
    loops = []
    for start in sorted(following):
        while following[start]:
            loop, corner = [], start
            while following[corner]:
                loop.append(corner)
                corner = following[corner].pop()
            loops.append(np.array(loop, float)[:, ::-1] - 0.5)
    return loops


def _smooth(loop: np.ndarray) -> np.ndarray:
    if len(loop) < 3 * _SMOOTHING:
        return loop
    wrapped = np.vstack([loop[-(_SMOOTHING // 2):], loop, loop[:_SMOOTHING // 2]])
    kernel = np.full(_SMOOTHING, 1 / _SMOOTHING)
    return np.column_stack([np.convolve(wrapped[:, axis], kernel, mode="valid") for axis in (0, 1)])
