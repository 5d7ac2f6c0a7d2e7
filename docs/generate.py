"""The parts of these pages that follow from the code, as Markdown.

cog puts them between their markers, from the checkout's root::

    SRKIT_PLUGINS= python -m cogapp -r docs/*.md README.md plugins/*/weights/*.md
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import tomli_w
import typer.main
from pydantic import BaseModel
from srkit_inception_gan import paper
from srkit_inception_gan.results import markdown as study_tables
from srkit_inception_gan.results import over_seeds
from srkit_inspect.schema import section
from srkit_kornia import blur, chain, jpeg, noise, resize

from srkit import defaults, plugins, recipe, registry
from srkit.cli import main
from srkit.hookspecs import kinds
from srkit.imaging import carried

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

SECTIONS = {
    "adversarial": recipe.Adversarial,
    "data": recipe.Data,
    "optimizer": recipe.Optimizer,
    "recovery": recipe.Recovery,
}


def markdown(text: str) -> str:
    """Return a docstring's text with its ``code`` in single backticks."""
    return text.replace("``", "`")


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    cells = [list(headings), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in r)} |\n" for r in cells)


def carried_table() -> str:
    """Return what becomes of what files carry, by `srkit.imaging.carried`."""
    names, most = {"WEBP": "WebP"}, {"PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"}
    alike: dict[str, list[str]] = {}  # by what becomes of it
    for item in carried.ITEMS:
        sources = item.sources.split()
        by_outcome: dict[str, list[str]] = {}
        for target in carried.TARGETS:
            outcome = item.outcome(sources[0], target).removeprefix("dropped with a ")
            by_outcome.setdefault(outcome, []).append(names.get(target, target))
        usual, *others = sorted(by_outcome, key=lambda outcome: -len(by_outcome[outcome]))
        words = [f"*{usual}*", *(f"in {', '.join(by_outcome[each])} *{each}*" for each in others)]
        where = "" if most <= {*sources} else f" ({', '.join(names.get(s, s) for s in sources)})"
        alike.setdefault("; ".join(words), []).append(f"{item.name}{where}")
    headings = ("what becomes of it", "what files carry")
    order = ("*kept*", "*corrected*", "*note*", "*refused*")
    rows = sorted(alike.items(), key=lambda row: order.index(row[0].partition(";")[0]))
    return table(headings, ((what, "; ".join(its)) for what, its in rows))


def attributes(documented: type) -> dict[str, str]:
    """Return the section ``Attributes:`` of a class's docstring, by name."""
    return section(documented, "Attributes")


def summary(documented: Any) -> str:
    """Return the first line of a docstring."""
    return markdown((inspect.getdoc(documented) or "").partition("\n")[0])


def commands() -> dict[str, Any]:
    """Return the commands of srkit and of its plugins, as click commands."""
    by_name: dict[str, Any] = {}
    for entry_point, plugin in plugins.declared(plugins.COMMANDS_GROUP):
        if plugin.built_in:
            app = entry_point.load()
            if not isinstance(app, typer.Typer):
                app = typer.Typer(add_completion=False)
                app.command()(entry_point.load())
            name, command = entry_point.name, typer.main.get_command(app)
            by_name[name] = command
            for key, inner in getattr(command, "commands", {}).items():
                by_name[f"{name} {key}"] = inner
    return by_name


def help_text(name: str) -> str:
    """Return what ``--help`` prints for a command, ``""`` for srkit itself."""
    os.environ["COLUMNS"] = "80"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*name.split(), "--help"])
    text = "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())
    return f"```text\n{text}\n```\n"


def help_texts() -> str:
    """Return what ``--help`` prints for each command, under a heading of its own."""
    order = list(defaults.COMMANDS)
    names = sorted(commands(), key=lambda name: order.index(name.split()[0]))
    shown = (n for n in names if not any(other.startswith(f"{n} ") for other in names))
    return "\n".join(f"## srkit {name}\n\n{help_text(name)}" for name in shown)


def recipe_toml(name: str) -> str:
    """Return a registered recipe as a TOML code block, without keys that have their default."""
    built = registry.build("recipes", name)
    values = built.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return f"```toml\n{tomli_w.dumps(values)}```\n"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[tuple[str, str, str]]:
    descriptions = attributes(model)
    for key, field in model.model_fields.items():
        if key in SECTIONS or key == "losses":
            continue
        if field.is_required():
            default = "required"
        elif field.default is None:
            default = "none"
        else:
            default = _toml(field.default)
        yield f"`{prefix}{key}`", default, descriptions[key]


