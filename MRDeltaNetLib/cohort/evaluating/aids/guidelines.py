"""What five reporting guidelines ask for, topic by topic in words of ours; the guidelines' own texts are in the papers named.

A line: item | topic | key of [study] in the settings where its author may answer | what the software knows of it (answers.py), if anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One item. item: its number in the guideline; study: key of the author's answer; known: names in answers.ANSWERS."""

    item: str
    topic: str
    study: str
    known: tuple[str, ...]


TRIPOD = """
1 | Title: a model is developed or evaluated, for whom and for what outcome | title |
2 | Abstract | abstract |
3a | Medical context, and why a model is wanted | background |
3b | Target population, purpose, and who shall use the model where in the pathway | intended_use |
3c | Known health inequalities between groups | inequalities |
4 | Objectives: development, evaluation or both | objectives |
5a | Sources of the data, and whether they represent the target population | data_source | simulated centres
5b | Dates of accrual and end of follow-up | dates |
6a | Setting: number and place of centres | setting | centres
6b | Eligibility criteria | eligibility | kept
6c | Treatments received | treatments |
7 | Preparation of the data, and whether it was alike in all groups | preprocessing |
8a | Outcome: definition, time of assessment, why this one | outcome_definition | outcome
8b | Outcome assessors, where judgement is needed | readers |
8c | Blinding of the outcome's assessment | blinding |
9a | Choice of the first set of predictors | predictors |
9b | Definition and measurement of every predictor | predictors | clinical
9c | Predictor assessors, where judgement is needed | readers |
10 | Sample size: how it was arrived at, and whether it is enough | sample_size | events
11 | Missing data: how they were handled | missing_data | missing
12a | Which data were used for development and which for evaluation | partition | sets
12b | Handling of predictors: form, scale, transformation | preprocessing |
12c | Type of model, building steps, hyper-parameters, internal validation | model |
12d | How differences between clusters such as centres are handled and measured | heterogeneity | subgroups
12e | Measures and plots of performance, and why these | measures | measures uncertainty
12f | Updating of the model, such as recalibration | updating |
12g | In evaluation, how predictions were calculated | predictions | threshold
13 | Class imbalance: what was done, and recalibration after it | imbalance | prevalence
14 | Fairness: what was done about it, and why | fairness | subgroups
15 | Output of the model, and how classes come from it | output | scores threshold
16 | Differences between development and evaluation data | differences | differences
17 | Ethical approval and consent | ethics |
18a | Funding and the role of funders | funding |
18b | Conflicts of interest | conflicts |
18c | Where the protocol is | protocol |
18d | Registration | registration |
18e | Availability of the data | data_sharing |
18f | Availability of the analysis code | code_sharing | software
19 | Involvement of patients and the public | patient_involvement |
20a | Flow of participants, with and without the outcome; follow-up | flow | flow follow_up
20b | Characteristics of participants, overall and by group or setting | characteristics | table_one missing
20c | Comparison of important predictors between development and evaluation | differences | differences
21 | Participants and events in every analysis | analysed | analysed
22 | The full model, so that others can predict with it | model_sharing |
23a | Performance with intervals, and in key subgroups | performance | performance calibration
23b | Differences of performance between clusters | heterogeneity | heterogeneity
24 | Results of updating the model | updating | recalibration
25 | Interpretation, with fairness and earlier studies | interpretation |
26 | Limitations and their effects | limitations |
27a | In use: what is done about poor or missing input | usability |
27b | In use: what users have to do and to know | usability |
27c | Next steps, applicability and generalisability | future |
"""

