"""The three nouns: Timepoint (one visit), Case (the visits of one patient), Result (what a run found), and the Prepared
input that stands between a case and a network.

Voxels and their place always travel together as SimpleITK.Image (LPS, mm).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import Notice

if TYPE_CHECKING:
    import numpy as np
    import torch

SAME_GRID_MM = 1e-3
"""Two grids are one grid when no corner of theirs differs by more than this, mm."""

AUTOMATIC, EDITED = "automatic", "edited"
"""Where a mask comes from, if a program drew it: no voxel was changed since, or a reader has changed some. Else "drawn" or "carried"."""

IMAGE_ROLES = {"pre": "the pre-treatment scan", "post": "the post-treatment scan"}
"""How messages name the two scans."""


@dataclass(frozen=True)
class ScanFacts:
    """What a file's header said about a scan, without anything that names the patient.

    format            "dicom", "nifti", "nrrd" or "metaimage"
    modality          DICOM modality ("MR"), None if unknown
    sequence          series' weighting or sequence as far as the header tells ("T2", "T1", "DWI", "ADC"), None if unknown
    manufacturer      scanner maker, None if unknown
    field_strength_t  tesla; repetition_time_ms, echo_time_ms  milliseconds; None if unknown
    file_sha256       SHA-256 of every file read, in reading order
    identity          salted digests of patient ID, birth date and sex: to compare two scans in memory, never written
    skipped           what lay beside the scan and was not used, kind -> count
    """

    format: str
    modality: str | None = None
    sequence: str | None = None
    manufacturer: str | None = None
    field_strength_t: float | None = None
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    file_sha256: tuple[str, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict, repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Timepoint:
    """One visit of the patient.

    image        SimpleITK.Image, 3-D float32, scanner intensity; LPS, mm
    mask         SimpleITK.Image, uint8 {0, 1} on the image's grid: the tumour before treatment, the tumour bed (whole original
                 site with residual tumour and fibrosis) after it; None if nobody has drawn it yet
    residual     SimpleITK.Image, uint8 {0, 1} on the image's grid, post only: residual viable tumour; may be empty (complete
                 response); None if nobody has drawn it
    mask_source  "drawn" by a person, AUTOMATIC or EDITED, "carried" from the other scan as a suggestion, or None without a mask
    residual_source  the same of residual; None: drawn, if it is there
    programs     "pre" or "post" (mask), "residual" -> what drew it, as io.drawings.program_of; those that a program drew
    probability  SimpleITK.Image, float32, 0 to 1, on the image's grid: of every voxel, by the program that drew mask; None if there is none
    frame_uid    DICOM Frame of Reference UID, None if unknown
    acquired     date of the scan, None if unknown
    facts        what the header said
    notices      warnings found while reading
    """

    image: sitk.Image
    mask: sitk.Image | None = None
    residual: sitk.Image | None = None
    mask_source: str | None = None
    residual_source: str | None = None
    programs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probability: sitk.Image | None = None
    frame_uid: str | None = None
    acquired: date | None = None
    facts: ScanFacts = ScanFacts(format="memory")
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Case:
    """The visits of one patient, oldest first, and clinical values.

    timepoints         two or more Timepoint; the first is before treatment, the last after it
    clinical           clinical values by name (numbers or text)
    complete_response  True if the reader says that no viable tumour is left
    mrtrg              the reader's magnetic resonance tumour regression grade after treatment, 1 (no tumour signal left) to 5 (no regression);
                       None if none was given
    """

    timepoints: tuple[Timepoint, ...]
    clinical: Mapping[str, Any] = field(default_factory=dict)
    complete_response: bool = False
    mrtrg: int | None = None

    @property
    def pre(self) -> Timepoint:
        """The visit before treatment."""
        return self.timepoints[0]

    @property
    def post(self) -> Timepoint:
        """The visit after treatment."""
        return self.timepoints[-1]

    @property
    def interval_days(self) -> int | None:
        """Days from the first to the last visit, None if a date is unknown."""
        if self.pre.acquired is None or self.post.acquired is None:
            return None
        return (self.post.acquired - self.pre.acquired).days


@dataclass(frozen=True)
class Prepared:
    """A case as a network sees it.

    tensor     torch.Tensor, float32, (timepoint 2, channel 2, depth, height, width); timepoints pre, post;
               channels normalised T2, soft ROI in [0, 1]
    grid       SimpleITK.Image, uint8 zeros: the crop grid in the pre scan's space (LPS, mm) that the tensor's voxels lie on
    parameters how it was made: spec, crop centre, normalisation numbers
    notices    warnings found while preparing
    outlines   name -> torch.Tensor, float32, (timepoint 2, depth, height, width): both ROI channels as other outlines would make
               them (response/uncertainty); empty if nobody asked for them
    """

    tensor: "torch.Tensor"
    grid: sitk.Image
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    outlines: Mapping[str, "torch.Tensor"] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Which places of the pre scan each place of the post scan is compared with, at the finest scale of the maps.

    shares      float16 (block, post token, pre token): each post token's shares over the pre tokens of its own block; a row sums to 1
    tokens      (z, y, x) tokens of the crop, numbered with x fastest; blocks are its slices of tokens, or one block is the whole crop
    grid        SimpleITK.Image, uint8 zeros: the crop grid in the pre scan's space (LPS, mm), a whole number of voxels to each token
    comparison  by what a post token finds its pre tokens: "content" of both images beside position, "position" (and outlines) alone, or the
                "same place"
    members     networks whose shares the mean is of
    """

    shares: "np.ndarray"
    tokens: tuple[int, int, int]
    grid: sitk.Image
    comparison: str
    members: int = 1

    @property
    def sees_image_content(self) -> bool:
        """False if the shares would be the same for other images at the same places."""
        return self.comparison == "content"

    @property
    def stride(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of the crop grid that one token spans."""
        return tuple(size // count for size, count in zip(self.grid.GetSize()[::-1], self.tokens))


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What the network saw of a case, as it is kept beside the result.

    values  float16 (timepoint 2, channel 2, depth, height, width), finite: Prepared.tensor, rounded
    grid    SimpleITK.Image, uint8 zeros: the crop grid in the pre scan's space (LPS, mm)
    """

    values: "np.ndarray"
    grid: sitk.Image


@dataclass(frozen=True)
class Result:
    """What one run found. Everything that is None was not asked for or not possible; a warning says why.

    p_pcr            probability of pathological complete response, 0 to 1 (always P(pCR), never its opposite)
    p_pcr_low, p_pcr_high  smallest and largest P(pCR) over the model's members and over other outlines, p_pcr among them: a range
                     of answers to slightly other questions, not a confidence interval
    spread           where the range comes from: members, member_p_pcr, member_sd, outline_p_pcr (name -> P(pCR)), outlines_left_out
                     (name -> why); see response/uncertainty
    familiarity      how like the model's training cases this one is: light, training_cases, parts; see response/familiarity;
                     None without prediction
    logit            the network's output before the logistic function and recalibration
    threshold        the bundle's locked threshold on p_pcr; at or above it the class is "pCR"
    predicted_class  "pCR" or "non-pCR"; None with a carried tumour bed, which nobody drew
    measures         name with unit -> number or None (pre_volume_ml, volume_change_percent, ...)
    response         lesion-level classes of the change in size and volume, see imaging/response_scales; empty without both masks
    features         "pre", "post", "residual", "change" -> intensity and shape features by name with unit, see imaging/features
    mrtrg            the reader's own grade, as it was given; never computed
    registration     name with unit -> number or text (method, mutual_information_before_nats, rotation_deg, ...)
    warnings         notices of every step
    images           name -> SimpleITK.Image; keys are the names of the files written (io/results.ALL_IMAGE_FILES)
    transform        SimpleITK transform, pre LPS -> post LPS, mm: resamples post onto pre's grid
    model            the bundle's public facts (name, version, weights_sha256, intended_use, trained_on, card, ...), None without prediction;
                     members_used 1 if the first member of an ensemble answered alone
    map_facts        for each map: formula, unit, resolution_mm, sees_image_content, scale_top (the maps of one method share it) and what else
                     has to be said of it (response/attribution)
    correspondence   which places before treatment each place after it is compared with; None without the step "explain" or where there is none
    no_correspondence  why there is none although maps were made
    network_input    what the network saw, so that it can be asked again; None without the step "explain"
    history          one entry a step: {"step": name, "parameters": {...}, "seconds": wall time}
    interval_days    days between the scans, None if unknown
    mask_sources     {"pre": "drawn", "post": "carried", "residual": "stated"}: "drawn" by a person, AUTOMATIC, EDITED, "carried" over from the
                     pre scan, "stated" (no mask, but a reader says that no viable tumour is left), None without any of these
    mask_programs    the same keys, of masks that a program drew -> what drew it, as io.drawings.program_of
    """

    p_pcr: float | None = None
    p_pcr_low: float | None = None
    p_pcr_high: float | None = None
    spread: Mapping[str, Any] = field(default_factory=dict)
    familiarity: Mapping[str, Any] | None = None
    logit: float | None = None
    threshold: float | None = None
    predicted_class: str | None = None
    measures: Mapping[str, float | None] = field(default_factory=dict)
    response: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    mrtrg: int | None = None
    registration: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Notice, ...] = ()
    images: Mapping[str, sitk.Image] = field(default_factory=dict)
    transform: sitk.Transform | None = None
    model: Mapping[str, Any] | None = None
    map_facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    correspondence: Correspondence | None = None
    no_correspondence: str | None = None
    network_input: NetworkInput | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    interval_days: int | None = None
    mask_sources: Mapping[str, str | None] = field(default_factory=dict)
    mask_programs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
