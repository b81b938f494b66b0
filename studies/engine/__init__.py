"""The study engine: specification, search space, search, trials and the runner."""
