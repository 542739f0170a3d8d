"""Tumour beds that nobody drew: a row without a post_mask gets the pre-treatment outline, carried over by the alignment."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from MRDeltaNetLib.errors import Notice

CARRIED = "carried"
LINES_NAMED = 5


def bed_of(facts: Mapping[str, Any]) -> str | None:
    """As Result.mask_sources: "drawn", "automatic", "edited", or "carried" over from the scan before treatment; None where the facts of a crop do not say."""
    return facts.get("mask_sources", {}).get("post")


def carried_beds(rows: Sequence[Any], facts: Sequence[Mapping[str, Any]], *, learned: bool = False) -> tuple[Notice, ...]:
    """A warning (MRD-W717) if the beds of some cases were carried over. Where it is the same case, `run` gives no class (MRD-W712).

    rows, facts   of prepared cases (PreparedCohort.rows, .facts)
    learned       a model learns from these cases, rather than that it scores them
    """
    lines = [row.line for row, fact in zip(rows, facts) if bed_of(fact) == CARRIED]
    if not lines:
        return ()
    named = ", ".join(map(str, lines[:LINES_NAMED])) + (" and more" if len(lines) > LINES_NAMED else "")
    harm, fix = (("a model that learns from such beds learns the size of the tumour before treatment", "or leave these rows out of the training")
                 if learned else ("such a bed can turn the answer round", "until then give no class to these cases"))
    return (Notice("MRD-W717", f"In {len(lines)} of the {len(rows)} cases (line {named}) nobody drew the tumour bed: it was carried over from the "
                               f"pre-treatment outline; {harm}", f"draw it on the post-treatment scan and give it as post_mask; {fix}"),)
