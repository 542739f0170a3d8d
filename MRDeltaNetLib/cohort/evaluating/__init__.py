"""Many cases with outcome and follow-up, evaluated as a study would be: one file a section, all called alike (sections.py)."""
