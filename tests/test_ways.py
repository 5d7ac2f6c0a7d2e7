"""How many modules an image passes on its way, as CONTRIBUTING says it."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from training import tiny

from srkit.data.loader import open_loader
from srkit.training import distributed
from srkit.training.parts import build_parts
from srkit.training.state import State
from srkit.training.step import step

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def is_image(value: Any) -> bool:
    if isinstance(value, Path):
        return value.suffix == ".png"
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    if isinstance(value, torch.Tensor):
        return value.ndim > 1 and value.dtype in (torch.uint8, torch.float32)
    if isinstance(value, list | tuple):
        return any(map(is_image, value))
    return isinstance(value, Image.Image) or type(value).__name__ in ("Batch", "DecodedImage")


def test_a_photo_passes_as_many_modules_to_the_loss_as_the_page_says(tmp_path: Path) -> None:
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    recipe = tiny(batch_size=2)
    processes = distributed.start("cpu", "fp32")
    parts = build_parts(recipe, processes.device)
    state = State.of(recipe, parts, processes)
    running: dict[int, bool] = {}
    passed: dict[str, None] = {}

    def profile(frame: FrameType, event: str, result: Any) -> None:
        """Note the modules whose functions are given an image, or hold it, and give one on."""
        module, code = frame.f_globals.get("__name__", ""), frame.f_code
        if not module.startswith("srkit."):
            return
        if event == "call":
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            values = [frame.f_locals.get(name) for name in names]
            holders = ("source", "files", "pixels")
            held = any(hasattr(each, name) for each in values for name in holders)
            running[id(frame)] = held or any(map(is_image, values))
        elif event == "return" and running.pop(id(frame), False) and is_image(result):
            passed[module.removeprefix("srkit.")] = None

    threading.setprofile(profile)  # photos are decoded in threads
    sys.setprofile(profile)
    try:
        loader, _ = open_loader(tmp_path, tmp_path, recipe, device=processes.device, cache=False)
        step(state, parts, next(iter(loader.batches(0))))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    way = PAGE.read_text(encoding="utf-8").split("*A photo to the loss:*")[1].split("\n- *")[0]
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", way)) == set(passed)
    assert len(passed) <= 9
