"""Tables of the sections as HTML: sets side by side, values with their intervals in one cell, the CSV files' full columns in reading form."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from MRDeltaNetLib.evaluation import Table
from MRDeltaNetLib.report.study.numbers import NOT_KNOWN, NOT_REACHED, bounds, capital, finite, interval, p_value, plain, whole
from MRDeltaNetLib.report.words import sentence, text

MOST_ROWS = 40
"""Longer tables, such as net benefit at every threshold, show evenly spaced rows; the CSV file has all."""

_SHORT = 24
"""Tables of up to so many rows are never broken by a page's end."""

_BELOW = "\x1f"
"""Between a row and one that is indented below it, in a key."""

_LONGEST_WORD = 28

_MOST_PIVOTED = 5
"""Up to this many measures stand side by side; more stand below each other."""

_LOW = re.compile(r"^(?P<name>.*?)\b(low|lower|lo|2\.5 ?%)\b(?P<rest>.*)$", re.IGNORECASE)
_HIGH = re.compile(r"^(?P<name>.*?)\b(high|upper|hi|97\.5 ?%)\b(?P<rest>.*)$", re.IGNORECASE)
_P = re.compile(r"^p($|[ _(])|(^|[ _])p$")
_UNREACHED = ("median", "quartile")


@dataclass(frozen=True)
class Shown:
    """One column of the page: its heading and the columns of the table that its cells are made of."""

    heading: str
    kind: str                                  # "plain", "text", "value" (value, low, high), "interval" (low, high), "p", "counts" (part, whole)
    places: tuple[int, ...]


def html_table(tables: Mapping[str, Table], number: int, csv: str, all_sets: Sequence[str]) -> str:
    """One table of every set that has it.

    tables    set -> table, all of the same name
    number    of the table on the page
    csv       the CSV file's name, said where rows are left out
    all_sets  every set of the evaluation; with one only, sets are not named
    """
    first = next(iter(tables.values()))
    same = {name: table for name, table in tables.items() if table.columns == first.columns}
    odd = {name: table for name, table in tables.items() if name not in same}
    parts = [_joined(same, number, csv, all_sets)]
    parts += [_joined({name: table}, number, csv, all_sets) for name, table in odd.items()]
    return "".join(parts)


@dataclass(frozen=True)
class _Rows:
    """The rows of one table in every set that has it.

    columns  of the table
    by_set   set -> key of a row -> the row
    order    of the keys
    keys     how many leading columns are the key
    named    whether sets are named
    """

    columns: tuple[str, ...]
    by_set: Mapping[str, Mapping[tuple, Sequence[Any]]]
    order: Sequence[tuple]
    keys: int
    named: bool


def _joined(tables: Mapping[str, Table], number: int, csv: str, all_sets: Sequence[str]) -> str:
    first, every = next(iter(tables.values())), list(tables.values())
    keys = _keys(every)
    by_set = {name: _keyed(table, keys) for name, table in tables.items()}
    order, left_out = _thinned(_ordered(by_set, any(map(_indented, every))))
    rows = _Rows(first.columns, by_set, order, keys, len(tables) > 1)
    shown = [_worded(column, every) for column in shown_columns(first.columns, keys)]
    if "measure" in first.columns[:keys] and "value" in first.columns:
        head, body = _by_measure(rows, shown)
    elif len(shown) == 1 and len(tables) > 1:
        head, body = _sets_across(rows, shown[0])
    else:
        head, body = _sets_down(rows, shown)
    below = _notes(tables)
    if left_out:
        below += f"<p>{sentence(f'{len(order)} of {len(order) + left_out} rows are shown; tables/{csv} has all')}</p>"
    only = "" if len(all_sets) in (1, len(tables)) else f" (set: {', '.join(tables)})"
    short = " short" if body.count("<tr>") <= _SHORT else ""
    return (f'<div class="table{short}"><table><caption><strong>Table {number}.</strong> {sentence(capital(first.title) + only)}</caption>'
            f'<thead>{head}</thead>{body}</table>{f"<div class=notes>{below}</div>" if below else ""}</div>')


