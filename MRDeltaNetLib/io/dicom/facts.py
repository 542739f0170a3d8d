"""What a DICOM header says about a scan without naming the patient: sequence, date, salted identity, harmless text."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import date, timedelta
from typing import Iterable

_SALT = secrets.token_bytes(32)
"""New in every process: digests can be compared in memory and mean nothing outside it."""

FIRST_CLINICAL_MR = date(1980, 1, 1)
"""Earlier dates are placeholders of de-identification tools, not scan dates."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_T2_ECHO_MS, _T2_REPETITION_MS = 60.0, 1500.0
_T1_ECHO_MS, _T1_REPETITION_MS = 30.0, 1200.0
_FLAIR_INVERSION_MS = 1500.0


def digest(text: str) -> str:
    """Salted SHA-256 of a text that must not be kept, as hexadecimal digits."""
    return hmac.new(_SALT, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def harmless(text: object, limit: int = 64) -> str | None:
    """Header text cut down to letters, digits and plain punctuation, so that it can go into a log, a page or a table; None if empty."""
    kept = re.sub(r"[^A-Za-z0-9 .,_()/-]", "", re.sub(r"\s+", " ", str(text)))[:limit].strip(" -.,/")
    return kept or None


def uid_name(uid: str) -> str:
    """A UID as it may be shown and typed: itself if it is a valid one, otherwise a short hash of it."""
    if len(uid) <= 64 and _UID.fullmatch(uid):
        return uid
    return "series-" + hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:12]


def date_of(text: str) -> date | None:
    """The date of a DICOM DA or DT value ("20240229", "2024.02.29", "20240229101500+0200"); None if it is none."""
    found = re.match(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text.strip())
    if not found:
        return None
    try:
        return date(*(int(part) for part in found.groups()))
    except ValueError:
        return None


def plausible(day: date) -> bool:
    """True if a scan can have been made on that day: not before clinical MRI, not after tomorrow (time zones)."""
    return FIRST_CLINICAL_MR <= day <= date.today() + timedelta(days=1)


def guess_sequence(*, image_type: Iterable[str], scanning_sequence: Iterable[str], description: str, b_value: float | None,
                   echo_time_ms: float | None, repetition_time_ms: float | None, inversion_time_ms: float | None) -> str | None:
    """ "ADC", "DWI", "FLAIR", "T2" or "T1" as far as the header tells, otherwise None.

    The description is only read here and goes no further: it may hold anything.
    """
    kinds, techniques = {k.upper() for k in image_type}, {k.upper() for k in scanning_sequence}
    words = description.lower()
    if any(k.startswith("ADC") for k in kinds) or re.search(r"\badc|_adc|apparent diff", words):
        return "ADC"
    if (b_value or 0) > 0 or any(k.startswith("DIFFUSION") for k in kinds) or re.search(r"dwi|diff|trace", words):
        return "DWI"
    if "flair" in words or ("IR" in techniques and (inversion_time_ms or 0) > _FLAIR_INVERSION_MS):
        return "FLAIR"
    if "EP" in techniques or "GR" in techniques and "SE" not in techniques:
        return "T1" if re.search(r"\bt1|_t1", words) else None
    if echo_time_ms is None or repetition_time_ms is None:
        return None
    if echo_time_ms >= _T2_ECHO_MS and repetition_time_ms >= _T2_REPETITION_MS:
        return "T2"
    if echo_time_ms <= _T1_ECHO_MS and repetition_time_ms <= _T1_REPETITION_MS:
        return "T1"
    return None
