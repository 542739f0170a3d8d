"""How like the training cases a case is: a light (green, amber, red) with its reasons.

Three parts look at three things: what the header says (field strength, TR, TE, voxel size, maker, interval), how bright the T2
crops are (their percentile curves), and where the network itself places the case (Mahalanobis distance of its embedding; Lee
2018, with the shrunk covariance of Ledoit and Wolf 2004). A distance is judged by its quantile among the training cases' own
leave-one-out distances. The light is that of the worst part. Green does not say that P(pCR) is right; it says that nothing
measured here sets the case apart from those that the model was trained on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.reference import MAX_EMBEDDING, MAX_MAKER_CHARACTERS, MAX_MAKERS, NUMBERS, PERCENTS, VISITS, Header, Reference

__all__ = ["AMBER_QUANTILE", "Familiarity", "Header", "Part", "RED_QUANTILE", "Reference", "fit_reference", "judge", "notices", "unknown"]

AMBER_QUANTILE, RED_QUANTILE = 0.95, 0.99
"""A distance larger than this share of the training cases' own distances is amber, or red. For brightness about 5 % of
cases like the training cases are amber or red. For the embedding it is more, because the network has learned the training cases, whose
distances are therefore too short: with small ensembles 9 to 33 % of new cases of the same simulation were. The light errs towards warning."""

MIN_CASES = 10
"""Fewer training cases give no quantile that means anything; 95 % needs 20 of them, 99 % needs 100: with fewer, whatever lies
beyond all of them is red."""

MIN_SD = 0.02
"""Smallest standard deviation (z-score units) that a percentile is divided by: the clip limits make some of them all alike."""

ROUNDING = 1e-3
"""Share by which a header number may lie outside the training range: headers round."""

LIGHTS = ("green", "amber", "red")

NAMES = {"field_strength_t": ("field strength", "T"), "repetition_time_ms": ("repetition time", "ms"), "echo_time_ms": ("echo time", "ms"),
         "spacing_x_mm": ("voxel width", "mm"), "spacing_y_mm": ("voxel height", "mm"), "spacing_z_mm": ("slice distance", "mm")}

WHEN = {"pre": "before treatment", "post": "after treatment"}

ONE_MEMBER = "one member of the model answered alone, and the bundle knows the training cases as all members see them"
NO_REFERENCE = "the model bundle holds no reference of its training cases"


@dataclass(frozen=True)
class Part:
    """One of the three looks.

    name      "header", "intensity" or "embedding"
    light     "green", "amber" or "red"; None if nothing could be compared
    distance  of the case (units of the part), None for the header
    quantile  share of the training cases that lie nearer, None for the header
    reasons   in words; what is out of range, how far, or what is not known
    """

    name: str
    light: str | None
    distance: float | None = None
    quantile: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Familiarity:
    """light: the worst of the parts' lights, None where it is not known; training_cases: how many stand behind it."""

    light: str | None
    training_cases: int = 0
    parts: tuple[Part, ...] = ()
    reasons: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """As result.json holds it; a light that is not known is the text "not known"."""
        parts = [asdict(part) | {"light": part.light or "not known", "reasons": list(part.reasons)} for part in self.parts]
        return {"light": self.light or "not known", "training_cases": self.training_cases, "reasons": list(self.reasons), "parts": parts}


def unknown() -> Familiarity:
    """What is said of a case when the bundle holds no reference."""
    return Familiarity(light=None, reasons=(NO_REFERENCE,))


