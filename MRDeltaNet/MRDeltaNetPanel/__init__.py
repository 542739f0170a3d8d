"""The pages of the MRDeltaNet panel and what they share. A package, because Slicer takes every .py beside a module for a module.

parameters  the user's choices, kept in the scene
choices     the same as the library's sitting reads and writes them
packages    which Python packages prediction needs, and how they are installed
headers     the DICOM header of a volume that came from Slicer's DICOM database
logic       the panel's work without a window: Slicer's class over a sitting of the library
views       the two linked slice views, their layers, blend, flicker and checkerboard
following   the module's widget: runs, followed to their end
watching    the module's widget: what happens in the scene
editor      Slicer's Segment Editor inside the panel
sample      the simulated sample pair
pages/      one file a page
selftest    the walk that Slicer's self-test makes
"""
