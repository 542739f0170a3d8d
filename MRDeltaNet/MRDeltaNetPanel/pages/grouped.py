"""A list of choices under headings, in a QComboBox: headings and what cannot be chosen are there to be read and cannot be chosen."""

from __future__ import annotations

from typing import Any, Iterable

import qt

HEADING = "\u2014 {} \u2014"
"""Set off from the choices below it where a style shows what is disabled hardly otherwise."""

FLAGS_ROLE = int(qt.Qt.UserRole) - 1
"""Where Qt's own item model keeps what may be done with a line; 0: nothing."""


def fill(box: Any, groups: Iterable[Any]) -> None:
    """Let the box hold these lines; nothing happens where it holds them already, so that a choice that is being made stays.

    box     QComboBox; a line's data is its key, a heading's is empty
    groups  workflow.MapGroup
    """
    rows = [row for group in groups for row in _rows(group)]
    if rows == [(box.itemText(index), box.itemData(index) or "", box.itemData(index, FLAGS_ROLE) is None) for index in range(box.count)]:
        return
    kept = box.currentData
    box.clear()
    for index, (text, key, choosable) in enumerate(rows):
        box.addItem(text, key)
        if not choosable:
            box.setItemData(index, 0, FLAGS_ROLE)
    select(box, kept)


def select(box: Any, key: str | None) -> None:
    """Stand on the line of a key; where there is none, on the first that can be chosen."""
    keys = [box.itemData(index) for index in range(box.count)]
    choosable = [index for index, each in enumerate(keys) if each and box.itemData(index, FLAGS_ROLE) is None]
    wanted = keys.index(key) if key and key in keys else choosable[0] if choosable else -1
    if box.currentIndex != wanted:
        box.currentIndex = wanted


def choices(groups: Iterable[Any]) -> dict[str, Any]:
    """Key -> workflow.MapLine, of all groups."""
    return {line.key: line for group in groups for line in group.lines}


def _rows(group: Any) -> list[tuple[str, str, bool]]:
    """Text, key, and whether it can be chosen, of the heading and the lines."""
    heading = [(HEADING.format(group.heading), "", False)] if group.heading else []
    return heading + [(line.label, line.key, not line.why_not) for line in group.lines]
