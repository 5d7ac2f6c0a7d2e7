"""What each loss costs: the paper's Fig. 7, and what sharing the discriminator's pass gains.

    python benchmarks/training_cost.py [--json benchmarks/results/training_cost.json]
    python benchmarks/training_cost.py --quality --data CELEBA --out RUNS --json FILE

*Cost*: steps a second of the four scenarios relative to the first, by srkit's own step on
batches in memory, at equal networks. The paper's Fig. 7 gives 41,410 batches in two hours to
scenario 1 and 27,840 to scenario 4, which is 0.67. P3 leaves open how the generator upscales; both
readings are timed, ``resize`` (the default) and ``shuffle``. Scenarios 2 to 4 are also timed with
alternating updates; and, written out here, with a discriminator that looks at hr and sr anew for
each of the two networks' losses instead of once for both (``separate``), beside the same
written-out step with one look (``shared``). All take turns of one step within one run, so that
they see the same noise of the machine; ratios are medians over the turns.

*Quality* (``--quality``): scenario 4 with simultaneous and with alternating updates, each trained
for the same time: the number of alternating steps is that of the simultaneous ones times the
measured ratio of their speeds. PSNR and SSIM on the test split by protocol ``paper``. A run that
was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from bare import SCENARIOS, bare_step, relative

import srkit
from srkit import registry
from srkit.data.sampler import Batch
from srkit.models import checkpoint
from srkit.models.load import load
from srkit.recipe import Recipe
from srkit.training import distributed, run_folder
from srkit.training.loop import train
from srkit.training.parts import build_parts
from srkit.training.state import State
from srkit.training.step import step

PAPER = 27_840 / 41_410  # P16


def scenario(name: str, width: float, **changes: Any) -> Recipe:
    """Return a scenario at a width."""
    recipe: Recipe = registry.build("recipes", name).changed({"generator.width": width, **changes})
    return recipe.changed({"discriminator.width": width}) if recipe.discriminator else recipe


def random_batch(recipe: Recipe, device: torch.device) -> Batch:
    """Return a batch of random images on the device."""
    hr = torch.rand(recipe.batch_size, 3, recipe.data.size, recipe.data.size, device=device)
    hr = hr.contiguous(memory_format=torch.channels_last)
    return Batch(hr, torch.arange(len(hr), device=device))


def own_step(recipe: Recipe, joined: distributed.Processes) -> Callable[[], object]:
    """Return srkit's own step."""
    torch.manual_seed(0)
    recipe = recipe.changed({"precision": joined.precision})
    parts = build_parts(recipe, joined.device)
    state = State.of(recipe, parts, joined)
    batch = random_batch(recipe, joined.device)
    return lambda: step(state, parts, batch)


def written_step(recipe: Recipe, device: torch.device, *, shared: bool) -> Callable[[], object]:
    """Return a simultaneous step written out, with one look of D at hr and sr, or two."""
    take, batch = bare_step(recipe, device, shared=shared), random_batch(recipe, device)
    return lambda: take(batch.hr, seeds=batch.seeds)


