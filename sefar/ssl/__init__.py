"""The semi-supervised method: perturbation, teacher, weighting, mixing and the objective."""
