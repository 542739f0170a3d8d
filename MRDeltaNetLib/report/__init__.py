"""Reports: one self-contained HTML page for one Result (html.write_report)."""