def in_turns(
    takes: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of each step, all steps taken in turns; the first two are left out."""
    times: dict[str, list[float]] = {name: [] for name in takes}
    for turn in range(rounds + 2):
        for name, take in takes.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            take()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                times[name].append(time.perf_counter() - began)
    return times


def ratio(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return `relative` by name."""
    return dict(zip(("ratio", "quartiles"), relative(one, other), strict=True))


def cost(width: float, upscale: str, rounds: int, joined: distributed.Processes) -> dict[str, Any]:
    """Time everything at one width and one kind of upscaling."""
    device = joined.device
    kind = {"generator.upscale": upscale}
    takes: dict[str, Callable[[], object]] = {}
    for name in SCENARIOS:
        takes[name] = own_step(scenario(name, width, **kind), joined)
        if name != SCENARIOS[0]:
            other = scenario(name, width, **kind, **{"adversarial.updates": "alternating"})
            takes[f"{name}, alternating"] = own_step(other, joined)
    last = scenario(SCENARIOS[-1], width, **kind)
    for way in ("shared", "separate"):
        takes[way] = written_step(last, device, shared=way == "shared")
    times = in_turns(takes, rounds, device)
    first = times[SCENARIOS[0]]
    return {
        "steps_per_second": {n: round(1 / statistics.median(t), 3) for n, t in times.items()},
        "relative_to_scenario_1": {
            name: ratio(first, its) for name, its in times.items() if name not in SCENARIOS[:1]
        },
        "shared_over_separate": ratio(times["separate"], times["shared"]),
        "simultaneous_over_alternating": ratio(
            times[f"{SCENARIOS[-1]}, alternating"], times[SCENARIOS[-1]]
        ),
        "paper_scenario_4": round(PAPER, 3),
    }


def quality(arguments: argparse.Namespace, faster: float) -> dict[str, Any]:
    """Train scenario 4 both ways for the same time, and score both."""
    result: dict[str, Any] = {"speed_ratio": faster}
    lengths = {
        "simultaneous": arguments.steps,
        "alternating": round(arguments.steps / faster),
    }
    for (updates, steps), seed in itertools.product(lengths.items(), arguments.seeds):
        changes = {"adversarial.updates": updates, "steps": steps, "seed": seed}
        recipe = scenario(SCENARIOS[-1], arguments.width, **changes)
        out = arguments.out / f"{updates}-{seed}"
        if not (out / checkpoint.MODEL).is_file():
            resume = (out / run_folder.RECIPE).is_file()
            train(recipe, data=arguments.data, out=out, checkpoint_every=250, resume=resume)
        scores = srkit.bench([load(out)], data=arguments.data).quality
        assert scores is not None
        last = json.loads((out / run_folder.LOG).read_text(encoding="utf-8").splitlines()[-1])
        result[f"{updates}, seed {seed}"] = {
            "steps": checkpoint.read(out / checkpoint.MODEL, only=("none",)).step,
            "psnr": round(scores.mean(str(out), "psnr"), 3),
            "ssim": round(scores.mean(str(out), "ssim"), 4),
            "gain_over_bicubic_95": [round(x, 3) for x in scores.gain(str(out), "psnr")],
            "discriminator": {k: v for k, v in last["losses"].items() if k.startswith("d_")},
        }
        print(updates, seed, result[f"{updates}, seed {seed}"], flush=True)
    return result


def main() -> None:
    """Measure what is asked for, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--out", type=Path, default=Path("runs/training-cost"))
    parser.add_argument("--steps", type=int, default=1500, help="simultaneous, for --quality")
    parser.add_argument("--width", type=float, default=0.25, help="for --quality")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path, help="what it holds already stays")
    arguments = parser.parse_args()
    joined = distributed.start(arguments.device)
    result: dict[str, Any] = {}
    if arguments.json and arguments.json.is_file():
        result = json.loads(arguments.json.read_text(encoding="utf-8"))
    if arguments.quality:
        known = result.get("cost", {}).get(f"width {arguments.width}, resize")
        known = known or cost(arguments.width, "resize", arguments.rounds, joined)
        faster = known["simultaneous_over_alternating"]["ratio"]
        result["quality"] = {"width": arguments.width, **quality(arguments, faster)}
    else:
        result["cost"] = {
            "device": torch.cuda.get_device_name() if joined.device.type == "cuda" else "cpu",
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "srkit": srkit.__version__,
            "rounds": arguments.rounds,
        }
        for width, upscale in itertools.product(arguments.widths, ("resize", "shuffle")):
            case = f"width {width}, {upscale}"
            result["cost"][case] = cost(width, upscale, arguments.rounds, joined)
            print(case, json.dumps(result["cost"][case], indent=1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