def fit_reference(embeddings: np.ndarray, percentiles: np.ndarray, facts: Sequence[Mapping[str, Any]]) -> Reference:
    """The reference of a model from its training cases.

    embeddings   (n, k) of the network that is shipped (NetworkOutput.embedding; an ensemble's as it gives it)
    percentiles  (n, visit 2, 101) of the T2 channel over the crop, percents 0 to 100, z-score units
    facts        n mappings {"pre": {"manufacturer", "field_strength_t", "repetition_time_ms", "echo_time_ms", "spacing_mm" (x, y, z)},
                 "post": {...}, "interval_days"}, as pipeline.PreparedCase.facts; None or missing where unknown
    raises       InputError MRD-E708 (fewer than MIN_CASES cases, wrong shapes, numbers that are not finite, embeddings all alike)
    """
    embeddings, percentiles = np.asarray(embeddings, np.float64), np.asarray(percentiles, np.float64)
    n = len(embeddings)
    if embeddings.ndim != 2 or not 1 <= embeddings.shape[1] <= MAX_EMBEDDING or percentiles.shape != (n, 2, PERCENTS) or len(facts) != n:
        raise _unfit(f"embeddings {embeddings.shape}, percentiles {percentiles.shape}, {len(facts)} headers; an embedding may hold {MAX_EMBEDDING} numbers")
    if n < MIN_CASES:
        raise _unfit(f"{n} cases; at least {MIN_CASES} are needed")
    if not (np.isfinite(embeddings).all() and np.isfinite(percentiles).all()):
        raise _unfit("values that are not finite numbers")
    if not (embeddings.std(0) > 0).any():
        raise _unfit("the embeddings of all cases are the same: the network does not look at them")
    mean, precision, distances = _mahalanobis(embeddings)
    centre, sd = percentiles.mean(0), np.maximum(percentiles.std(0, ddof=1), MIN_SD)
    single = np.float32
    return Reference(embedding_mean=mean.astype(single), embedding_precision=precision.astype(single),
                     embedding_distances=np.sort(distances).astype(single), percentile_mean=centre.astype(single),
                     percentile_sd=sd.astype(single), percentile_distances=np.sort(_curve_distances(percentiles)).astype(single),
                     header=_header(facts))


def judge(reference: Reference, embedding: np.ndarray | None, percentiles: np.ndarray, facts: Mapping[str, Any]) -> Familiarity:
    """The light of one case.

    embedding, percentiles, facts  of this case: (k,), (2, 101), and a mapping as in fit_reference; embedding None where the network did not answer
                                   as a whole (one member of an ensemble): that part is then not known
    raises  InputError MRD-E709 if they are not of the reference's size, or not finite
    """
    whole = embedding is not None
    embedding = np.asarray(embedding, np.float64) if whole else reference.embedding_mean.astype(np.float64)
    percentiles = np.asarray(percentiles, np.float64)
    if embedding.shape != reference.embedding_mean.shape or percentiles.shape != (2, PERCENTS):
        raise InputError("The model bundle's reference of its training cases does not belong to its network", code="MRD-E709",
                         found=f"embedding {embedding.shape}, reference {reference.embedding_mean.shape}, percentiles {percentiles.shape}",
                         fix="export the bundle again, or use one without a reference")
    if not (np.isfinite(embedding).all() and np.isfinite(percentiles).all()):
        raise InputError("The case cannot be compared with the training cases", code="MRD-E709", found="values that are not finite numbers",
                         fix="check the model with `mrdeltanet model verify` and both scans with `mrdeltanet check`")
    off = float(curve_distance(percentiles, reference.percentile_mean, reference.percentile_sd))
    parts = (_header_part(reference.header, facts),
             _distance_part("intensity", off, reference.percentile_distances, "the brightness of the T2 crops"),
             _embedding_part(reference, embedding) if whole else Part("embedding", None, reasons=(ONE_MEMBER,)))
    light = max((part.light for part in parts if part.light), key=LIGHTS.index)
    reasons = tuple(reason for part in parts if part.light != "green" for reason in part.reasons)
    return Familiarity(light=light, training_cases=reference.cases, parts=parts,
                       reasons=reasons or ("header, brightness and embedding are like the training cases'",))


