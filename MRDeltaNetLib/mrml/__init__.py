"""3D Slicer's world (MRML, RAS): the only package of the library that imports slicer or vtk."""
