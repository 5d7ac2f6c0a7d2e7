"""Quality and face verification, every number with its protocol."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srkit.evaluation.protocol import Protocol
    from srkit.evaluation.report import Report
    from srkit.evaluation.run import bench

_WHERE = {"Protocol": "protocol", "Report": "report", "bench": "run"}

__all__ = ["Protocol", "Report", "bench"]


def __getattr__(name: str) -> Any:
    # One part of it, the protocol say, shouldn't cost the import of all.
    if name in _WHERE:
        return getattr(importlib.import_module(f"srkit.evaluation.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'srkit.evaluation' has no attribute '{name}'")
