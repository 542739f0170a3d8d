"""Steps on images: registration, preprocessing, segmentation, measures, phantom (floor 2)."""
