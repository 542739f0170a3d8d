"""The report's tables: measures before and after, registration quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.report.words import number, text

_GROUPS = (("post", "", "Tumour before treatment, tumour bed after it", "tumour bed"),
           ("residual", "residual_", "Tumour before treatment, residual viable tumour after it", "residual viable tumour"))
_SIZES = (("volume", "ml", "Volume"), ("longest_in_plane_diameter", "mm", "Longest diameter in plane"),
          ("longest_3d_diameter", "mm", "Longest diameter in 3D"), ("short_axis", "mm", "Short axis"))
_DECIMALS = {"mL": 1, "mm": 1, "nats": 3}

_REGISTRATION_NAMES = {
    "method": "Method", "refined_without_tumour": "Refined on the body without the tumour",
    "mutual_information_before_nats": "Mutual information before", "mutual_information_after_nats": "Mutual information after",
    "mutual_information_displaced_nats": "Mutual information with one scan shifted on purpose (should be lower)",
    "overlap_fraction": "Overlap of the two fields of view", "rotation_deg": "Rotation", "translation_mm": "Translation",
    "tumour_volume_change_percent": "Tumour volume change brought in by the transform",
    "display_mutual_information_nats": "Mutual information after the deformable alignment (display only)",
    "converged": "Settled before its limit of steps", "min_jacobian_determinant": "Smallest Jacobian determinant", "max_jacobian_determinant": "Largest Jacobian determinant",
}
_UNITS = {"_ml": "mL", "_mm": "mm", "_deg": "°", "_percent": "%", "_days": "days", "_seconds": "s", "_nats": "nats"}


_CLASSED = {"residual": "residual viable tumour", "bed": "tumour bed"}
"""What the reader wants to see first comes first: what is left of the tumour, then its bed."""

_CLASS_WORDS = {
    "lesion_size": {"gone": "gone", "smaller": "smaller in diameter (by 30 % or more)", "little changed": "little changed in diameter",
                    "larger": "larger in diameter (by 20 % and 5 mm or more)"},
    "lesion_volume": {"gone": "gone", "smaller": "smaller in volume (by 65.7 % or more)", "little changed": "little changed in volume",
                      "larger": "larger in volume (by 72.8 % or more)"}}
_FEATURES = (("surface_mm2", "Surface", "mm\u00b2", 0), ("sphericity", "Sphericity (1: ball)", "", 2), ("elongation", "Elongation (1: as wide as long)", "", 2),
             ("flatness", "Flatness (1: not flat)", "", 2), ("mean_z", "Signal, mean", "SD", 2), ("sd_z", "Signal, standard deviation", "SD", 2),
             ("p10_z", "Signal, 10th percentile", "SD", 2), ("median_z", "Signal, median", "SD", 2), ("p90_z", "Signal, 90th percentile", "SD", 2),
             ("skewness", "Signal, skewness", "", 2), ("excess_kurtosis", "Signal, excess kurtosis", "", 2), ("entropy_bits", "Signal, entropy", "bit", 2))


@dataclass(frozen=True)
class Size:
    """One size before and after treatment: its name, unit, values (None if not known), and the names of its values in the measures."""

    label: str
    unit: str
    before: float | None
    after: float | None
    change: float | None
    percent: float | None
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """Sizes that compare the tumour before treatment with the same thing after it."""

    title: str
    after: str
    rows: tuple[Size, ...]


def sizes(measures: Mapping[str, float | None]) -> list[Sizes]:
    """The measures of a result in the order and the words of a table; what nobody measured is left out."""
    groups = []
    for later, prefix, title, after_name in _GROUPS:
        rows = []
        for stem, ending, label in _SIZES:
            keys = (f"pre_{stem}_{ending}", f"{later}_{stem}_{ending}", f"{prefix}{stem}_change_{ending}", f"{prefix}{stem}_change_percent")
            values = [measures.get(key) for key in keys]
            if values[1] is not None or (later == "post" and values[0] is not None):
                rows.append(Size(label, _UNITS[f"_{ending}"], *values, keys))
        if rows:
            groups.append(Sizes(title, after_name, tuple(rows)))
    return groups


def class_lines(response: Mapping[str, Any]) -> list[str]:
    """How one lesion changed, a sentence (without full stop) a structure: by diameter and by volume."""
    lines = []
    for short, name in _CLASSED.items():
        said = [words[found] for kind, words in _CLASS_WORDS.items() if (found := response.get(f"{kind}_{short}")) in words]
        if said:
            lines.append(f"One lesion, {name} against the tumour before treatment: " + ", ".join(dict.fromkeys(said)))
    return lines


def class_rows(response: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The classes for a table: what was classed, of which structure, and its class in a word or two."""
    kinds = (("lesion_size", "One lesion, class of diameter"), ("lesion_volume", "One lesion, class of volume"))
    return [(label, name, response[f"{kind}_{short}"]) for short, name in _CLASSED.items() for kind, label in kinds if response.get(f"{kind}_{short}")]


