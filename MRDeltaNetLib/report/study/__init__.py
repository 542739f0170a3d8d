"""Reports of a study: one self-contained HTML page for one Evaluation, and its figures as files (write_study)."""

from MRDeltaNetLib.report.study.writing import write_study

__all__ = ["write_study"]
