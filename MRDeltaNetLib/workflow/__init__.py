"""The six steps that a person walks, shared by every door with a face: what is done, what to do next, what may run and why not.

A door gathers what it knows into a `Situation` and asks `look`. Nothing here computes a result, keeps a state or knows a window.
"""

from MRDeltaNetLib.redaction import own_names, redacted
from MRDeltaNetLib.workflow.changes import PARTS, TOLD_ONLY, alignment_is_stale, changed, fingerprint, header_facts, image_digest, key_of, transform_digest
from MRDeltaNetLib.workflow.maps import (OFFERED, MapGroup, MapLine, map_described, map_groups, map_label, method_groups, shown_by_itself,
                                         why_none_by_itself, why_not_more)
from MRDeltaNetLib.workflow.scans import Findings, check_scans, interval_text
from MRDeltaNetLib.workflow.situation import Model, Outline, Prediction, Situation
from MRDeltaNetLib.workflow.steps import STEPS, Step, StepState, StepView, job_steps, look, next_step, why_not_carry

__all__ = ["OFFERED", "PARTS", "STEPS", "TOLD_ONLY", "Findings", "MapGroup", "MapLine", "Model", "Outline", "Prediction", "Situation", "Step", "StepState", "StepView",
           "alignment_is_stale", "changed", "check_scans", "fingerprint", "header_facts", "image_digest", "interval_text", "job_steps", "key_of", "look",
           "map_described", "map_groups", "map_label", "method_groups", "next_step", "own_names", "redacted", "shown_by_itself", "transform_digest",
           "why_none_by_itself", "why_not_carry", "why_not_more"]
