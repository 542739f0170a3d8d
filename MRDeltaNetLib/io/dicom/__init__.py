"""DICOM series to images: pydicom parses, our own rules decide what is one volume."""

from MRDeltaNetLib.io.dicom.listing import SeriesFacts, first_file, list_series
from MRDeltaNetLib.io.dicom.scan_header import ScanHeader, own_header, read_scan_header, with_header
from MRDeltaNetLib.io.dicom.series import read_series

__all__ = ["ScanHeader", "SeriesFacts", "first_file", "list_series", "own_header", "read_scan_header", "read_series", "with_header"]
