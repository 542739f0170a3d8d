"""One sitting with a pair of scans in an MRML scene, shared by every door with a face.

    choices    what a person chose and which nodes the steps left
    runs, jobs the Sitting: starts runs in child processes and brings their results in; what it asks them for
    inputs, reading, look, standing   what the scene holds, one look at it, and what that means for the steps
    outlining, aligning, mapping, asking, belonging, results   what happens to outlines, alignment, maps, points and results
    drawing    outlines that nnU-Net draws
    further    further maps of the prediction that is shown
    sample     the simulated pair
    diagnostics   what a person who helps needs to know
    keeping, leaving   a case folder; a scan that leaves the scene
    folder     the files of the sitting
"""

from MRDeltaNetLib.mrml.sitting.choices import Choices
from MRDeltaNetLib.mrml.sitting.runs import Door, Run, Sitting

__all__ = ["Choices", "Door", "Run", "Sitting"]
