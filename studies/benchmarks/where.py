"""Where a step spends its time, operator by operator."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from studies.benchmarks.turns import Side, synchronise

NAME = 48
"""Characters that are kept of an operator's or kernel's name."""


def costliest(work: Side, *, device: str = "cpu", most: int = 10, times: int = 2) -> dict[str, tuple[float, float]]:
    """The operators (on a GPU: kernels) in which the work spends most time, itself and not what it calls.

    Args:
        work: is done once before, so that what happens only once is left out.
        device: whose time is meant.
        most: operators that are named.
        times: how often the work is done under the profiler.

    Returns:
        Name → share of all operators' time, and calls each time; the dearest first.
    """
    gpu = device.startswith("cuda")
    work()
    synchronise(device)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])], acc_events=True) as seen:
        for _ in range(times):
            work()
        synchronise(device)
    spent: dict[str, tuple[float, float]] = {}
    for event in seen.key_averages():
        seconds = event.self_device_time_total if gpu else event.self_cpu_time_total
        name = " ".join(event.key.replace("`", "").replace("|", "").split())[:NAME]
        before, calls = spent.get(name, (0.0, 0.0))
        spent[name] = before + seconds, calls + event.count / times
    total = sum(seconds for seconds, _ in spent.values())
    dearest = sorted(spent.items(), key=lambda item: -item[1][0])[:most]
    return {name: (seconds / total, calls) for name, (seconds, calls) in dearest if seconds > 0}


def profile_note(found: dict[str, tuple[float, float]], way: str) -> str:
    """The same as a line for a table's foot."""
    parts = (f"`{name}` {share:.1%} ({calls:.0f} ×)" for name, (share, calls) in found.items())
    return f"Where {way} spends a step (each operator by itself, share of all, calls): {', '.join(parts)}."
