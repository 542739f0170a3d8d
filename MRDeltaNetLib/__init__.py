"""MRDeltaNet: treatment response from MRI before and after neoadjuvant treatment. Research use only.

Importing this package needs numpy and SimpleITK only; torch, monai and every extra load when first needed.
"""

__version__ = "0.1.0"
