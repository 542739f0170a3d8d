"""Every default, in one frozen dataclass a job, with its unit and its reason. Saved beside each result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

STEPS = ("align", "masks", "predict", "explain", "report")
"""The steps a job may name, in the order in which they run."""

REGISTRATION_METHODS = ("none", "rigid", "affine", "deformable")
BIAS_CORRECTIONS = ("off", "fast", "full")
DEVICES = ("auto", "cpu", "cuda", "mps")
ROLES = ("pre", "post")
"""Which scan of the pair one is."""
MEMBERS = ("all", "first")
"""Which members of an ensemble answer."""


EXPLAIN_METHODS = ("attention", "change", "gradcam", "relevance", "integrated_gradients", "expected_gradients", "occlusion", "roi_shells", "counterfactual",
                   "guided_gradcam", "null")
"""Methods that make maps (response/attribution), in the order in which they are listed and shown."""

NATIVE_METHODS = ("attention", "change")
"""Those that every run with the step "explain" makes: the network's own. A model whose own tests a method won (io/judged_maps) adds that one."""


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
    max_table_bytes: int = 64 * 1024**2           # of a cohort table
    max_table_rows: int = 100_000
    max_table_columns: int = 500
    max_cell_characters: int = 4096               # a path fits
    max_table_problems: int = 200                 # refusals listed; the rest are counted
    min_mask_voxels: int = 10
    small_mask_ml: float = 1.0                    # below: warning
    max_mask_components: int = 1                  # above: warning
    min_mask_slices: int = 3                      # drawn on; fewer: warning
    max_mask_gaps: int = 0                        # slices left out between others that are drawn on; more: warning
    warn_outside_body_fraction: float = 0.05      # of a mask in the air around the patient; above: warning
    max_outside_body_fraction: float = 0.5        # above: refused
    max_growth_ratio: float = 2.0                 # volume after treatment over that of the tumour before it; above: warning
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
    outline_step_mm: float = 2.0                  # how far outlines are moved for the range; readers who draw rectal tumours on T2 differ by
                                                  # about this much along the border
    explain_methods: tuple[str, ...] = NATIVE_METHODS   # maps of the step "explain"; the native ones are always made
    members: str = "all"                          # "first": the first member of an ensemble alone; faster, and the range knows one member only
    device: str = "auto"
    seed: int = 0
    threads: int = 0                              # of the image filters; 0: what ITK chooses
    limits: GateLimits = GateLimits()


