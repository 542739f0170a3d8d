"""Controls that can prove a model wrong: does it need both scans of this patient, in this order, at this place, or would less do?

selection   which cases may be used for what
changing    the model's own network on changed input: another patient's baseline, swapped visits, a random ROI
training    rivals that are trained for comparison: one visit alone, shuffled labels, volumes, scan headers
story       what the numbers say, in one sentence
figure      all results in one picture
running     run_controls: all of it, resumable
"""

from MRDeltaNetLib.cohort.controls.running import Controls, run_controls
from MRDeltaNetLib.cohort.controls.story import CONTROLS

__all__ = ["CONTROLS", "Controls", "run_controls"]
