"""Experiments on simulated cohorts that can prove a model wrong: ordering, misalignment, calibration and centre shift.

cases        simulated cases, made once with a margin, and cropped with any misalignment and outline error
grid         cells of an experiment: one JSON each, resumable, several processes at once
ordering, alignment, calibration, centres   the experiments
tables, figures  what is read from the JSONs
"""