def _ordered(by_set: Mapping[str, Mapping[tuple, Sequence[Any]]], indented: bool) -> list[tuple]:
    """Keys as they come, the first set's first; indented ones stay below the row they belong to."""
    order = list(dict.fromkeys(key for found in by_set.values() for key in found))
    if indented:
        above = [key[0].split(_BELOW)[0] for key in order]
        order.sort(key=lambda key: above.index(key[0].split(_BELOW)[0]))
    return order


def _notes(tables: Mapping[str, Table]) -> str:
    """What has to be said below a table; what is said of some sets only, with their names."""
    said: dict[str, list[str]] = {}
    for name, table in tables.items():
        for note in table.notes:
            said.setdefault(note, []).append(name)
    by_sets: dict[tuple[str, ...], list[str]] = {}
    for note, sets in said.items():
        by_sets.setdefault(tuple(sets), []).append(note)
    return "".join(f"<p>{'' if len(sets) == len(tables) else '<strong>' + text(', '.join(sets)) + ':</strong> '}{' '.join(map(sentence, notes))}</p>"
                   for sets, notes in sorted(by_sets.items(), key=lambda found: -len(found[0])))


def _keys(tables: Sequence[Table]) -> int:
    """How many leading columns tell a row from every other one of its set; one at the least, but for a single row of numbers."""
    columns = tables[0].columns
    if any(map(_indented, tables)):
        return 1
    if all(len(table.rows) == 1 and not isinstance(table.rows[0][0], str) for table in tables):
        return 0
    for count in range(1, len(columns)):
        if all(len({_key(row, count) for row in table.rows}) == len(table.rows) for table in tables):
            return count
    return 1 if len(columns) < 2 else len(columns) - 1


def _indented(table: Table) -> bool:
    """Whether rows stand indented below others, as levels below their variable."""
    return any(isinstance(row[0], str) and row[0].startswith(" ") for row in table.rows)


def _keyed(table: Table, keys: int) -> dict[tuple, Sequence[Any]]:
    """Key -> row; a row that is indented is known by the row it stands below, too, and one that is like an earlier one by its number."""
    found: dict[tuple, Sequence[Any]] = {}
    above, indented = "", _indented(table)
    for number, row in enumerate(table.rows):
        above = above if str(row[0]).startswith(" ") else str(row[0])
        key = (f"{above}{_BELOW}{row[0]}",) if indented else _key(row, keys)
        found[(*key[:-1], f"{key[-1]}{_BELOW}{number}") if key in found else key] = row
    return found


def _key(row: Sequence[Any], count: int) -> tuple:
    return tuple(str(cell) for cell in row[:count])


def _thinned(order: list[tuple]) -> tuple[list[tuple], int]:
    """At most MOST_ROWS keys, evenly spaced, where keys are numbers that go on and on; lists of names stay whole."""
    if len(order) <= MOST_ROWS or not all(_is_number(key[-1]) for key in order):
        return order, 0
    step = math.ceil(len(order) / (MOST_ROWS / 4))
    kept = order[step - 1::step]
    return kept, len(order) - len(kept)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def shown_columns(columns: Sequence[str], keys: int = 1) -> list[Shown]:
    """The columns behind the keys as the page shows them: a value and its bounds in one, a pair of bounds alone in one, "cases" and "of" in one."""
    shown, place = [], keys
    while place < len(columns):
        name, behind = columns[place], _bounds(columns, place + 1)
        own = _bounds(columns, place)
        if own is not None:
            shown.append(Shown(f"95 % CI, {own.strip(' ()')}" if own else "95 % CI", "interval", (place, place + 1)))
            place += 2
        elif behind is not None and name.endswith(behind.strip()) and not _P.search(name):
            shown.append(Shown(f"{name} (95 % CI)", "value", (place, place + 1, place + 2)))
            place += 3
        elif place + 1 < len(columns) and columns[place + 1] == "of":
            shown.append(Shown(f"{name} of all", "counts", (place, place + 1)))
            place += 2
        else:
            shown.append(Shown(name, "p" if _P.search(name) else "plain", (place,)))
            place += 1
    return shown


def _worded(shown: Shown, tables: Sequence[Table]) -> Shown:
    """A column of words alone is one of text, which stands at the left."""
    cells = [row[shown.places[0]] for table in tables for row in table.rows if row[shown.places[0]] is not None]
    words = cells and all(isinstance(value, str) and not _is_number(value) for value in cells)
    return Shown(shown.heading, "text", shown.places) if shown.kind == "plain" and words else shown


