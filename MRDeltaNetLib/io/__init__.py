"""Everything that touches a disk: scans, masks, tables, jobs, bundles and results. Nothing else in the library does."""
