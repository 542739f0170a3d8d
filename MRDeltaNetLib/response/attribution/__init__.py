"""Which places of both scans the answer rests on: one file a method, one registry, one form of answer.

    attribute("gradcam", network, x) -> Attribution: maps of both visits on the crop's voxels, and what has to be said with them

Every method is a function of (network, x) alone: the same network and input give the same map, no file is read or written, and network
and input are as before afterwards. PyTorch (and captum, for integrated gradients) load when a method is asked for.

registry              METHODS, attribute, why_not
showing               maps of both visits on one scale, with what has to be said of each
readout               what the network's logit means: P(pCR), the side of the threshold
native                attention, change: the network's own pooling weights and change, no gradient
gradcam               Grad-CAM of each visit at the convolutional stage
guided_gradcam        the paper's own; for comparison only
relevance, watching   transformer relevance through every attention
integrated_gradients  with captum
expected_gradients    gradients where random parts are in-painted, averaged over small shifts
occlusion             blocks in millimetres, in-painted
roi_shells            tumour, its 8 mm shell, elsewhere
counterfactual        the tumour bed as fibrosis
null                  outline and position alone: what every map must beat
regions, inpainting   what stands around an outline, in mm; what is put in the place of what is taken away
"""

from MRDeltaNetLib.response.attribution.readout import Attribution, Readout
from MRDeltaNetLib.response.attribution.registry import METHODS, Method, attribute, missing_package, why_not
from MRDeltaNetLib.response.attribution.showing import shown

__all__ = ["METHODS", "Attribution", "Method", "Readout", "attribute", "missing_package", "shown", "why_not"]