def _bounds(columns: Sequence[str], place: int) -> str | None:
    """What a pair of bounds that begins here belongs to, "" for the column before it; None if there is no such pair."""
    if place + 1 >= len(columns):
        return None
    low, high = _LOW.match(columns[place]), _HIGH.match(columns[place + 1])
    if not low or not high or (low["name"], low["rest"]) != (high["name"], high["rest"]):
        return None
    return re.sub(r"95 ?% ?(CI|confidence interval)?|[,_]", "", f"{low['name']}{low['rest']}").strip() and f" {low['name']}{low['rest']}".rstrip()


def cell(shown: Shown, row: Sequence[Any]) -> str:
    """One cell as plain text; in a row that is indented below another one, what is not there stays empty."""
    if isinstance(row[0], str) and row[0].startswith(" ") and all(row[place] is None for place in shown.places):
        return ""
    values = [row[place] for place in shown.places]
    if shown.kind == "value" and finite(values[0]):
        return interval(*values)
    if shown.kind == "value" and values[0] is None and any(map(finite, values[1:])):
        return _from_bounds(shown, values)
    if shown.kind == "interval":
        return bounds(*values) if any(map(finite, values)) else NOT_KNOWN
    if shown.kind == "counts":
        return f"{_one(values[0])}/{_one(values[1])}"
    if shown.kind == "p" and (values[0] is None or finite(values[0])):
        return p_value(values[0])
    if shown.kind == "text" and values[0] is None:
        return "\N{EN DASH}"
    return _missing(shown) if values[0] is None else _one(values[0])


def _from_bounds(shown: Shown, values: Sequence[Any]) -> str:
    low, high = (plain(value) if finite(value) else _missing(shown) for value in values[1:])
    return f"{_missing(shown)} ({low} to {high})"


def _missing(shown: Shown) -> str:
    return NOT_REACHED if any(word in shown.heading.lower() for word in _UNREACHED) else NOT_KNOWN


def _one(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, float):
        return plain(value) if math.isfinite(value) else "\N{INFINITY}" if value > 0 else NOT_KNOWN
    return NOT_KNOWN if value is None else str(value)


def _td(shown: Shown, row: Sequence[Any]) -> str:
    words = cell(shown, row)
    return f"<td>{_breakable(words)}</td>" if shown.kind == "text" else f"<td class=n>{_broken(text(words))}</td>"


def _breakable(words: str) -> str:
    """Words as HTML, with places where those that no column holds may break."""
    if max(map(len, words.split(" "))) <= _LONGEST_WORD:
        return text(words)
    return "<wbr>".join(text(words[place:place + _LONGEST_WORD]) for place in range(0, len(words), _LONGEST_WORD))


def _broken(words: str) -> str:
    """Lines break before an interval and nowhere within it."""
    whole_interval = r'<span class="v">\1</span> <span class="ci">(\2)</span>'
    return re.sub(r"(\S+) \(([^()]* to [^()]*)\)", whole_interval, words).replace("\n", "<br>")


def _heads(names: Sequence[str], shown: Sequence[Shown]) -> str:
    """Headings of key columns, then those of the shown ones, which stand above their cells."""
    heads = [(capital(name), "text") for name in names] + [(column.heading if column.kind == "set" else capital(column.heading), column.kind) for column in shown]
    return "".join(f'<th scope="col"{"" if kind == "text" else " class=n"}>{text(name)}</th>' for name, kind in heads)


def _key_cells(row: Sequence[Any], places: range, span: int = 1) -> str:
    """Row headers; the first that is shown is the row's header for screen readers."""
    cells = []
    for place in places:
        words = _breakable("" if row[place] is None and place else _one(row[place]))
        spans = f' rowspan="{span}"' if span > 1 else ""
        inner = ' class="in"' if isinstance(row[place], str) and row[place].startswith(" ") else ""
        cells.append(f'<th scope="row"{spans}{inner}>{words}</th>' if place == places[0] else f"<td{spans}>{words}</td>")
    return "".join(cells)


def _groups(rows: _Rows) -> list[tuple[str | None, list[tuple]]]:
    """Rows under headings, one for each value of the first key, where rows have two keys and more and the first one repeats."""
    firsts = [key[0] for key in rows.order if key]
    if rows.keys < 2 or len(set(firsts)) == len(firsts) or _is_number(firsts[0]):
        return [(None, list(rows.order))]
    return [(first, [key for key in rows.order if key[0] == first]) for first in dict.fromkeys(firsts)]


