"""Many cases: training, simulation, evaluation."""
