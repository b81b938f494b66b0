"""The benchmark `trial`: what a trial costs beyond its training, as each kind of trainable."""

from __future__ import annotations

from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.engine.overhead import measure, measure_writes

INLINE, FUNCTION, NESTED = (
    "inline, one reused actor",
    "function trainable, a process each",
    "nested TorchTrainer, 2 workers",
)
WORKERS = {INLINE: 1, FUNCTION: 1, NESTED: 2}


def run(options: Options) -> Findings:
    """Run a few trials of moments as each kind; the first of each waits for Ray's start and is left out."""
    trials, epochs = options.repeats(5, 3), 2
    beyond = {
        kind: measure(trials=trials, epochs=epochs, workers=workers, root=options.root, function=kind == FUNCTION)
        for kind, workers in WORKERS.items()
    }
    writes = measure_writes(epochs=options.repeats(20, 5), root=options.root)
    first = {kind: f"{seconds[0]:.1f} s" for kind, seconds in beyond.items()}
    case = Case(
        f"A trial of {epochs} epochs beyond its training",
        {kind: seconds[1:] for kind, seconds in beyond.items()},
        "trial",
        FUNCTION,
        columns={"the first, Ray's start included": first},
    )
    return Findings(
        "trial",
        [case],
        [
            Figure(name="trial_overhead_seconds", value=case.median(INLINE), unit="s", most=1.5),
            Figure(name="trial_overhead_seconds_function", value=case.median(FUNCTION), unit="s"),
            Figure(name="trial_overhead_seconds_nested", value=case.median(NESTED), unit="s"),
            Figure(name="trial_write_seconds_per_epoch", value=writes, unit="s"),
        ],
    )
