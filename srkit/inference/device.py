"""The device a network runs on."""

from __future__ import annotations

import torch

from srkit.errors import InputError


def device_named(name: str) -> torch.device:
    """Return the device a user's word stands for: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        InputError: There is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device '{name}' here: {str(error).splitlines()[0]}") from error
    return device