def features_table(result: Result) -> str:
    """Form and intensity before, after and their change; empty without any."""
    bodies = []
    for later, _, title, _ in _GROUPS:
        before, after, change = (result.features.get(name) or {} for name in ("pre", later, f"{later}_change"))
        rows = "".join(f'<tr><th scope="row">{label}</th>' + "".join(f'<td class="n">{_figure(part.get(key), unit, digits, signed)}</td>'
                       for part, signed in ((before, False), (after, False), (change, True))) + "</tr>"
                       for key, label, unit, digits in _FEATURES if after.get(key) is not None)
        bodies += [f'<tbody><tr><th scope="rowgroup" colspan="4">{title}</th></tr>{rows}</tbody>'] if rows else []
    if not bodies:
        return ""
    return ('<details><summary>Form and signal of what was drawn</summary><table><caption>Signal in standard deviations (SD) of the normal tissue of the same scan; '
            'no bias field corrected; entropy with bins of 0.25 SD. They describe and are no finding.</caption><thead><tr><th scope="col">Feature</th>'
            '<th scope="col" class="n">Before treatment</th><th scope="col" class="n">After treatment</th><th scope="col" class="n">Change</th></tr></thead>'
            f'{"".join(bodies)}</table></details>')


def _figure(value: float | None, unit: str, digits: int, signed: bool) -> str:
    shown = number(value, digits, signed=signed)
    return shown if shown == "not available" or not unit else f"{shown}&nbsp;{unit}"


def measures_table(result: Result) -> str:
    """Each size before, after and its change, with units; every other measure of the result below them."""
    measures, groups, used = result.measures, [], set()
    for group in sizes(measures):
        used |= {key for row in group.rows for key in row.keys}
        rows = []
        for row in group.rows:
            cells = [_cell(row.before, row.unit), _cell(row.after, row.unit), _cell(row.change, row.unit, signed=True), _cell(row.percent, "%", signed=True)]
            rows.append(f'<tr><th scope="row">{row.label}</th>' + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>")
        groups.append(f'<tbody><tr><th scope="rowgroup" colspan="5">{group.title}</th></tr>{"".join(rows)}</tbody>')
    others = "".join(f'<tr><th scope="row">{text(_name(key))}</th><td class="n" colspan="4">{_value(key, value)}</td></tr>'
                     for key, value in measures.items() if key not in used and value is not None)
    groups += [f'<tbody><tr><th scope="rowgroup" colspan="5">Other</th></tr>{others}</tbody>'] if others else []
    if not groups:
        return "<p>No sizes: this run had no masks to measure.</p>"
    carried = " The tumour bed was carried over from the scan before treatment, so its size is no finding and is not given."
    note = carried if result.mask_sources.get("post") == "carried" and measures.get("post_volume_ml") is None else ""
    return (f'<table><caption>Sizes of the one marked lesion, from the masks; not an overall RECIST category.{note}</caption><thead><tr>'
            '<th scope="col">Measure</th><th scope="col" class="n">Before treatment</th><th scope="col" class="n">After treatment</th>'
            f'<th scope="col" class="n">Change</th><th scope="col" class="n">Change in percent</th></tr></thead>{"".join(groups)}</table>')


def registration_table(registration: Mapping[str, Any]) -> str:
    """Method and quality of the alignment, one line each; digests are left to result.json."""
    if not registration:
        return "<p>The scans were not aligned in this run.</p>"
    known = {key: registration[key] for key in _REGISTRATION_NAMES if key in registration}
    others = {key: value for key, value in registration.items() if key not in known and not key.endswith("_sha256")}
    rows = "".join(f'<tr><th scope="row">{text(_REGISTRATION_NAMES.get(key, _name(key)))}</th><td class="n">{_value(key, value)}</td></tr>'
                   for key, value in (known | others).items())
    return ('<table><thead><tr><th scope="col">Quality of the alignment</th><th scope="col" class="n">Value</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def _cell(value: float | None, unit: str, *, signed: bool = False) -> str:
    shown = number(value, _DECIMALS.get(unit, 0), signed=signed)
    return shown if shown == "not available" else f"{shown}&nbsp;{text(unit)}"


def _name(key: str) -> str:
    for ending in _UNITS:
        if key.endswith(ending):
            key = key[: -len(ending)]
    words = key.replace("_", " ")
    return words[:1].upper() + words[1:]


def _value(key: str, value: Any) -> str:
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not available"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value("", item) for item in value) + (f"&nbsp;{text(unit)}" if unit else "")
    if isinstance(value, (int, float)):
        shown = number(value, 0 if isinstance(value, int) else _DECIMALS.get(unit, 1) if unit else 3)
        return shown if shown == "not available" or not unit else f"{shown}&nbsp;{text(unit)}"
    return text(value)
