"""Where a step spends its time, operator by operator."""

from __future__ import annotations

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from studies.benchmarks.turns import Side, synchronise

NAME = 100
"""Characters that a note keeps of a kernel's name."""


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
        # a GPU's kernels are events of their own; an operator's time there is theirs once more
        if gpu and (event.device_type == DeviceType.CPU or event.is_user_annotation):
            continue
        seconds = event.self_device_time_total if gpu else event.self_cpu_time_total
        before, calls = spent.get(event.key, (0.0, 0.0))
        spent[event.key] = before + seconds, calls + event.count / times
    total = sum(seconds for seconds, _ in spent.values())
    dearest = sorted(spent.items(), key=lambda item: -item[1][0])[:most]
    return {name: (seconds / total, calls) for name, (seconds, calls) in dearest if seconds > 0}


def profile_note(found: dict[str, tuple[float, float]], way: str) -> str:
    """The same as a line for a table's foot."""
    short = {name: " ".join(name.replace("`", "").replace("|", "").split())[:NAME] for name in found}
    parts = (f"`{short[name]}` {share:.1%} ({calls:.0f} ×)" for name, (share, calls) in found.items())
    return f"Where {way} spends a step (each operator by itself, share of all, calls): {', '.join(parts)}."
