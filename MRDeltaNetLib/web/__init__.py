"""The browser page: the same six steps as the Slicer panel, on the same sitting, shown by trame-slicer. View code only."""