def notices(familiarity: Familiarity) -> tuple[Notice, ...]:
    """A warning for an amber (MRD-W714) or red (MRD-W715) light; an unknown one is said in result and report only."""
    why = "; ".join(reason for part in familiarity.parts if part.light in ("amber", "red") for reason in part.reasons)
    if familiarity.light == "red":
        return (Notice("MRD-W715", f"The case is unlike the cases that the model was trained on (red): {why}",
                       "do not use P(pCR); check that both scans are axial T2 of the pelvis, prepared as the model card says"),)
    if familiarity.light == "amber":
        return (Notice("MRD-W714", f"The case is at the edge of what the model was trained on (amber): {why}", "read P(pCR) with care"),)
    return ()


def curve_distance(percentiles: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Mean over visits and percents of |curve - mean| / sd. The last two axes are (2, 101)."""
    return (np.abs(percentiles - mean) / sd).mean((-2, -1))


def shrinkage(centred: np.ndarray) -> float:
    """Ledoit and Wolf's (2004) weight of the scaled identity in the covariance of centred rows (n, k), 0 to 1.

    With S = X'X / n and m = tr S / k: delta = |S - m I|^2 / k, beta = (sum_ij (sum_i x_i^2 x_j^2) / n - |S|^2) / (n k); min(beta, delta) / delta.
    """
    n, k = centred.shape
    squared = (centred ** 2).sum(1)
    gram = centred @ centred.T if n < k else centred.T @ centred                  # both have the same squared norm and trace
    norm = float((gram ** 2).sum()) / n ** 2
    trace = float(squared.sum()) / n
    beta = (float((squared ** 2).sum()) / n - norm) / (n * k)
    delta = (norm - trace ** 2 / k) / k
    return 0.0 if delta <= 0 else min(max(beta, 0.0), delta) / delta


def _mahalanobis(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, precision, and each row's distance from the distribution of the other rows.

    rows  (n, k). Leaving a row out changes mean, covariance and its trace, all exactly; the shrinkage weight w of all rows is kept.
          With d = row - mean and A the scatter of all rows, the scatter of the others is A - n/(n-1) d d', so that by Sherman and
          Morrison the n inversions become one eigendecomposition.
    """
    n, k = rows.shape
    mean = rows.mean(0)
    centred = rows - mean
    weight = shrinkage(centred)
    weight = max(weight, 1e-6)                                             # fewer rows than numbers: no inverse without it
    scale = float((centred ** 2).sum()) / (n * k)
    axes, lengths, _ = np.linalg.svd(centred.T, full_matrices=False)       # columns of axes (k, r) span the rows
    values = lengths ** 2                                                  # eigenvalues of A
    inverse = 1 / ((1 - weight) * values / n + weight * scale)
    outside = 1 / (weight * scale)
    precision = outside * np.eye(k) + (axes * (inverse - outside)) @ axes.T
    along = (centred @ axes) ** 2                                          # (n, r)
    total, own = float(values.sum()), (centred ** 2).sum(1)
    others = np.maximum(total - n / (n - 1) * own, 0.0) / ((n - 1) * k)     # mean variance of the others
    ridge = np.maximum(weight * others, 1e-12 * scale)[:, None]
    share = (1 - weight) / (n - 1)
    q = (along / (share * values + ridge)).sum(1)
    left = np.maximum(1 - share * n / (n - 1) * q, 1e-12)
    return mean, (precision + precision.T) / 2, n / (n - 1) * np.sqrt(q / left)


def _curve_distances(curves: np.ndarray) -> np.ndarray:
    """Each case's curve_distance from mean and standard deviation of the others; curves (n, 2, 101)."""
    n = len(curves)
    total, squares = curves.sum(0), ((curves - curves.mean(0)) ** 2).sum(0)
    means = (total - curves) / (n - 1)
    scatter = squares - n / (n - 1) * (curves - curves.mean(0)) ** 2
    sds = np.maximum(np.sqrt(np.maximum(scatter, 0.0) / (n - 2)), MIN_SD)
    return curve_distance(curves, means, sds)


def _embedding_part(reference: Reference, embedding: np.ndarray) -> Part:
    away = embedding - reference.embedding_mean
    far = float(np.sqrt(max(away @ reference.embedding_precision.astype(np.float64) @ away, 0.0)))
    return _distance_part("embedding", far, reference.embedding_distances, "what the network sees in the case")


def _distance_part(name: str, distance: float, known: np.ndarray, what: str) -> Part:
    quantile = float((known < distance).mean())
    light = "red" if quantile >= RED_QUANTILE else "amber" if quantile >= AMBER_QUANTILE else "green"
    reason = f"{what} lies further out than {100 * quantile:.0f} % of the {len(known)} training cases (distance {distance:.2f}, theirs up to {float(known[-1]):.2f})"
    return Part(name, light, distance, quantile, (reason,))


def _header_part(header: Header, facts: Mapping[str, Any]) -> Part:
    """Amber if a fact lies outside the training range; None if no fact could be compared. The header alone is never red."""
    outside, compared, unsaid = [], 0, []
    for visit in VISITS:
        found = _visit_facts(facts, visit)
        for name, (low, high) in header.numbers.get(visit, {}).items():
            value, (label, unit) = found.get(name), NAMES[name]
            if value is None:
                unsaid.append(label)
                continue
            compared += 1
            if not low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING):
                outside.append(f"{label} {WHEN[visit]} {value:g} {unit}, in training {_span(low, high)} {unit}")
        if makers := header.makers.get(visit):
            compared += found["maker"] is not None
            if found["maker"] is None:
                unsaid.append("maker")
            elif found["maker"] not in makers:
                outside.append(f"scanner {WHEN[visit]} of a maker that made none of the training scans")
    days = facts.get("interval_days")
    if header.interval_days and _number(days) is None:
        unsaid.append("interval")
    elif header.interval_days:
        compared += 1
        if not header.interval_days[0] <= days <= header.interval_days[1]:
            outside.append(f"interval {days:g} days, in training {_span(*header.interval_days)} days")
    if outside:
        return Part("header", "amber", reasons=tuple(outside))
    silent = (f"the header does not tell: {', '.join(dict.fromkeys(unsaid))}",) if unsaid else ()
    if not compared:
        return Part("header", None, reasons=silent or ("the training scans' headers told nothing to compare with",))
    return Part("header", "green", reasons=silent)


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _header(facts: Sequence[Mapping[str, Any]]) -> Header:
    numbers, makers = {}, {}
    for visit in VISITS:
        found = [_visit_facts(one, visit) for one in facts]
        known = {name: [value for one in found if (value := one.get(name)) is not None] for name in NUMBERS}
        numbers[visit] = {name: (min(values), max(values)) for name, values in known.items() if values}
        makers[visit] = tuple(sorted({one["maker"] for one in found if one["maker"]})[:MAX_MAKERS])
    days = [value for one in facts if (value := _number(one.get("interval_days"))) is not None]
    return Header(numbers={visit: found for visit, found in numbers.items() if found}, makers={visit: names for visit, names in makers.items() if names},
                  interval_days=(min(days), max(days)) if days else None)


def _visit_facts(facts: Mapping[str, Any], visit: str) -> dict[str, Any]:
    """Name of NUMBERS -> finite number or None, and "maker"."""
    said = facts.get(visit) or {}
    spacing = said.get("spacing_mm") or (None, None, None)
    values = {**said, **dict(zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), spacing))}
    return {name: _number(values.get(name)) for name in NUMBERS} | {"maker": _maker(said.get("manufacturer"))}


def _number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        return None
    return float(value)


def _maker(value: Any) -> str | None:
    """A maker's first word in lower case, so that "SIEMENS" and "Siemens Healthineers" are one; None if the header does not say."""
    words = "".join(c if c.isprintable() else " " for c in str(value or "")).lower().split()
    return words[0][:MAX_MAKER_CHARACTERS] if words else None


def _unfit(found: str) -> InputError:
    return InputError("No reference of the training cases can be made", code="MRD-E708", found=found,
                      fix="give embeddings, T2 percentiles and header facts of the same training cases, all finite")
