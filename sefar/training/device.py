"""Where tensors live."""

from __future__ import annotations

import torch

from sefar.errors import ConfigError


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; None: a GPU where there is one.

    Raises:
        ConfigError: no such device here.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if chosen.type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(1, device=chosen)  # a GPU that is named may yet not be there
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = torch.cuda.device_count()
        valid = "cpu" + "".join(f", cuda:{n}" for n in range(gpus))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"device: '{device}' cannot be used here ({reason}) — valid: {valid}") from error
    return chosen
