"""What ``torchrun`` tells each of the processes that it starts together."""

from __future__ import annotations

import os
import re

from srkit.errors import InputError


def number(name: str, alone: int) -> int:
    """Return ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` or ``LOCAL_WORLD_SIZE``; ``alone`` without.

    InputError: it is no number.
    """
    text = os.environ.get(name) or str(alone)
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"{name} is '{text:.20}' in the environment, no number; unset it")
    return int(text)