@dataclass(frozen=True)
class OutlineErrorConfig:
    """Poor outlines in training, so that a network does not lean on exact ones (two readers' outlines after treatment overlap with Dice 0.36:
    SCIENCE 8).

    A case gets them with the same probability whatever its outcome, apart from the dynamic rule: otherwise a poor outline itself would tell the class.
    Pairs are (pre, post).

    probability     that both outlines of a case are poor, times a ramp that rises linearly to 1 over ramp_epochs
    carried         share of those cases whose tumour bed is the tumour's outline carried over, as where nobody drew the bed
    shift_sd_mm     standard deviation of the outline's place, each in-plane axis, normal
    size            the outline is up to this factor larger or smaller in plane, log-uniform
    dropped_slices  largest number of the crop's slices missing at either end, uniform from 0; an outline never loses all of its slices
    """

    probability: float = 0.5
    ramp_epochs: int = 12
    carried: float = 0.25
    shift_sd_mm: tuple[float, float] = (1.5, 3.6)
    size: tuple[float, float] = (1.2, 1.5)
    dropped_slices: tuple[int, int] = (1, 3)


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of training crops; uniform draws are within plus or minus the value, standard deviations are of normal draws.

    The dynamic rule, for flip to noise_sd: a case is augmented with probability_minority or probability_majority, by its class, times a ramp
    that rises linearly to 1 over ramp_epochs. The paper names such a rule; this form is ours (SCIENCE 3.6). gamma to slice_drop_probability
    come with that ramp in both classes alike, because they are plain to see, and outlines with a ramp of their own.

    flip                 probability of a left-right flip of both visits
    rotation_deg         of both visits, in plane, uniform
    scale                of both visits, in plane, uniform around 1
    shift_mm             of both visits, in plane, uniform
    misplaced_mm         of each visit alone, in plane, uniform; misplaced_deg likewise
    misplaced_slices     of each visit alone, through plane, in slices, uniform
    roi_shift_mm         of each visit's ROI alone, in plane, uniform
    roi_scale            of each visit's ROI alone, in plane around its centroid, uniform around 1
    roi_dropout          probability that one visit's ROI is empty
    gain_sd, offset_sd   of each visit's intensities (log gain, z-score units)
    noise_sd             of each visit, largest standard deviation, z-score units
    gamma                range of the exponent, log-uniform, of a gamma correction of one visit, with gamma_probability
    bias_field_sd        of the terms of the log of a bias field over one visit, with bias_field_probability
    blur_sigma_mm        largest sigma, uniform from 0, of an in-plane Gaussian over one visit, with blur_probability
    slice_drop_probability   that one slice of a visit's scan is lost
    outlines             poor outlines, as of readers who disagree
    """

    probability_minority: float = 0.9
    probability_majority: float = 0.5
    ramp_epochs: int = 10
    flip: float = 0.5
    rotation_deg: float = 12.0
    scale: float = 0.1
    shift_mm: float = 4.0
    misplaced_mm: float = 2.0
    misplaced_deg: float = 2.0
    misplaced_slices: float = 0.5
    roi_shift_mm: float = 1.5
    roi_scale: float = 0.12
    roi_dropout: float = 0.02
    gain_sd: float = 0.04
    offset_sd: float = 0.04
    noise_sd: float = 0.10
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_probability: float = 0.2
    bias_field_sd: float = 0.1
    bias_field_probability: float = 0.2
    blur_sigma_mm: float = 1.0
    blur_probability: float = 0.2
    slice_drop_probability: float = 0.1
    outlines: OutlineErrorConfig = OutlineErrorConfig()


UNPERTURBED = {"gamma_probability": 0.0, "bias_field_probability": 0.0, "blur_probability": 0.0, "slice_drop_probability": 0.0,
               "outlines": OutlineErrorConfig(probability=0.0)}
"""Settings of AugmentationConfig that switch off what does not follow the dynamic rule, and what trainings before it existed were done without."""


@dataclass(frozen=True)
class LossConfig:
    """The training loss (SCIENCE 3.5): class-balanced focal + weighted regularisers; contrastive weights ramp up from 0.

    gamma              focal exponent
    beta               class balance; None: 0.99 with balanced batches, 0.999 without (more would correct the frequency twice)
    auxiliary_weight   decoding of token intensities, where the network has it
    response_weight    supervised contrast of the change embeddings (same outcome attracts)
    responders_only    only complete responders attract each other
    identity_weight    contrast of both visits' anatomy against other patients
    gate_weight        budget of change gates, where the network has them; gate_budget their wanted mean
    temperature        of both contrasts
    queue              detached embeddings of earlier batches of the same fold that contrast is taken against
    ramp_epochs        over which both contrastive weights rise linearly from 0
    """

    gamma: float = 1.0
    beta: float | None = None
    auxiliary_weight: float = 0.5
    response_weight: float = 0.1
    responders_only: bool = False
    identity_weight: float = 0.05
    gate_weight: float = 0.01
    gate_budget: float = 0.3
    temperature: float = 0.1
    queue: int = 128
    ramp_epochs: int = 5


@dataclass(frozen=True)
class TrainingConfig:
    """One training of one network (SCIENCE 3.6).

    epochs, warmup_epochs  linear warm-up, then a cosine down to 1e-6
    batch_size             with balanced: half of each class, an epoch goes once through the larger class
    learning_rate          of head and comparison; each encoder stage below has layer_decay times the one above
    weight_decay           none on norms, biases, positions, scales, latents
    ema_decay              of the averaged weights that are validated and kept; 0: none
    monitor                "f1", "auc" or "nll" of the inner validation cases, smoothed by smoothing (share of the past)
    patience               epochs without a better monitor; from 20, because nothing may happen for a dozen epochs
    precision              "auto" (bfloat16 on a GPU that has it), "32-true" or "bf16-mixed"
    """

    epochs: int = 100
    warmup_epochs: int = 5
    batch_size: int = 16
    balanced: bool = True
    learning_rate: float = 3e-4
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    monitor: str = "f1"
    smoothing: float = 0.6
    patience: int = 20
    precision: str = "auto"
    seed: int = 0
    loss: LossConfig = LossConfig()
    augmentation: AugmentationConfig = AugmentationConfig()


@dataclass(frozen=True)
class PretrainingConfig:
    """Temporal order and masked reconstruction without outcomes (BSTNet's idea; SCIENCE 3.6).

    masked_share           of the tokens inside the ROI whose image is hidden and has to be decoded
    reconstruction_weight  beside the order loss
    """

    epochs: int = 50
    masked_share: float = 0.3
    reconstruction_weight: float = 0.5


@dataclass(frozen=True)
class ValidationConfig:
    """How out-of-fold scores come about.

    folds, repeats        repeated stratified folds; a patient is never in two
    inner_fraction        of each fold's training cases, kept aside for early stopping
    seeds                 one network a fold and seed; a case's score is the mean logit
    group                 "centre": whole centres are left out together; "none": every fold sees every centre;
                          "auto": "centre" where there are at least as many centres as folds
    leave_one_centre_out  also train without each centre in turn, and score it
    min_events            of the rarer outcome among the training cases; fewer are refused
    """

    folds: int = 5
    repeats: int = 1
    inner_fraction: float = 0.15
    seeds: tuple[int, ...] = (0, 1, 2)
    group: str = "auto"
    leave_one_centre_out: bool = True
    min_events: int = 10


@dataclass(frozen=True)
class ThresholdConfig:
    """How the locked threshold is chosen on recalibrated out-of-fold scores (SCIENCE 3.7).

    rule         "youden", "specificity" (smallest threshold whose specificity is at least `specificity`) or "cost"
    cost_ratio   harm of a wrong "pCR" over the harm of a wrong "non-pCR"
    prevalence   share of pCR where the model will be used; None: that of the training cases
    """

    rule: str = "youden"
    specificity: float = 0.95
    cost_ratio: float = 1.0
    prevalence: float | None = None


START_PARTS = ("all", "stages")
"""Which weights of a pretraining a training wants: see StudyConfig."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and its own settings (keyword arguments of the network, or of the tabular model)."""

    name: str = "deltanet"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyConfig:
    """One `mrdeltanet train`, `pretrain` or `ablate`: what CONFIG.toml says. Relative paths are relative to that file.

    cohort      the table; cache: folder of prepared crops; out: folder of everything that is written
    start       weights of an earlier `mrdeltanet pretrain` (safetensors), None: from random ones
    start_parts "all": they are of this very network; "stages": of one with the same stages below the head, another comparison begins at random
    accelerator "auto", "cpu", "cuda"; devices: how many (more than one: DDP)
    workers     processes that prepare cases; threads: 0 what torch chooses
    """

    cohort: Path
    cache: Path
    out: Path
    name: str = "model"
    start: Path | None = None
    start_parts: str = "all"
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 1
    threads: int = 0
    model: ModelConfig = ModelConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    registration: RegistrationConfig = RegistrationConfig()
    training: TrainingConfig = TrainingConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    threshold: ThresholdConfig = ThresholdConfig()


@dataclass(frozen=True)
class EndpointConfig:
    """One endpoint of follow-up.

    time, event  columns: time from the start to event or last visit, and 1 if the event happened then, 0 if not
    unit         of the time, for axes and tables
    groups       columns whose groups are compared beside predicted and true pCR; the first is told at survival.<endpoint>.km
    covariates   columns of the Cox models, each alone and all together
    times        at which survival is told; empty: five even marks of the follow-up
    landmark     time at which follow-up starts to count (surgery): who had the event or left before is left out; None: 0
    """

    time: str
    event: str
    unit: str = "days"
    groups: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    landmark: float | None = None


@dataclass(frozen=True)
class TableOneConfig:
    """Table 1.

    by          column whose groups stand side by side; None: the outcome in every set, and the sets of all cases
    variables   columns, in this order; empty: every clinical column
    categorical columns of numbers that are categories in this table; one where texts stand among numbers is then a category everywhere
    """

    by: str | None = None
    variables: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationConfig:
    """One `mrdeltanet evaluate`: what EVAL.toml says.

    id, outcome, centre, set  columns
    positive      value of the outcome that counts as pCR; None: 1, true or yes
    probabilities columns of P(pCR); None: every column that starts with "p_", but for the ranges p_x_low and p_x_high beside a p_x
    scores        further columns that rank cases and are no probabilities: discrimination and comparison only
    model         the score that the study is about; None: p_pcr, else the first
    keep          column -> values: only these rows are evaluated, the rest is counted in the flow diagram
    excluded      column that says in words why a case is left out; empty: it is not
    main_set      told at the top of evaluation.json; None: external, else internal, else the first that is not train_set; "all" without a set column
    train_set     the cases that the model learned from
    threshold     the locked one, of the model's score; None: none was locked, and the page says so
    specificities at which sensitivity is told
    cost_ratio    harm of a wrong "pCR" over the harm of a wrong "non-pCR", as in config.ThresholdConfig
    thresholds    low, high and step of decision curves
    subgroups     columns whose groups are told apart; None: centre, scanner, sex, age and stage where there are such columns
    cuts          column of numbers -> where it is cut into groups; without it at the median
    covariates    columns of the logistic regressions, each alone and all together; empty: every clinical column
    references    column -> the level that others are compared with; without it the first in alphabetical order
    endpoints     name -> follow-up; empty: every pair <name>_time_months and <name>_event of the cohort table
    table_one     see TableOneConfig
    bootstrap     samples; seed: of everything that is drawn
    study         what the software cannot know, for the reporting aids: item -> text
    """

    id: str = "id"
    outcome: str = "outcome"
    centre: str = "centre"
    set: str = "set"
    positive: str | None = None
    probabilities: tuple[str, ...] | None = None
    scores: tuple[str, ...] = ()
    model: str | None = None
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: str | None = None
    main_set: str | None = None
    train_set: str = "train"
    threshold: float | None = None
    specificities: tuple[float, ...] = (0.90, 0.95)
    cost_ratio: float = 1.0
    thresholds: tuple[float, float, float] = (0.01, 0.99, 0.01)
    subgroups: tuple[str, ...] | None = None
    cuts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    covariates: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointConfig] = field(default_factory=dict)
    table_one: TableOneConfig = TableOneConfig()
    bootstrap: int = 2000
    seed: int = 0
    study: Mapping[str, str] = field(default_factory=dict)