CLAIM = """
1 | Title: a study of AI, with the kind of technology | title |
2 | Abstract | abstract |
3 | Background, intended use and clinical role | background |
4 | Aims and hypotheses | objectives |
5 | Prospective or retrospective | design |
6 | Goal of the study | objectives |
7 | Data sources | data_source | simulated centres
8 | Inclusion and exclusion: criteria, place, dates | eligibility | kept
9 | Preprocessing | preprocessing |
10 | Selection of subsets of the data | subsets | kept
11 | De-identification | deidentification |
12 | Missing data | missing_data | missing
13 | Image acquisition protocol | imaging_protocol |
14 | How the reference standard was obtained | outcome_definition | outcome
15 | Why this reference standard | outcome_definition |
16 | Source of its annotations; qualification and training of annotators | readers |
17 | Annotation of the test set | readers |
18 | Variability within and between annotators | inter_reader |
19 | How data were assigned to partitions | partition | sets
20 | Level at which partitions are disjoint | partition | disjoint
21 | Intended sample size | sample_size | events
22 | Detailed description of the model | model |
23 | Software libraries and packages | software | software
24 | Initialisation of the model | initialisation |
25 | Training: augmentation, hyper-parameters, number of models | training |
26 | How the final model was selected | model_selection |
27 | Ensembling | ensembling |
28 | Metrics of performance | measures | measures
29 | Measures of significance and uncertainty | uncertainty | uncertainty
30 | Robustness and sensitivity analysis | robustness | heterogeneity
31 | Explainability | explainability |
32 | Evaluation on internal data | internal_test | internal
33 | Testing on external data | external_test | external
34 | Registration of a clinical trial | registration |
35 | Patients and examinations included and excluded: flow diagram | flow | flow
36 | Demographic and clinical characteristics in every partition | characteristics | table_one
37 | Performance with uncertainty, on every partition | performance | performance
38 | Diagnostic performance and its precision | performance | operating
39 | Analysis of failures | failures |
40 | Limitations | limitations |
41 | Implications for practice | interpretation |
42 | Where protocol and further technical details are | protocol |
43 | Availability of software, model and data | code_sharing | software
44 | Funding and the role of funders | funding |
"""

PROBAST = """
Development: participants | Sources and design of the data; inclusion and exclusion; whether they represent those the model is for | data_source | simulated kept
Development: predictors | Definition and assessment alike in all; without knowledge of the outcome; available when the model is used | predictors | clinical
Development: outcome | Definition and assessment alike in all; without predictors in it; time between predictors and outcome | outcome_definition | outcome
Development: sample size | Enough participants with the outcome | sample_size | events
Development: missing data | Participants without values | missing_data | missing
Development: class imbalance | If it was changed in training, whether probabilities were recalibrated | imbalance | recalibration
Development: overfitting | Whether complexity was limited, and optimism measured in data that were not learned from | overfitting | held_out
Development: model building | Selection of predictors and tuning inside the resampling | training |
Evaluation: participants | Sources and design of the evaluation data; inclusion and exclusion | data_source | simulated sets kept
Evaluation: independence | No participant of the development data among those of the evaluation | partition | disjoint
Evaluation: predictors | Defined and assessed as in development; without knowledge of the outcome | predictors |
Evaluation: outcome | Defined and assessed as in development; without knowledge of predictors | outcome_definition | outcome
Evaluation: sample size | Enough participants with and without the outcome | sample_size | events
Evaluation: all participants | Whether all who were enrolled are analysed; missing values | missing_data | flow missing
Evaluation: censoring | Follow-up that ends before the event | follow_up | follow_up
Evaluation: performance | Discrimination and calibration, both with intervals | performance | performance calibration
Evaluation: usefulness | Net benefit where decisions follow from the model | usefulness | usefulness
Evaluation: thresholds | Whether thresholds were chosen on the very cases | threshold | threshold
Evaluation: groups | Performance in groups that may be treated unequally | fairness | subgroups heterogeneity
Evaluation: applicability | Whether participants, predictors and outcome are those of the question | intended_use |
"""

METRICS = """
1 | A checklist for radiomics or machine learning is followed (weight 0.0368) | checklists |
2 | Eligibility criteria of a representative population (0.0735) | eligibility | kept
3 | Reference standard of high quality, clearly defined (0.0919) | outcome_definition | outcome
4 | Several centres (0.0438) | setting | centres
5 | Imaging that is used in practice (0.0292) | imaging_protocol |
6 | Imaging protocol with its parameters (0.0438) | imaging_protocol |
7 | Interval between imaging and reference standard (0.0292) | interval | interval
8 | Segmentation described (0.0337) | segmentation |
9 | Fully automatic segmentation evaluated formally (0.0225) | segmentation |
10 | Masks of the test set by one reader or tool, as in use (0.0112) | segmentation |
11 | Preprocessing fitting and described (0.0622) | preprocessing |
12 | Standardised software for feature extraction (0.0311) | features |
13 | Parameters of feature extraction (0.0415) | features |
14 | Features that are not robust removed (0.0200) | features |
15 | Redundant features removed (0.0200) | features |
16 | Number of features in proportion to the data (0.0300) | features |
17 | Robustness of an end-to-end network (0.0200) | robustness |
18 | Data partitioned properly (0.0599) | partition | sets disjoint
19 | Confounders handled (0.0300) | confounders | logistic
20 | Measures of performance that fit the task (0.0352) | measures | measures
21 | Uncertainty (0.0234) | uncertainty | uncertainty
22 | Calibration (0.0176) | calibration | calibration
23 | One kind of image, or proof that one is not enough (0.0117) | imaging_protocol |
24 | Comparison with what is no radiomics, or proof of added value (0.0293) | comparison | comparison fusion
25 | Comparison with simple statistical models (0.0176) | comparison | comparison
26 | Internal testing (0.0375) | internal_test | internal
27 | External testing (0.0749) | external_test | external
28 | Data available (0.0075) | data_sharing |
29 | Code available (0.0075) | code_sharing | software
30 | Model available (0.0075) | model_sharing |
"""

