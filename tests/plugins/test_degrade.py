"""``srkit degrade``: what comes out, where it goes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from srkit_degrade.command import Degradation, sheet

from srkit import registry, seeds
from srkit.evaluation.protocol import Protocol
from srkit.imaging import codec

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """Run ``srkit degrade``; return exit status, standard output and error."""
    return lambda *arguments: cli("degrade", *arguments)


def photo(file: Path, size: tuple[int, int] = (64, 64), left: int = 160) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    astronaut = Image.fromarray(skimage.data.astronaut())
    astronaut.crop((left, 20, left + width, 20 + height)).save(file)
    return file


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def tensor(file: Path) -> torch.Tensor:
    return codec.to_tensor(codec.read(file).rgb)


def test_an_image_is_what_the_bench_makes_of_it(cli: Cli) -> None:
    file = photo(Path("face.png"))
    assert cli(file, "lr.png") == (0, "lr.png\n", "")
    lr = Protocol().degrade(tensor(file))
    assert np.array_equal(pixels(Path("lr.png")), np.asarray(codec.to_image(lr)))
    assert cli(file, "again.png")[0] == 0
    assert Path("lr.png").read_bytes() == Path("again.png").read_bytes()
    assert cli(file, "other.png", "--seed", 1)[0] == 0
    assert not np.array_equal(pixels(Path("lr.png")), pixels(Path("other.png")))


def test_a_folder_keeps_its_tree_and_each_image_has_its_own_seed(cli: Cli) -> None:
    files = [photo(Path("in") / name) for name in ("a.png", "b/c.jpg", "b/d.webp")]
    status, out, err = cli("in", "out", "--seed", 7)
    assert (status, err) == (0, "")
    outputs = [Path("out/a.png"), Path("out/b/c.png"), Path("out/b/d.png")]
    assert out.split() == [str(file) for file in outputs]
    degrade = registry.build("degradations", "faces-x4")
    for file, output in zip(files, outputs, strict=True):
        lr = degrade(tensor(file), seeds=seeds.of_images(tensor(file), 7))
        assert np.array_equal(pixels(output), np.asarray(codec.to_image(lr)))


def test_results_inside_the_folder_are_no_inputs_of_the_next_run(cli: Cli) -> None:
    photo(Path("in/a.png"))
    for _ in range(2):
        assert cli("in", "in/lr") == (0, "in/lr/a.png\n", "")
    assert [p.name for p in Path("in/lr").rglob("*.png")] == ["a.png"]


def test_compare_shows_the_original_beside_blocks(cli: Cli) -> None:
    file = photo(Path("face.png"))
    assert cli(file, "lr.png")[0] == 0
    assert cli(file, "both.png", "--compare")[0] == 0
    both, lr = pixels(Path("both.png")), pixels(Path("lr.png"))
    assert both.shape == (64, 64 + 2 + 64, 3)
    assert np.array_equal(both[:, :64], pixels(file))
    assert (both[:, 64:66] == 255).all()
    assert np.array_equal(both[:, 66:], lr.repeat(4, 0).repeat(4, 1))


def test_samples_of_an_image_make_a_sheet(cli: Cli) -> None:
    file = photo(Path("face.png"))
    options = ("--degradation", "second-order", "--samples", 3)
    assert cli(file, "sheet.png", *options) == (0, "sheet.png\n", "")
    drawn = pixels(Path("sheet.png"))
    assert drawn.shape == (34, 34, 3)
    assert (drawn[18:, 18:] == 255).all()
    degrade = registry.build("degradations", "second-order")
    key = seeds.of_images(tensor(file), 0)
    for draw, (top, left) in enumerate([(0, 0), (0, 18), (18, 0)]):
        lr = degrade(tensor(file), seeds=seeds.derive(key, draw) if draw else key)
        tile = drawn[top : top + 16, left : left + 16]
        assert np.array_equal(tile, np.asarray(codec.to_image(lr)))
    assert cli(file, "big.png", *options, "--compare")[0] == 0
    assert pixels(Path("big.png")).shape == (130, 130, 3)


def test_samples_of_a_folder_are_files(cli: Cli) -> None:
    photo(Path("in/a.png"))
    assert cli("in", "out", "--samples", 2) == (0, "out/a-1.png\nout/a-2.png\n", "")
    assert not np.array_equal(pixels(Path("out/a-1.png")), pixels(Path("out/a-2.png")))


def test_sides_are_cut_to_a_multiple_and_this_is_said(cli: Cli) -> None:
    file = photo(Path("odd.png"), (67, 41))
    status, out, err = cli(file, "out", "--compare")
    assert (status, out) == (0, "out/odd.png\n")
    assert err == "cut from 67x41 to 64x40, multiples of 4 (such as odd.png)\n"
    assert np.array_equal(pixels(Path("out/odd.png"))[:, :64], pixels(file)[:40, :64])


def test_the_smallest_image_becomes_one_pixel(cli: Cli) -> None:
    file = photo(Path("tiny.png"), (4, 4))
    for name in ("faces-x4", "second-order"):
        assert cli(file, "lr.png", "--degradation", name)[0] == 0
        assert pixels(Path("lr.png")).shape == (1, 1, 3)


def test_scale_settings_and_files_choose_the_degradation(cli: Cli) -> None:
    file = photo(Path("face.png"))
    assert cli(file, "a.png", "--degradation", "chain", "--scale", 2)[0] == 0
    assert pixels(Path("a.png")).shape == (32, 32, 3)
    assert cli(file, "b.png", "--set", "noise=0", "--set", "degradation.kernel=area")[0] == 0
    exact = torch.nn.functional.interpolate(tensor(file), scale_factor=0.25, mode="area")
    assert np.array_equal(pixels(Path("b.png")), np.asarray(codec.to_image(exact)))
    steps = "[{do = 'resize', kernel = 'area'}]"
    options = ("--degradation", "chain", "--set", f"steps={steps}")
    assert cli(file, "c.png", *options)[0] == 0
    assert np.abs(pixels(Path("c.png")).astype(int) - pixels(Path("b.png"))).max() <= 1
    Path("mine.toml").write_text(
        'scale = 8\n[degradation]\nname = "chain"\nsteps = [{do = "jpeg", quality = 20}]\n'
    )
    assert cli(file, "d.png", "--degradation", "mine.toml")[0] == 0
    assert pixels(Path("d.png")).shape == (8, 8, 3)
    Path("recipe.toml").write_text(registry.build("recipes", "inception-gan").to_toml())
    for recipe in ("inception-gan", "recipe.toml"):
        assert cli(file, "e.png", "--recipe", recipe)[0] == 0
        assert np.array_equal(
            pixels(Path("e.png")), np.asarray(codec.to_image(Protocol().degrade(tensor(file))))
        )


def test_one_broken_image_does_not_take_the_others_with_it(cli: Cli) -> None:
    for name in ("a.png", "c.png"):
        photo(Path("in") / name)
    Path("in/b.png").write_bytes(b"no image")
    photo(Path("in/d.png"), (3, 3))
    status, out, err = cli("in", "out")
    assert (status, out) == (1, "out/a.png\nout/c.png\n")
    broken, small, summary = err.splitlines()
    assert broken.startswith("srkit: in/b.png: not a readable image")
    assert small == "srkit: in/d.png: 3x3 is smaller than a scale of 4"
    assert summary == "srkit: 2 images of 4 failed"
    hr = tensor(Path("in/c.png"))
    lr = registry.build("degradations", "faces-x4")(hr, seeds=seeds.of_images(hr, 0))
    assert np.array_equal(pixels(Path("out/c.png")), np.asarray(codec.to_image(lr)))


def test_what_a_degradation_refuses_is_said_of_the_image(cli: Cli) -> None:
    file = photo(Path("face.png"), (4, 4))
    status, out, err = cli(file, "out.png", "--set", "kernel=gaussian-bicubic")
    assert (status, out) == (1, "")
    message, summary = err.splitlines()
    assert message == "srkit: face.png: hr (4, 4) is too small for a blur of 1.5"
    assert summary == "srkit: 1 image of 1 failed"


def test_an_image_too_large_for_the_memory_does_not_take_the_others_with_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(Path("in/a.png"), (80, 80))
    photo(Path("in/b.png"))
    call = Degradation.__call__

    def full(self: Degradation, hr: torch.Tensor, seed: int, sample: int) -> torch.Tensor:
        if hr.shape[-1] > 64:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return call(self, hr, seed, sample)

    monkeypatch.setattr(Degradation, "__call__", full)
    status, out, err = cli("in", "out")
    assert (status, out) == (1, "out/b.png\n")
    assert err.splitlines()[0] == "srkit: in/a.png: 80x80 is too large for the memory"


def test_no_input_is_written_over(cli: Cli, refused: Callable[..., str]) -> None:
    file = photo(Path("in/a.png"))
    before = file.read_bytes()
    for arguments in ((file, file), (file, "in"), ("in", "in"), (file, "in/../in/a.png")):
        assert "is an input" in refused(*arguments)
    assert not Path("out").exists()
    photo(Path("in/a.jpg"))
    assert cli("in", "out") == (0, "out/a-jpg.png\nout/a.png\n", "")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--degradation", "face-x4"), "unknown degradation 'face-x4' (did you mean 'faces-x4'?)"),
        (("--scale", 2), "degradation 'faces-x4' shrinks by 4, not by 2"),
        (("--set", "nois=1"), "unknown key 'nois' (did you mean 'noise'?)"),
        (("--set", "noise"), "--set takes"),
        (("--set", "scale=2"), "use --scale"),
        (("--recipe", "fces"), "unknown recipe 'fces' (did you mean 'faces'?)"),
        (("--recipe", "faces", "--degradation", "chain"), "give one of them"),
        (("--degradation", "none.toml"), "can't read none.toml"),
        (("--degradation", "broken.toml"), "not TOML"),
        (("--degradation", "empty.toml"), "'degradation.name' is missing"),
        (("--degradation", "scale.toml"), "'scale' can't be 0"),
        (("--degradation", "typo.toml"), "unknown key 'steps[0].sgima' (did you mean 'sigma'?)"),
    ],
    ids=str,
)
def test_a_wrong_choice_is_one_line(
    refused: Callable[..., str], options: tuple[object, ...], message: str
) -> None:
    Path("broken.toml").write_text("a = ")
    Path("empty.toml").write_text("[degradation]\n")
    Path("scale.toml").write_text('scale = 0\n[degradation]\nname = "chain"\n')
    Path("typo.toml").write_text(
        '[degradation]\nname = "chain"\n[[degradation.steps]]\ndo = "blur"\nsgima = 1\n'
    )
    assert message in refused(photo(Path("a.png")), "b.png", *options)
    assert not Path("b.png").exists()


def test_nothing_to_do_is_status_2(refused: Callable[..., str]) -> None:
    Path("empty").mkdir()
    assert refused("none.png", "out.png") == "srkit: none.png: no such file or folder"
    assert "no images in it" in refused("empty", "out")
    photo(Path("in/a.png"))
    assert "must be a folder, too" in refused("in", "out.png")


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (9, 3, 3)])
def test_sheets_are_about_square(count: int, rows: int, columns: int) -> None:
    page = sheet([torch.zeros(1, 3, 8, 10)] * count)
    assert page.shape == (1, 3, 10 * rows - 2, 12 * columns - 2)


def test_what_results_lack_is_said(cli: Cli) -> None:
    image = Image.open(photo(Path("a.png"))).convert("RGBA")
    texts = PngInfo()
    texts.add_text("parameters", "box 3")
    image.save("a.png", pnginfo=texts, dpi=(300, 300))
    status, _, err = cli("a.png", "a.jpg")
    assert status == 0
    assert err.splitlines() == [
        "its transparency was left out (such as a.png)",
        "JPEG holds no PNG text: it was left out (such as a.png)",
    ]
    with Image.open("a.jpg") as result:
        assert result.info["dpi"] == (300, 300)
    cli("a.png", "sheet.png", "--compare")  # no place of it is where it was
    with Image.open("sheet.png") as result:
        assert not result.info
