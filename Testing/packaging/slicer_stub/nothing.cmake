# Slicer writes a package description and sets up CPack here; neither decides which files are installed.
