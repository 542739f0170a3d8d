"""The verdict for people: a table as CSV and Markdown, and the section of a model card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.cohort.verifying import letters
from MRDeltaNetLib.cohort.verifying.judging import NULL, TESTS
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import write_csv
from MRDeltaNetLib.response.attribution import METHODS

TABLE, MARKDOWN = "verify.csv", "verify.md"
HEADING = "## Maps"
NOT_DONE = "not done"

COLUMNS = ("method", "passes", "fails_at", "cascade_spearman", "cascade_low", "cascade_high", "cascade_ssim", "cascade_cases", "labels_spearman", "deletion_area",
           "random_deletion_area", "deletion_gain", "deletion_gain_low", "deletion_gain_high", "insertion_area", "random_insertion_area", "ordered_cases", "pointing_hits",
           "pointing_cases", "pointing_by_chance", "energy", "energy_by_chance", "stability_shift", "stability_outline", "stability_cases", "deletion_minus_null",
           "deletion_minus_null_low", "deletion_minus_null_high", "energy_minus_null", "energy_minus_null_low", "energy_minus_null_high")


def write(out: Path, record: Mapping[str, Any]) -> None:
    """verify.csv and verify.md."""
    write_csv(out / TABLE, [_row(key, found) for key, found in record["methods"].items()], COLUMNS)
    write_text(out / MARKDOWN, section(record))


def into_card(card: str, record: Mapping[str, Any]) -> str:
    """The card with this section in the place of an earlier one, before the limits, or at the end."""
    without = re.sub(rf"^{re.escape(HEADING)}\n.*?(?=^## |\Z)", "", card, flags=re.MULTILINE | re.DOTALL).rstrip() + "\n"
    before, limits, after = without.partition("\n## Limits\n")
    return f"{before.rstrip()}\n\n{section(record)}{limits}{after}" if limits else f"{without}\n{section(record)}"


def section(record: Mapping[str, Any]) -> str:
    """Markdown: what was tested, one line a method, the same as a plot in letters, what follows."""
    counts, methods = record["counts"], record["methods"]
    ending = (f"**{METHODS[record['default']].label}** is the default map." if record["default"] else
              "**No map passes: none is the default, and none should be believed without a look at this table.**")
    failed = ", ".join(METHODS[key].label.split(" (")[0] for key in record["failed"])
    head = ["method", "after full randomisation", "shuffled labels", "deletion: better than random", "pointing", "stability: shifts, outlines",
            "better than the null: deletion", "energy", "passes"]
    lines = [HEADING, "", f"Do the maps show what the model uses? {counts['cases']} cases, of which it gets {counts['right']} right; "
             f"{counts['with_residual_tumour']} with residual tumour on the crop ({counts['with_residual_tumour_and_right']} of them right), "
             f"{counts['without_residual_tumour']} without, which say nothing about pointing.", "",
             ending + (f" Not offered unless asked for: {failed}." if failed else ""), "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [_line(key, found) for key, found in methods.items()]
    lines += ["", "```text", letters.plot(methods), "```"]
    return "\n".join([*lines, "", "Mean over cases with 95 % interval, cases drawn again with replacement; pointing with Wilson's. " + record["rule"], ""])


def _line(key: str, found: Mapping[str, Any]) -> str:
    cascade, label, stable, null = (found[name] for name in ("cascade", "labels", "stability", "null"))
    empty = f", {cascade['empty']} of {cascade['maps']} empty" if cascade["empty"] else ""
    cells = [METHODS[key].label, _mean(cascade, "spearman") + empty, _mean(label, "spearman"),
             _mean(found["deletion"], "gain", 3), _pointing(found["pointing"]), f"{_number(stable['shift']['spearman'])}, {_number(stable['outline']['spearman'])}",
             *(["", ""] if key == NULL else [_mean(null["deletion"], "difference", 3), _mean(null["energy"], "difference")]),
             "the null" if key == NULL else "**yes**" if found["passes"] else why_not(found)]
    return "| " + " | ".join(cells) + " |"


def why_not(found: Mapping[str, Any]) -> str:
    """Tests that failed; and those that were not done, or not on enough cases."""
    failed, open_ = ([test for test in found["why_not"] if found[test]["passes"] is said] for said in (False, None))
    return "; ".join(filter(None, (f"no: {', '.join(failed)}" if failed else "", f"open: {', '.join(open_)}" if open_ else "")))


def _pointing(found: Mapping[str, Any]) -> str:
    if not found["cases"]:
        return NOT_DONE
    return f"{found['share']:.2f} ({found['ci'][0]:.2f} to {found['ci'][1]:.2f}), {found['hits']} of {found['cases']}; by chance {found['by_chance']:.2f}"


def _mean(found: Mapping[str, Any], name: str, digits: int = 2) -> str:
    if found[name] is None:
        return NOT_DONE
    ci = found["ci"]
    return f"{found[name]:.{digits}f}" + (f" ({ci[0]:.{digits}f} to {ci[1]:.{digits}f})" if ci else f" ({found['cases']} cases)")


def _number(value: float | None) -> str:
    return NOT_DONE if value is None else f"{value:.2f}"


def _row(key: str, found: Mapping[str, Any]) -> dict[str, Any]:
    cascade, deletion, insertion, pointing, stable, null = (found[name] for name in ("cascade", "deletion", "insertion", "pointing", "stability", "null"))
    row = {"method": key, "passes": "" if key == NULL or found["passes"] is None else int(found["passes"]), "fails_at": " ".join(test for test in TESTS if test in found["why_not"]) if key != NULL else "",
           "cascade_spearman": cascade["spearman"], **_bounds("cascade", cascade), "cascade_ssim": cascade["ssim"], "cascade_cases": cascade["cases"],
           "labels_spearman": found["labels"]["spearman"], "deletion_area": deletion["area"], "random_deletion_area": deletion["random_area"], "deletion_gain": deletion["gain"],
           **_bounds("deletion_gain", deletion), "insertion_area": insertion["area"], "random_insertion_area": insertion["random_area"], "ordered_cases": deletion["cases"],
           "pointing_hits": pointing.get("hits"), "pointing_cases": pointing["cases"], "pointing_by_chance": pointing.get("by_chance"), "energy": pointing.get("energy"),
           "energy_by_chance": pointing.get("energy_by_chance"), "stability_shift": stable["shift"]["spearman"], "stability_outline": stable["outline"]["spearman"],
           "stability_cases": stable["shift"]["cases"]}
    if key != NULL:
        row |= {"deletion_minus_null": null["deletion"]["difference"], **_bounds("deletion_minus_null", null["deletion"]),
                "energy_minus_null": null["energy"]["difference"], **_bounds("energy_minus_null", null["energy"])}
    return {name: "" if row.get(name) is None else round(row[name], 6) if isinstance(row[name], float) else row[name] for name in COLUMNS}


def _bounds(name: str, found: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = found["ci"] or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