def _toml(value: Any) -> str:
    toml = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"`{toml.replace(chr(39), chr(34)).replace('(', '[').replace(')', ']')}`"


def recipe_keys() -> str:
    """Return a table of every key of a recipe, those of a section below its name."""
    rows = [*_keys(recipe.Recipe)]
    for name, model in SECTIONS.items():
        rows.append((f"**`[{name}]`**", "", summary(model)))
        rows += _keys(model, f"{name}.")
    rows.append(("**`[losses.NAME]`**", "", summary(recipe.Loss)))
    rows += _keys(recipe.Loss, "losses.NAME.")
    return table(("key", "default", "what it is"), rows)


def steps() -> str:
    """Return a table of the steps of a chain, each with its keys."""

    def shown(value: Any) -> str:
        if isinstance(value, dict):
            return f'`"{next(iter(value))}"`'
        if isinstance(value, tuple):
            low, high = (f"{end:.4g}" for end in value)
            return f"`{low}`" if low == high else f"`[{low}, {high}]`"
        return "" if value is None else _toml(value)

    rows = []
    for model in (blur.Blur, resize.Resize, noise.Noise, jpeg.Jpeg, chain.OneOf):
        fields = model.model_fields
        rows.append((f"**`{fields['do'].default}`**", "", summary(model)))
        for key, text in attributes(model).items():
            field = fields[key]
            default = "required" if field.is_required() else shown(field.default)
            rows.append((f"`{key}`", default, text))
    return table(("step, key", "default", "what it is"), rows)


