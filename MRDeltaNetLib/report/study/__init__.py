"""Reports of a study: one self-contained HTML page for one Evaluation, and its figures as files (writing.write_study)."""
