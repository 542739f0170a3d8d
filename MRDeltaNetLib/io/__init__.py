"""Everything that touches a disk, and nothing else does."""
