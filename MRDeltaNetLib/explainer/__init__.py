"""More maps for a finished run, by its folder: the network is asked again about what it saw.

A result names no scan, so everything comes from the folder: the network's input (io/network_input), the grids of both scans from the native maps,
the alignment. Only the model has to be at hand, and it must be the very one. Each method's maps are added when they are done, so that a
stopped command goes on where it was; report and scene follow at the end.

asking     which methods, of which model, and their maps
renewing   report.html and scene.mrb with the maps that were added
"""

from MRDeltaNetLib.explainer.asking import ALL, OFFERED, Explained, explain_result

__all__ = ["ALL", "OFFERED", "Explained", "explain_result"]
