"""DICOM series to images: pydicom parses, our own rules decide what is one volume."""

from MRDeltaNetLib.io.dicom.listing import SeriesFacts, list_series
from MRDeltaNetLib.io.dicom.series import read_series

__all__ = ["SeriesFacts", "list_series", "read_series"]
