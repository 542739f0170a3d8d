"""The six pages of the panel, one file each. A page shows and asks; what it starts is the logic's work."""
