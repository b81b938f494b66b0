"""What software and hardware a run was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import sefar

PACKAGES = ("torch", "torchvision", "timm", "decord", "numpy")


def versions(device: torch.device, split_hash: str) -> dict[str, str | None]:
    """Python, sefar, each package (None: not installed), platform, device and the label split's hash."""
    return {
        "python": platform.python_version(),
        "sefar": sefar.__version__,
        **{package: _installed(package) for package in PACKAGES},
        "platform": platform.platform(),
        "device": f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device),
        "split_hash": split_hash,
    }


def _installed(package: str) -> str | None:
    # asked of the metadata: importing decord takes a second, and only data/decode.py may
    try:
        return version(package)
    except PackageNotFoundError:
        return None
