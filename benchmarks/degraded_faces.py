"""What a model gains over Lanczos on faces that were shrunk, blurred, made noisy or saved as JPEG.

    python benchmarks/degraded_faces.py --celeba CROPS --utkface FACES --held-out NAMES.txt \
        --lfw LFW --portraits PORTRAITS --models faces \
        --json benchmarks/results/degraded_faces.json

CROPS and FACES are folders of CelebA's square crops and of UTKFace's aligned faces, of which only
those named in NAMES.txt are used; LFW has a folder for each person, of whom those with two photos
or more give their first, whole (250x250); PORTRAITS is a folder with `photos` (256x256) and
`scenes` (1024x1024). An image is cut to its largest centred square and resized to four times the
LR size by Pillow's bicubic (HR), degraded, and upscaled by 4. PSNR is that of all three channels
together, on 8-bit images without a border; the gain is the mean over images of the difference to
Lanczos (Pillow's), its interval of 95% comes from resampling images 2,000 times.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image, ImageFilter

import srkit

SCALE = 4
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")  # scikit-image's, in colour
Degradation = Callable[[Image.Image, np.random.Generator], Image.Image]


def shrunk(hr: Image.Image) -> Image.Image:
    """Return HR reduced by Pillow's bicubic."""
    return hr.resize((hr.width // SCALE, hr.height // SCALE), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Return the image as a JPEG file gives it back (4:2:0)."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def blurred_noisy_jpeg(hr: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur of sigma 1.5 HR pixels, bicubic by 4, noise of sigma .02, JPEG of quality 70."""
    lr = np.asarray(shrunk(hr.filter(ImageFilter.GaussianBlur(1.5))), dtype=np.float64)
    noisy = (lr + rng.normal(0, 0.02 * 255, lr.shape)).round().clip(0, 255).astype(np.uint8)
    return jpeg(Image.fromarray(noisy), 70)


DEGRADATIONS: dict[str, Degradation] = {
    "clean": lambda hr, rng: shrunk(hr),
    "JPEG 75": lambda hr, rng: jpeg(shrunk(hr), 75),
    "JPEG 50": lambda hr, rng: jpeg(shrunk(hr), 50),
    "blur + noise + JPEG 70": blurred_noisy_jpeg,
}


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the largest centred square at ``side`` pixels."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    box = (left, top, left + edge, top + edge)
    return image.convert("RGB").crop(box).resize((side, side), Image.Resampling.BICUBIC)


def psnr(image: Image.Image, hr: Image.Image) -> float:
    """Return decibels over all values of two 8-bit images."""
    difference = np.asarray(image, dtype=np.float64) - np.asarray(hr, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-3)))


def gains(
    images: Iterable[Image.Image], degrade: Degradation, models: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Return each model's mean gain over Lanczos with its interval, and Lanczos's own PSNR."""
    differences: dict[str, list[float]] = {name: [] for name in models}
    lanczos = []
    for number, hr in enumerate(images):
        lr = degrade(hr, np.random.default_rng(number))
        base = psnr(lr.resize(hr.size, Image.Resampling.LANCZOS), hr)
        lanczos.append(base)
        for name, model in models.items():
            differences[name].append(psnr(model.upscale(lr), hr) - base)
    rng = np.random.default_rng(0)
    result = {"lanczos": {"psnr": float(np.mean(lanczos)), "images": len(lanczos)}}
    for name, values in differences.items():
        each = np.array(values)
        means = each[rng.integers(0, len(each), (2000, len(each)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        result[name] = {
            "gain": float(each.mean()),
            "low": float(low),
            "high": float(high),
            "least": float(each.min()),
        }
    return result


def by_luma(images: list[Image.Image]) -> list[list[Image.Image]]:
    """Return thirds of face images by the mean luma (BT.601) of their centre, where skin is."""
    edge = images[0].width
    box = (3 * edge // 10, 4 * edge // 10, 7 * edge // 10, 8 * edge // 10)
    lumas = [float(np.asarray(image.convert("L").crop(box)).mean()) for image in images]
    order = [images[number] for number in np.argsort(lumas, kind="stable")]
    return [order[len(order) * k // 3 : len(order) * (k + 1) // 3] for k in range(3)]


def photographs(portraits: Path) -> list[Image.Image]:
    """Return ordinary photographs with and without faces, whose sides are multiples of 4."""
    images = [Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    images += [Image.open(file) for file in sorted((portraits / "scenes").iterdir())]
    fitted = []
    for image in images:
        image.thumbnail((800, 800), Image.Resampling.BICUBIC)
        width, height = (side // SCALE * SCALE for side in image.size)
        fitted.append(image.convert("RGB").crop((0, 0, width, height)))
    return fitted


def main() -> None:
    """Measure, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--celeba", type=Path, required=True)
    parser.add_argument("--utkface", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["faces"])
    parser.add_argument("--images", type=int, default=500, help="At most so many a row.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = set(arguments.held_out.read_text(encoding="utf-8").split())

    def held_out(folder: Path, side: int) -> list[Image.Image]:
        files = [f for f in sorted(folder.iterdir()) if f.name.split(".")[0] in names]
        return [square(Image.open(file), side) for file in files[: arguments.images]]

    def lfw(side: int) -> list[Image.Image]:
        people = (sorted(folder.iterdir()) for folder in sorted(arguments.lfw.iterdir()))
        files = [photos[0] for photos in people if len(photos) > 1]
        return [square(Image.open(file), side) for file in files[: arguments.images]]

    def portraits(side: int) -> list[Image.Image]:
        files = sorted((arguments.portraits / "photos").iterdir())[: arguments.images]
        return [square(Image.open(file), side) for file in files]

    rows: dict[str, Callable[[], list[Image.Image]]] = {
        "CelebA crops, 16 px": lambda: held_out(arguments.celeba, 64),
        "UTKFace, 16 px": lambda: held_out(arguments.utkface, 64),
        "UTKFace, 32 px": lambda: held_out(arguments.utkface, 128),
        "UTKFace, 48 px": lambda: held_out(arguments.utkface, 192),
        "LFW in the wild, 48 px": lambda: lfw(192),
    }
    for number, third in enumerate(("darkest", "middle", "lightest")):
        rows[f"UTKFace, 16 px, {third} third"] = lambda number=number: by_luma(  # type: ignore[misc]
            held_out(arguments.utkface, 64)
        )[number]
    for size in (12, 16, 24, 32, 48, 64):
        rows[f"portraits, {size} px"] = lambda size=size: portraits(4 * size)  # type: ignore[misc]
    ordinary = {f"JPEG {q}": lambda hr, rng, q=q: jpeg(shrunk(hr), q) for q in (60, 75, 85, 95)}
    models = {name: srkit.load(name, device="cpu") for name in arguments.models}
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for row, images in {**rows, "photographs": lambda: photographs(arguments.portraits)}.items():
        degradations = ordinary if row == "photographs" else DEGRADATIONS
        ready = images()
        results[row] = {name: gains(ready, how, models) for name, how in degradations.items()}
        for name in models:
            cells = [
                f"{cell[name]['gain']:+.2f} [{cell[name]['low']:+.2f}, {cell[name]['high']:+.2f}]"
                f" (least {cell[name]['least']:+.2f})"
                for cell in results[row].values()
            ]
            print(f"| {name} | {row} ({len(ready)}) | " + " | ".join(cells) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