CLEAR = """
1 | Title that names the radiomic method | title |
2 | Structured summary | abstract |
3 | Keywords | keywords |
4 | Background | background |
5 | Why radiomics | background |
6 | Objectives | objectives |
7 | Guidelines and checklists followed | checklists |
8 | Ethics: approval, consent, data protection | ethics |
9 | Sample size | sample_size | events
10 | Nature of the study | design |
11 | Eligibility | eligibility | kept
12 | Flowchart of the technical pipeline | pipeline |
13 | Source of the data | data_source | simulated centres
14 | Overlap with earlier publications | data_overlap |
15 | How data were split | partition | sets disjoint
16 | Imaging protocol | imaging_protocol |
17 | Predictors that are not radiomic | predictors | clinical
18 | Reference standard or outcome | outcome_definition | outcome
19 | Segmentation strategy | segmentation |
20 | Who segmented | readers |
21 | Preprocessing of images | preprocessing |
22 | Resampling | preprocessing |
23 | Discretisation of intensities | features |
24 | Image types: original, filtered, transformed | features |
25 | Feature extraction | features |
26 | Classes of features | features |
27 | Number of features | features |
28 | Defaults of all other parameters | features |
29 | Missing data | missing_data | missing
30 | Class imbalance | imbalance | prevalence
31 | Reliability of segmentation | inter_reader |
32 | Scaling of features | features |
33 | Reduction of dimensions | features |
34 | Algorithm of the model | model |
35 | Training and tuning | training |
36 | Confounders | confounders | logistic
37 | How the model was selected | model_selection |
38 | Testing technique | internal_test | internal external
39 | Measures of performance, and why these | measures | measures
40 | Uncertainty | uncertainty | uncertainty
41 | Statistical comparison of performance | comparison | comparison
42 | Methods of comparison with clinical and combined models | comparison | comparison fusion
43 | Interpretability | explainability |
44 | Baseline characteristics | characteristics | table_one
45 | Flowchart of eligibility | flow | flow
46 | Statistics of features | features |
47 | Performance of the model | performance | performance calibration
48 | Results of comparison with clinical and combined models | comparison | comparison fusion
49 | Main findings | interpretation |
50 | Earlier work | interpretation |
51 | Practical implications | interpretation |
52 | Strengths and limitations | limitations |
53 | Images and segmentations shared | data_sharing |
54 | Feature values shared | data_sharing |
55 | Preprocessing scripts or settings shared | code_sharing |
56 | Code of modelling shared | code_sharing | software
57 | Final model files shared | model_sharing |
58 | A system that is ready to use shared | model_sharing |
"""


def _items(text: str) -> tuple[Item, ...]:
    cells = ([cell.strip() for cell in line.split("|")] for line in text.strip().splitlines())
    return tuple(Item(item, topic, study, tuple(known.split())) for item, topic, study, known in cells)


GUIDELINES = {"TRIPOD+AI": _items(TRIPOD), "CLAIM 2024": _items(CLAIM), "PROBAST+AI": _items(PROBAST), "METRICS": _items(METRICS), "CLEAR": _items(CLEAR)}
"""Guideline -> its items. PROBAST+AI by its domains: its own signalling questions, 16 of development and 18 of evaluation, are in the paper."""

REFERENCES = {"TRIPOD+AI": "Collins and others, BMJ 2024, doi 10.1136/bmj-2023-078378", "CLAIM 2024": "Tejani and others, Radiology: Artificial Intelligence 2024",
              "PROBAST+AI": "Moons and others, BMJ 2025, doi 10.1136/bmj-2024-082505", "METRICS": "Kocak and others, Insights into Imaging 2024, doi 10.1186/s13244-023-01572-w",
              "CLEAR": "Kocak and others, Insights into Imaging 2023, doi 10.1186/s13244-023-01415-8"}
"""Where each guideline was published."""

STUDY_KEYS = tuple(sorted({item.study for items in GUIDELINES.values() for item in items}))
"""Keys of [study] that answer an item of one or more guidelines; beside them, "GUIDELINE ITEM" answers one item alone ("TRIPOD+AI 5b")."""