def _bodies(rows: _Rows, width: int, row_of: Callable[[tuple, int], str]) -> tuple[str, int]:
    """Bodies with their headings, and how many keys are told by headings. width: columns without a heading; row_of(key, told): the HTML of a row."""
    groups = _groups(rows)
    told = 0 if groups[0][0] is None else 1
    made = []
    for heading, members in groups:
        head = f'<tr><th scope="rowgroup" colspan="{width - told}">{text(heading)}</th></tr>' if told else ""
        made.append(f"<tbody>{head}{''.join(row_of(key, told) for key in members)}</tbody>")
    return "".join(made), told


def _sets_down(rows: _Rows, shown: Sequence[Shown]) -> tuple[str, str]:
    """Head and body with the sets of a row below each other, where a row has several values."""

    def row_of(key: tuple, told: int) -> str:
        there = [name for name in rows.by_set if key in rows.by_set[name]]
        lines = []
        for name in there:
            row = rows.by_set[name][key]
            head = _key_cells(row, range(told, rows.keys), len(there)) if name == there[0] else ""
            whose = "" if not rows.named else f"<td>{text(name)}</td>" if key else f'<th scope="row">{text(name)}</th>'
            lines.append(f"<tr>{head}{whose}{''.join(_td(column, row) for column in shown)}</tr>")
        return "".join(lines)

    body, told = _bodies(rows, rows.keys + rows.named + len(shown), row_of)
    return f"<tr>{_heads([*rows.columns[told:rows.keys], *(['set'] if rows.named else [])], shown)}</tr>", body


def _sets_across(rows: _Rows, shown: Shown) -> tuple[str, str]:
    """Head and body with one column a set, where a row has one value."""

    def row_of(key: tuple, told: int) -> str:
        row = next(found[key] for found in rows.by_set.values() if key in found)
        cells = "".join(_td(shown, found[key]) if key in found else "<td class=n>\N{EN DASH}</td>" for found in rows.by_set.values())
        return f"<tr>{_key_cells(row, range(told, rows.keys))}{cells}</tr>"

    body, told = _bodies(rows, rows.keys + len(rows.by_set), row_of)
    word = "" if shown.heading.startswith("value") or shown.heading == "cases" else f", {shown.heading}"
    heads = [Shown(f"{name}{word}" if rows.named else shown.heading, "set", ()) for name in rows.by_set]
    return f"<tr>{_heads(rows.columns[told:rows.keys], heads)}</tr>", body


def _by_measure(rows: _Rows, shown: Sequence[Shown]) -> tuple[str, str]:
    """Head and body of a table of one measure a line: few measures become columns, of many the sets do."""
    at = rows.columns.index("measure")
    measures = list(dict.fromkeys(key[at] for key in rows.order))
    if len(measures) > _MOST_PIVOTED:
        return _sets_across(rows, next((column for column in shown if column.kind == "value"), shown[0]))
    without = lambda parts: tuple(part for place, part in enumerate(parts[:rows.keys]) if place != at)
    by_set: dict[str, dict[tuple, list[Any]]] = {}
    for name, found in rows.by_set.items():
        by_set[name] = {}
        for key, row in found.items():
            pivoted = by_set[name].setdefault(without(key), [*without(row), *[""] * len(measures)])
            pivoted[rows.keys - 1 + measures.index(key[at])] = _folded(shown, row)
    columns = [Shown(measure, "plain", (rows.keys - 1 + place,)) for place, measure in enumerate(measures)]
    order = list(dict.fromkeys(without(key) for key in rows.order))
    return _sets_down(_Rows((*without(rows.columns), *measures), by_set, order, rows.keys - 1, rows.named), columns)


def _folded(shown: Sequence[Shown], row: Sequence[Any]) -> str:
    """Value with interval to two decimals, as these are shares, and counts on a line of their own; the other columns are left to the CSV file."""
    parts = [interval(*(row[place] for place in column.places), 2) if column.kind == "value" and finite(row[column.places[0]]) else cell(column, row)
             for column in shown if column.kind in ("value", "counts") or len(shown) == 1]
    return "\n".join(parts)
