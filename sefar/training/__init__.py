"""Training: schedule, trainer, checkpoints and evaluation."""
