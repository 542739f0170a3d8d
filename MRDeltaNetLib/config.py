"""Every default, in one frozen dataclass a job, with its unit and its reason. Saved beside each result."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = ("align", "masks", "predict", "explain", "report")
"""The steps a job may name, in the order in which they run."""

REGISTRATION_METHODS = ("none", "rigid", "affine", "deformable")
BIAS_CORRECTIONS = ("off", "fast", "full")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class GateLimits:
    """What the gate lets through. Sizes protect the machine; spacings protect the meaning."""

    max_voxels_per_axis: int = 2048
    max_voxel_bytes: int = 4 * 1024**3            # after decompression
    max_header_bytes: int = 1024**2
    min_voxels_per_axis: int = 8                  # in plane
    min_slices: int = 5                           # fewer cannot be registered through plane
    min_spacing_mm: float = 0.05
    max_spacing_mm: float = 20.0
    thick_slice_mm: float = 6.0                   # above: warning
    max_slice_mm: float = 10.0                    # above: refused
    warn_anisotropy: float = 10.0                 # slice thickness over in-plane spacing; above: warning
    min_extent_mm: float = 30.0                   # a pelvis scan is larger in every direction
    max_origin_mm: float = 5000.0
    direction_tolerance: float = 1e-3             # |det| and orthonormality
    max_nan_fraction: float = 0.01                # above: refused; below: filled with the smallest finite value and counted
    max_abs_intensity: float = 1e6                # above: warning
    slice_gap_tolerance: float = 0.01             # fraction of the gap, or 0.01 mm if that is larger
    max_files: int = 5000                         # in one DICOM folder
    max_file_bytes: int = 4 * 1024**3             # of one DICOM file
    max_dicom_header_bytes: int = 128 * 1024**2   # everything before the pixel data; a 10 000-frame header takes about 50 MiB
    max_element_bytes: int = 64 * 1024**2         # one DICOM element other than the pixel data
    max_sequence_depth: int = 16                  # DICOM sequences inside sequences; real headers stay below 8
    max_json_bytes: int = 1024**2
    min_mask_voxels: int = 10
    small_mask_ml: float = 1.0                    # below: warning
    max_mask_components: int = 1                  # above: warning
    min_overlap_fraction: float = 0.5             # of the smaller field of view after alignment; below: refused
    warn_overlap_fraction: float = 0.8
    min_interval_days: int = 14                   # outside: warning
    max_interval_days: int = 365


@dataclass(frozen=True)
class RegistrationConfig:
    """Alignment of post to pre (SCIENCE 6.2)."""

    method: str = "rigid"                         # "none", "rigid", "affine", "deformable"
    histogram_bins: int = 50                      # Mattes mutual information
    samples_per_level: tuple[int, int, int] = (6000, 12000, 12000)   # voxels looked at; more costs time and lowers no error
    iterations: int = 200                         # per level
    exclusion_margin_mm: float = 10.0             # the tumour grown by this is left out when masks exist
    max_rotation_deg: float = 30.0                # above: refused
    warn_rotation_deg: float = 15.0
    max_volume_change_percent: float = 10.0       # of the tumour, introduced by the transform; above: refused
    min_similarity_gain_percent: float = -20.0    # mutual information after against before; below: refused (scans that lay on each
                                                  # other already lose up to 10 % by interpolation alone)
    min_mutual_information_nats: float = 0.05     # after alignment; below: the scans do not match
    min_similarity_peak: float = 2.0              # mutual information after, over that 20 mm aside; below: the scans do not match
    warn_similarity_peak: float = 3.0             # (one patient, one weighting: 6.6 and more; brain and pelvis, MR and CT, simulated
                                                  # pelvis and brain, two people's heads: 0.7 to 1.9; two people's pelvises: 2.3 and more)


@dataclass(frozen=True)
class PreprocessingConfig:
    """From aligned scans to network input (SCIENCE 7). A model bundle's own values always rule."""

    spacing_mm: tuple[float, float, float] = (0.75, 0.75, 3.0)   # x, y, z
    crop_mm: tuple[float, float, float] = (96.0, 96.0, 72.0)     # x, y, z; centred on the tumour
    bias_correction: str = "off"
    clip_percentiles: tuple[float, float] = (0.5, 99.5)          # inside the body minus the grown tumour
    exclusion_margin_mm: float = 10.0                            # the tumour grown by this does not enter the z-score
    roi_sigma_mm: float = 1.5                                    # in-plane softening of the ROI channel


@dataclass(frozen=True)
class RunConfig:
    """One run of the main job."""

    steps: tuple[str, ...] = STEPS
    registration: RegistrationConfig = RegistrationConfig()
    bias_correction: str | None = None            # None: what the bundle was trained with
    device: str = "auto"
    seed: int = 0
    threads: int = 0                              # 0: what the libraries choose
    limits: GateLimits = GateLimits()
