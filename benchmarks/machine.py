"""The processor that figures were measured on, and one thread; shared by the scripts beside it."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

# Libraries read these when they are imported.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def processor() -> dict[str, Any]:
    """Return the processor's name, its family, and which of the flags that matter it has."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    family = re.search(r"^cpu family\s*: (\d+)$", text, re.MULTILINE)
    known = sorted(set(flags[1].split())) if flags else []
    return {
        "processor": name[1] if name else platform.processor() or platform.machine(),
        # Virtual machines leave the number out of the name; the family tells generations apart.
        "family": int(family[1]) if family else None,
        "flags": [flag for flag in known if flag.startswith(("avx2", "avx512", "amx"))],
    }