def committed(benchmark: str) -> dict[str, Any]:
    """Return the committed result of a benchmark."""
    text = (RESULTS / f"{benchmark}.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def shipped_quality() -> str:
    """Return PSNR, its gain and SSIM of the shipped models by 4 under both protocols."""
    result = committed("shipped_model")
    rows = []
    for method in result["square"]["quality"]["summary"]:
        row = [method]
        for protocol in ("square", "paper"):
            scores = result[protocol]["quality"]["summary"][method]
            gain, (low, high) = scores["psnr"]["gain"], scores["psnr"]["gain_95"]
            row.append(f"{scores['psnr']['mean']:.2f}")
            row.append("" if method == "bicubic" else f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]")
            row.append(f"{scores['ssim']['mean']:.4f}")
        rows.append(row)
    heading = ("PSNR", "gain [95%]", "SSIM")
    return table(
        ("", *(f"`square`: {each}" for each in heading), *(f"`paper`: {each}" for each in heading)),
        rows,
    )


def perception() -> str:
    """Return PSNR and ST-LPIPS of the shipped models by 4 under `square`."""
    rows = [
        (method, f"{scores['psnr']['mean']:.2f}", f"{scores['st-lpips']['mean']:.3f}")
        for method, scores in committed("shipped_model")["square"]["quality"]["summary"].items()
    ]
    return table(("", "PSNR", "ST-LPIPS"), rows)


def shipped_identity() -> str:
    """Return the identity distances of the shipped model beside LR, bicubic and HR."""
    methods = committed("shipped_model")["paper"]["everybody"]["summary"]
    cells = []
    for summary in methods.values():
        low, high = summary["mean_95"]
        cells.append(f"{summary['mean']:.3f} [{low:.3f}, {high:.3f}]")
    return table(("", *methods), [("distance", *cells)])


def shipped_verification() -> str:
    """Return verification of the shipped model on LFW beside LR, bicubic and HR."""
    pairs = committed("shipped_model")["lfw"]["pairs"]

    def cell(estimate: dict[str, float] | None) -> str:
        if estimate is None:
            return ""
        return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"

    rows = [
        (name, *map(cell, (its["auc"], its["tar"].get("0.01"), its["rank1"])))
        for name, its in pairs["scores"].items()
    ]
    return table(("", "AUC", "TAR at FAR 0.01", "rank 1"), rows)


def shipped_sizes() -> str:
    """Return AUC on LFW over the size of the face."""
    pairs = committed("shipped_model")["lfw"]["pairs"]
    names = list(pairs["sizes"][0]["scores"])
    rows = []
    for size in pairs["sizes"]:
        its = [size["scores"][name]["auc"] for name in names]
        shown = (f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for e in its)
        rows.append((f"{size['lr_size']} px", *shown))
    return table(("AUC", *names), rows)


def judges() -> str:
    """Return verification of every method on LFW, a column an embedder, and what it rests on."""
    found = committed("judges")
    columns = list(dict.fromkeys(row["judge"] for row in found["rows"]))
    by_method: dict[str, list[str]] = {}
    for row in found["rows"]:
        value, low, high = row["TAR at FAR 0.01"]
        by_method.setdefault(row["method"], []).append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
    rows = [(method, *cells) for method, cells in by_method.items()]
    return (
        f"TAR at FAR 0.01 [95% over people]: {found['pairs']} genuine pairs of LFW, "
        f"{found['impostors']:,} impostors, faces of 16x16 to 64x64, "
        f"{', '.join(found['embedders'])} (`benchmarks/judges.py`).\n\n"
        f"{table(('method', *columns), rows)}"
    )


def degraded_faces(part: str = "") -> str:
    """Return the shipped model's gain over Lanczos on degraded faces.

    Args:
        part: Which rows: of the photo sets, of the portraits and the thirds by luminance
            (``more``), or of whole photographs.
    """
    results = committed("degraded_faces")
    sizes = [f"portraits, {side} px" for side in (12, 16, 24, 32, 48, 64)]
    rows = {
        "": [row for row in results if row.endswith(" px") and not row.startswith("portraits")],
        "more": [*sizes, *(row for row in results if row.endswith(" third"))],
        "photographs": ["photographs"],
    }[part]
    cells = [
        [
            row,
            *(
                f"{c['faces']['gain']:+.2f} [{c['faces']['low']:+.2f}, {c['faces']['high']:+.2f}]"
                for c in results[row].values()
            ),
        ]
        for row in rows
    ]
    return table(("", *results[rows[0]]), cells)


def gains() -> str:
    """Return between which values the shipped model's gain over Lanczos lies on its photo sets."""
    results = committed("degraded_faces")
    rows = [row for row in results if row.endswith(" px") and not row.startswith("portraits")]
    *names, last = dict.fromkeys(row.partition(",")[0] for row in rows)
    clean, degraded = [], []
    for row in rows:
        for degradation, methods in results[row].items():
            (clean if degradation == "clean" else degraded).append(methods["faces"]["gain"])
    return (
        f"On photos that were not in its training data ({', '.join(names)}, {last}), it is on "
        f"average {min(clean):.1f} to\n{max(clean):.1f} dB better than Lanczos on clean faces, and "
        f"{min(degraded):.1f} to {max(degraded):.1f} dB on faces with JPEG, blur and noise.\n"
    )


def decibel() -> str:
    """Return the committed audit of faces-x8, without the rows that say the same again."""
    truncated = "Y truncated to 8 bits"  # shown without border, all else with it
    every = committed("decibel")["rows"]
    rows = [row for row in every if (row["compared"] == truncated) == (row["border"] == 0)]
    cells = [
        (
            row["kernel"],
            f"{row['compared']}, border {row['border']}",
            *(f"{s['psnr']:.3f} / {s['ssim']:.4f}" for s in row["scores"].values()),
        )
        for row in rows
    ]
    scores = [score for row in rows for score in row["scores"].values()]
    half = max(max(s["high"] - s["psnr"], s["psnr"] - s["low"]) for s in scores)
    return (
        f"{table(('downscaled by', 'compared', *rows[0]['scores']), cells)}\n"
        f"95% intervals of PSNR: ±{half:.2f} dB or less.\n"
    )


def dic_x8() -> str:
    """Return what faces-x8 scores under the protocol `dic-x8`."""
    scores = committed("decibel")["rows"][0]["scores"]
    cells = [
        f"{s['psnr']:.3f} [{s['low']:.2f}, {s['high']:.2f}] / {s['ssim']:.4f}"
        for s in scores.values()
    ]
    return table(scores, [cells])


def x8_sets() -> str:
    """Return what a short training of faces-x8 loses without CelebA."""
    found = committed("x8_sets")
    less = found["UTKFace alone less both"]
    return (
        f"A short training (`--precision bf16 --steps {found['steps']} "
        f"--set optimizer.warmup=150`, one seed)\non UTKFace alone ends {-less['mean']:.2f} dB "
        f"[{-less['high']:.2f}, {-less['low']:.2f}] below one on CelebA and UTKFace.\n"
    )


def weights_between() -> str:
    """Return the committed result of benchmarks/weights_between.py, and what its choice gave."""
    found, near = committed("weights_between"), committed("reproduce_between")
    plain = committed("reproduce_paper")
    ours, others = (re.findall(r"--\S+ \S+", its["run"]["command"]) for its in (near, plain))
    options = (option for option in ours if option not in others)
    tried = sorted([*found["tried"], *found["ends"]], key=lambda row: row["share"])
    rows = ((f"{r['share']:g}", f"{r['gap']:+.2f}", f"{r['accuracy']:.1%}") for r in tried)
    *_, last = near["scenarios"]
    shown = {
        "PSNR": ("psnr", 2),
        "SSIM": ("ssim", 4),
        "LSD": ("lsd", 2),
        "distance": ("distance", 3),
        "AUC": ("AUC, distance", 3),
    }
    scores = (f"{name} {over_seeds(last[m], digits)}" for name, (m, digits) in shown.items())
    return (
        f"{table(('share', 'gap, dB', 'discriminator is right'), rows)}\n"
        f"Share {found['chosen']['share']:g} on test images, three seeds: {', '.join(scores)} "
        f"(plain sum {over_seeds(plain['scenarios'][-1]['AUC, distance'], 3)}).\nThe command is "
        f"that [above](#three-seeds-of-all-four), with `{' '.join(options)}`.\n"
    )


def baselines() -> str:
    """Return which of the literature's networks gain most in equal, short time."""
    result = committed("equal_time")
    gains = {
        name: scores["psnr"]["gain"]
        for name, scores in result["summary"].items()
        if name in result["made"]
    }
    first, *others = sorted(gains, key=lambda name: -gains[name])[:4]
    shown = ", ".join(f"{name} {gains[name]:+.2f} dB" for name in others)
    return (
        f"After about three minutes of training on one core, {first} gains most over bicubic: "
        f"{gains[first]:+.2f} dB, before\n{shown}. Large networks need far longer "
        "(`benchmarks/equal_time.py`: protocol\n`paper`, CelebA, one seed).\n"
    )


def loop_overhead() -> str:
    """Return the committed result of benchmarks/loop_overhead.py."""
    result = committed("loop_overhead")
    cases = {name: case for name, case in result.items() if isinstance(case, dict)}
    of_bare = ", ".join(f"{case['of_bare']:.2f} ({name})" for name, case in cases.items())
    of_usual = " and ".join(f"{case['of_usual']:.2f}" for case in cases.values())
    return (
        f"Speed of `srkit train` relative to the bare steps on batches in memory: {of_bare};\n"
        f"to a loop with torch's `DataLoader`: {of_usual} (`benchmarks/loop_overhead.py`).\n"
    )


def upscale_speed() -> str:
    """Return the committed results of benchmarks/upscale_speed.py for faces, of two machines.

    The sentences below the table are of a third as well, which is much like the second. That of a
    processor without AVX-512 is of an earlier `faces`, and left out.
    """
    names = ("upscale_speed", "upscale_speed_epyc_family26", "upscale_speed_epyc_family25")
    results = [committed(name) for name in names]
    (versions,) = {
        ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        for result in results
    }
    assert all(result["threads"] == 1 for result in results)
    sizes = ("1 x 16 px", "64 x 16 px", "1 x 256 px")
    rows = [row for result in results[:2] for row in _speeds(result, sizes)]
    measured = [size for result in results for size in result["models"]["faces"].values()]
    levels = [size["srkit, openvino, bf16"]["levels_from_reference"] for size in measured]
    mean, largest = (max(level[of] for level in levels) for of in ("mean", "largest"))
    default, openvino = (
        max(size[f"srkit, {engine}"]["ms_per_image"] / _plain(size) for size in measured) - 1
        for engine in ("onnxruntime", "openvino, fp32")
    )
    return (
        f"One thread, {versions}:\n\n{table(('ms an image', *sizes), rows)}\n"
        f"On {len(results)} such machines, ONNX Runtime, the default, takes at most {default:.0%} "
        f"longer than the fastest of\nthese engines called without srkit (fp32), OpenVINO at most "
        f"{openvino:.0%}. In bf16, values differ from torch's by at\nmost {largest} levels of 255, "
        f"on average by {mean:.2f} or less.\n"
    )


def _speeds(result: dict[str, Any], sizes: tuple[str, ...]) -> list[list[str]]:
    """Return the rows of a machine."""
    measured = [result["models"]["faces"][size] for size in sizes]
    processor = result["processor"].replace("(R)", "").removesuffix(" Processor")
    amx = ", AMX" if "amx_bf16" in result["flags"] else ""
    rows = [[f"**{processor} (family {result['family']}){amx}**", "", "", ""]]
    for name in (name for name in measured[0] if name.startswith("srkit")):
        shown = (f"{size[name]['ms_per_image']:.1f}" for size in measured)
        rows.append([name.removeprefix("srkit, "), *shown])
    return rows


def _plain(size: dict[str, Any]) -> float:
    """Return ms per image of the fastest engine that was called without srkit, in fp32."""
    names = (name for name in size if not name.startswith("srkit") and "bf16" not in name)
    return min(size[name]["ms_per_image"] for name in names)


def startup() -> str:
    """Return the committed result of benchmarks/startup.py: processor time of whole processes."""
    result = committed("startup")
    side = f"{result['side']}x{result['side']}"
    one, another = (result["seconds"][name] for name in ("srkit upscale", "arithmetic"))
    return (
        f"`srkit upscale` of one image of {side} takes {one:.1f} s of processor time "
        f"({result['processor']}), Python's start\nincluded, another image in the same process "
        f"{another:.1f} s (`benchmarks/startup.py`).\n"
    )


def upscale_memory() -> str:
    """Return the committed result of benchmarks/upscale_memory.py."""
    peaks = [
        f"{row['peak_bytes'] / 1e9:.1f} GB from {name.partition(', ')[2]}"
        for name, row in committed("upscale_memory")["rows"].items()
        if row["result_bytes"] > 100e6  # below, what the process holds anyway hides it
    ]
    return (
        f"Peak memory by 4, from JPEG to JPEG: {', '.join(peaks)}\n"
        "(`benchmarks/upscale_memory.py`).\n"
    )


def scale() -> str:
    """Return the committed result of benchmarks/scale.py: images/s by number of processes."""
    result = committed("scale")
    ways = {
        "ray": "`srkit upscale-dataset`, workers",
        "shard": "`srkit upscale --shard`, processes",
    }
    counts = list(result["processes"]["ray"])
    rows = [
        (ways[way], *(f"{row['images_per_second']:.0f}" for row in numbers.values()))
        for way, numbers in result["processes"].items()
    ]
    heading = f"images/s, {result['processor']}, {result['cores']} cores"
    return table((heading, *counts), rows)


def precision() -> str:
    """Return the committed result of benchmarks/precision.py: PSNR at the end of short runs."""
    result = committed("precision")
    seeds = len(result["psnr"]["fp32"])
    return (
        f"After {result['steps']} steps of `faces` on an {result['processor']}, PSNR in bf16 is "
        f"within {result['largest_difference']:.4f} dB of\nthat in fp32; {seeds} seeds differ by "
        f"{result['spread_of_fp32']:.3f} dB (`benchmarks/precision.py`).\n"
    )


def training_cost() -> str:
    """Return the committed result of benchmarks/training_cost.py: Fig. 7."""

    def cell(measured: dict[str, Any]) -> str:
        low, high = measured["quartiles"]
        return f"{measured['ratio']:.3f} [{low:.3f}, {high:.3f}]"

    shown = {"scenario 2": "inception-gan-adversarial", "scenario 4": "inception-gan"}
    rows = [
        (networks, *(cell(measured["relative_to_scenario_1"][name]) for name in shown.values()))
        for networks, measured in committed("training_cost")["cost"].items()
        if isinstance(measured, dict)
    ]
    return table(("networks", *shown), rows)


def faces_measured() -> str:
    """Return what `--faces` did to ten noisy portraits, from the committed result."""
    cases = [case for case in committed("faces")["tables"] if case["noise"]]
    sizes = [row["face"] for case in cases for row in case["rows"]]
    changes = [case["columns"]["faces"] for case in cases]
    gains = [c["psnr"]["mean"] - c["psnr"]["without"] for c in changes]
    surely = all(
        c["psnr"]["difference_95"][0] > 0 > c["distance"]["difference_95"][1] for c in changes
    )
    smallest = changes[-1]["distance"]
    assert surely, "an interval holds 0: the sentence below isn't true"
    return (
        f"On ten noisy synthetic portraits, with faces of {min(sizes):.0f} to {max(sizes):.0f} LR "
        f"pixels, `--faces` with\nan earlier `faces` gains {min(gains):.1f} to {max(gains):.1f} dB "
        "over Lanczos, and FaceNet's distance to the undegraded face\nfalls: for the smallest "
        f"faces from {smallest['without']:.2f} to {smallest['mean']:.2f}. All 95% intervals "
        "exclude 0 (`benchmarks/faces.py`).\n"
    )


def seeds() -> str:
    """Return the committed ``srkit reproduce paper`` as the command itself writes it."""
    summary = committed("reproduce_paper")
    # The trainings shared their cores: their speeds say nothing.
    claims = [claim for claim in summary["claims"] if claim["measures"] != ["speed"]]
    return study_tables({**summary, "claims": claims})


def full_length() -> str:
    """Return the committed result of benchmarks/full_length.py, and differences as the paper's."""
    found, rows = committed("full_length"), []
    for method, face in found["face"]["rows"].items():
        quality = found["quality"].get(method)
        row = [f"`{method}`" if method.startswith("inception-gan") else method]
        row += [
            f"{quality[m]:.{n}f}" if quality else ""
            for m, n in (("psnr", 2), ("ssim", 4), ("lsd", 2))
        ]
        for its in (face, found["celeba"]["rows"][method]):
            row += [f"{its['distance'][0]:.3f}", f"{its['auc'][0]:.3f}"]
        rows.append(row)
    less = found["difference"] | {name: found[name]["difference"] for name in ("face", "celeba")}
    digits = {"psnr": 2, "ssim": 4, "lsd": 2, "face": 3, "celeba": 3}
    psnr, ssim, lsd, face, framed = (
        "{:+.{n}f} [{:+.{n}f}, {:+.{n}f}]".format(*less[measure], n=n)
        for measure, n in digits.items()
    )
    rows.append(["4 minus 1 [95%]", psnr, ssim, lsd, face, "", framed, ""])
    one, four = paper.SCENARIOS[1], paper.SCENARIOS[4]
    nearer = fmean(paper.DISTANCES[4]) - fmean(paper.DISTANCES[1])
    theirs = [f"{four.psnr - one.psnr:+.2f}", f"{four.ssim - one.ssim:+.4f}", "", f"{nearer:+.3f}"]
    rows.append(["4 minus 1, paper", *theirs, *[""] * 3])
    head = ("PSNR", "SSIM", "LSD", "distance, face", "AUC", "distance, framed", "AUC")
    return table(("", *head), rows)


def _inherited(factory: Any) -> str:
    """Return what a class's bases say of its arguments, if it says nothing itself."""
    texts = (section(each, "Args") for each in getattr(factory, "__mro__", [factory]))
    own, *inherited = texts
    found = {} if own else next(filter(None, inherited), {})
    fields = (f"\n   :param {name}: {text.replace('`', '``')}" for name, text in found.items())
    return f"\n{''.join(fields)}" if found else ""


def parts() -> str:
    """Return directives that show every part's docstring, by kind."""
    texts = []
    for kind in kinds():
        names_by_target: dict[tuple[str, str], list[str]] = {}
        for name in registry.offers(kind):
            factory = registry.offer(kind, name).factory
            if not isinstance(factory, str):
                factory = f"{factory.__module__}:{factory.__name__}"
            alike = (factory, registry.describe(kind, name))
            names_by_target.setdefault(alike, []).append(name)
        shown = []
        for (target, text), names in names_by_target.items():
            module, _, attribute = target.partition(":")
            factory = getattr(importlib.import_module(module), attribute, None)
            if "<locals>" not in getattr(factory, "__qualname__", "<locals>"):  # one of its own
                directive = "autoclass" if inspect.isclass(factory) else "autofunction"
                text = f".. {directive}:: {module}.{attribute}\n   :no-index:{_inherited(factory)}"
            shown.append(f".. rubric:: {', '.join(names)}\n\n{text}\n\n")
        title = kind.replace("_", " ").capitalize()
        texts.append(f"## {title}\n\n```{{eval-rst}}\n{''.join(shown)}```\n")
    return "\n".join(texts)


# Pages to which Sphinx adds what docstrings and the command line say themselves.
FILLED = {"cli": help_texts, "degradations": steps, "parts": parts, "recipes": recipe_keys}
