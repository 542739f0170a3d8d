"""Does a map show what the network uses? Tests of every method of explanation on the cases of a table.

    verify.json          what was found, the rule, settings, seeds; written last
    verify.csv, .md      one line a method
    verify.png, .svg     the same as a plot
    pictures/<n>.png     scan, outline and every map of some cases, where pictures were asked for
    parts/<key>/         what was measured of one case, one file a method and kind of test: what a stopped run leaves for the next one
    cache/               prepared crops, unless another cache is named

agreement     two maps of one case: rank correlation, structural similarity
randomising   weights replaced by new ones, stage by stage from the head
ordering      deletion and insertion in the order of a map, and in random orders
truth         the planted tumour on the crop: pointing game, energy
steadiness    shifts and other outlines
measuring     one case and one method
judging       the rule: means and intervals over cases, what passes, which map is the default
running       all of it, resumable
telling, letters, figure, pictures   what is written for people
"""

from __future__ import annotations

from MRDeltaNetLib.cohort.verifying.judging import RULE, Verdict
from MRDeltaNetLib.cohort.verifying.running import Settings, Verified, verify_maps

__all__ = ["RULE", "Settings", "Verdict", "Verified", "verify_maps"]
