"""The six steps, one file each: what a step shows and asks. What it starts is the sitting's work."""
