"""The report's tables: measures before and after, registration quality."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.report.words import number, text

_PAIRED = (
    ("Volume: tumour before, tumour bed after", "mL", "pre_volume_ml", "post_volume_ml", "volume_change"),
    ("Volume: tumour before, residual viable tumour after", "mL", "pre_volume_ml", "residual_volume_ml", "residual_volume_change"),
    ("Longest diameter in plane", "mm", "pre_longest_in_plane_diameter_mm", "post_longest_in_plane_diameter_mm",
     "longest_in_plane_diameter_change"),
    ("Longest diameter in 3D", "mm", "pre_longest_3d_diameter_mm", "post_longest_3d_diameter_mm", "longest_3d_diameter_change"),
    ("Short axis", "mm", "pre_short_axis_mm", "post_short_axis_mm", "short_axis_change"),
)
_DECIMALS = {"mL": 1, "mm": 1}

_REGISTRATION_NAMES = {
    "method": "Method", "refined_without_tumour": "Refined on the body without the tumour",
    "mutual_information_before": "Mutual information before", "mutual_information_after": "Mutual information after",
    "overlap_fraction": "Overlap of the two fields of view", "rotation_deg": "Rotation", "translation_mm": "Translation",
    "tumour_volume_change_percent": "Tumour volume change brought in by the transform",
    "min_jacobian_determinant": "Smallest Jacobian determinant", "max_jacobian_determinant": "Largest Jacobian determinant",
}
_UNITS = {"_ml": "mL", "_mm": "mm", "_deg": "°", "_percent": "%", "_days": "days", "_seconds": "s"}


def measures_table(result: Result) -> str:
    """Each size before, after and its change, with units; every other measure of the result below them."""
    measures, rows, used = result.measures, [], set()
    for label, unit, before, after, change in _PAIRED:
        absolute, percent = f"{change}_{unit.lower()}", f"{change}_percent"
        if measures.get(after) is None and (measures.get(before) is None or after.startswith("residual")):
            continue
        used |= {before, after, absolute, percent}
        rows.append(f'<tr><th scope="row">{text(label)}</th><td class="n">{_cell(measures.get(before), unit)}</td>'
                    f'<td class="n">{_cell(measures.get(after), unit)}</td>'
                    f'<td class="n">{_cell(_difference(measures, absolute, before, after), unit, signed=True)}</td>'
                    f'<td class="n">{_cell(measures.get(percent), "%", signed=True)}</td></tr>')
    rows += [f'<tr><th scope="row">{text(_name(key))}</th><td class="n" colspan="4">{_value(key, value)}</td></tr>'
             for key, value in measures.items() if key not in used and value is not None]
    if not rows:
        return "<p>No sizes: this run had no masks to measure.</p>"
    return ('<table><caption>Sizes of the one marked lesion, from the masks; not an overall RECIST category.</caption><thead><tr>'
            '<th scope="col">Measure</th><th scope="col" class="n">Before treatment</th><th scope="col" class="n">After treatment</th>'
            '<th scope="col" class="n">Change</th><th scope="col" class="n">Change in percent</th></tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table>')


def registration_table(registration: Mapping[str, Any]) -> str:
    """Method and quality of the alignment, one line each."""
    if not registration:
        return "<p>The scans were not aligned in this run.</p>"
    rows = "".join(f'<tr><th scope="row">{text(_REGISTRATION_NAMES.get(key, _name(key)))}</th><td class="n">{_value(key, value)}</td></tr>'
                   for key, value in registration.items())
    return ('<table><thead><tr><th scope="col">Quality of the alignment</th><th scope="col" class="n">Value</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def _difference(measures: Mapping[str, float | None], absolute: str, before: str, after: str) -> float | None:
    if measures.get(absolute) is not None:
        return measures[absolute]
    first, second = measures.get(before), measures.get(after)
    return None if first is None or second is None else second - first


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
        shown = number(value, 0 if isinstance(value, int) else 1 if unit else 3)
        return shown if shown == "not available" or not unit else f"{shown}&nbsp;{text(unit)}"
    return text(value)
