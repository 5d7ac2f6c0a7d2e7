"""Thirty and more broken plugins: each is named in a line, and no other feels it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from conftest import Cli, forget_plugins
from PIL import Image

import srkit
from srkit import plugins, registry
from srkit.evaluation.protocol import Protocol
from srkit.models import load

Install = Callable[..., Path]


class Broken(NamedTuple):
    """A distribution, and what is said of it when plugins load."""

    name: str
    module: str  # its source
    says: str
    metadata: Mapping[str, Any] = MappingProxyType({})


HOOK = "import srkit\n@srkit.hookimpl\ndef srkit_losses():\n    "
LOADED = [
    Broken("no-module", "import no_such_module_anywhere", "ModuleNotFoundError: No module named"),
    Broken("syntax", "def broken(:", "SyntaxError"),
    Broken("exits", "import sys; sys.exit(0)", "SystemExit: 0"),
    Broken("interrupts", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    Broken("base", "class Odd(BaseException): pass\nraise Odd('no')", "Odd: no"),
    Broken("wordless", "class Odd(Exception):\n def __str__(self): 1 / 0\nraise Odd", "Odd"),
    Broken("escapes", "raise ValueError('\\x1b[31m\\nsrkit: all is well')", r"\x1b[31m srkit: all"),
    Broken("endless", "raise ValueError('x' * 10**6)", "ValueError: xxxx"),
    Broken("nowhere", "", "AttributeError", {"entry_points": {"nowhere": "nowhere_m:plugin"}}),
    Broken("malformed", "", "broken", {"entry_points": {"malformed": "not a module!"}}),
    Broken("newer", HOOK + "return {}", "requires srkit>=2", {"requires": ["srkit>=2"]}),
    Broken("odd-terms", HOOK + "return {}", "Invalid", {"requires": ["srkit>=nonsense"]}),
    Broken("unmarked", "def srkit_losses():\n    return {}", "isn't marked @srkit.hookimpl"),
    Broken("hookless", "losses = {}", "no function in it is marked @srkit.hookimpl"),
    Broken("misspelt", HOOK.replace("losses", "looses") + "return {}", "did you mean 'srkit_losse"),
    Broken("arguments", HOOK.replace("()", "(nothing)", 1) + "return {}", "PluginValidationError"),
    Broken("hook-raises", HOOK + "raise KeyError('gone')", "KeyError: 'gone'"),
    Broken("hook-exits", HOOK + "raise SystemExit", "SystemExit"),
    Broken("hook-lists", HOOK + "return ['l7']", "must return a dict of names to factories"),
    Broken("hook-number", HOOK + "return {'l7': 7}", "must return a dict of names to factories"),
    Broken("hook-lines", HOOK + "return {'l7\\n': dict}", "must return a dict of names to factor"),
    Broken(
        "guarded",
        "class Odd:\n    @property\n    def srkit_losses(self): raise SystemExit(3)\nodd = Odd()",
        "SystemExit: 3",
        {"entry_points": {"guarded": "guarded_m:odd"}},
    ),
]

# What fails only when it is used.
USED = '''
import builtins
import torch
import srkit

class Forgetful(torch.nn.Module):
    "A network that stops after a number of calls."

    receptive_radius = 1

    def __init__(self, *, scale: int = 4, calls: int = 0, error: str = "KeyError") -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.calls, self.error, self.scale = calls, error, scale

    def forward(self, x):
        self.calls -= 1
        if self.calls < 0:
            raise getattr(builtins, self.error)("late")
        return torch.nn.functional.pixel_shuffle(self.body(x), self.scale)

class Judge(Forgetful):
    "A discriminator that stops after a number of calls."

    def __init__(self, *, calls: int = 0, error: str = "KeyError") -> None:
        super().__init__(scale=1, calls=calls, error=error)

    def forward(self, x):
        logits = super().forward(x).mean(dim=(1, 2, 3))
        return logits if self.error == "ValueError" else srkit.DiscriminatorOutput(logits)

def fails(*_, **__):
    "Fails."
    raise KeyError("never mind")

def leaves(*_, **__):
    "Leaves."
    raise SystemExit(0)

class Score:
    "A metric that fails."
    unit, higher_is_better = "", True

    def __call__(self, sr, hr):
        raise KeyboardInterrupt

    def update(self, sr, hr): ...

    def compute(self):
        raise SystemExit(0)

def degradation():
    "Returns numbers."
    return lambda hr, *, seeds: 5

def loss():
    "Leaves when it is called."
    return lambda sr: leaves()

def cardless():
    "A model whose card is missing."
    return srkit.ReadyModel("x", "MIT", generator="nearest", card="/no/card.md")

def weightless():
    "A model whose weights are missing."
    return srkit.ReadyModel("x", "MIT", file="/no/weights.safetensors")

class Engine:
    "An engine that fails when it runs."
    devices = ("cpu",)

    def __call__(self, model, device):
        return fails

NAMES = {
    "generators": {"late": Forgetful, "gone": "no_such_module:Name", "leaves": leaves,
                   "number": lambda **_: 5},
    "discriminators": {"judge": Judge},
    "losses": {"leaves": loss, "none": lambda: None, "weighted": lambda *, weight=1: None},
    "degradations": {"number": degradation, "leaves": lambda: lambda hr, *, seeds: leaves()},
    "metrics": {"odd": Score, "bare": lambda: fails},
    "set_metrics": {"odd-set": Score},
    "readers": {"odd": leaves, "number": lambda file: 5, "fails": fails},
    "face_sets": {"odd": fails, "words": lambda root: ["words"]},
    "sources": {"odd:": fails, "number:": lambda address: 5},
    "protocols": {"odd": lambda: None},
    "recipes": {"odd": lambda: {}},
    "models": {"cardless": cardless, "weightless": weightless, "odd": leaves},
    "engines": {"odd": Engine},
}
for kind, names in NAMES.items():
    exec(f"""
@srkit.hookimpl
def srkit_{kind}():
    return NAMES["{kind}"]
""")
'''
OWNER = r" of srkit-used 1\.0 \(srkit-used\) "


@pytest.fixture
def all_broken(fake_distribution: Install) -> None:
    for each in LOADED:
        name = each.name.replace("-", "_") + "_m"
        fake_distribution(each.name, {name: each.module}, **each.metadata)
    fake_distribution("srkit-used", {"used_m": USED})


@pytest.fixture
def used(fake_distribution: Install) -> None:
    fake_distribution("srkit-used", {"used_m": USED})


@pytest.mark.usefixtures("all_broken")
def test_all_at_once_are_named_once_and_harm_nobody(
    cli: Cli, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "SLOW", 1e9)  # whatever else this machine does
    Image.new("RGB", (12, 8), (200, 150, 100)).save("face.png")
    status, out, err = cli("list")
    assert status == 0
    assert "faces" in out
    lines = err.splitlines()
    assert len(lines) == len(LOADED), err
    for each in LOADED:
        (line,) = [line for line in lines if f"plugin {each.name} 1.0 ({each.name})" in line]
        assert line.startswith("srkit: warning: ")
        assert each.says in line or each.says == "broken"
        assert len(line) < 700
        (state,) = [p.state for p in plugins.load().plugins if p.distribution == each.name]
        assert state.startswith("broken: ")
    for words in (
        ["--help"],
        ["upscale", "face.png", "--model", "bicubic"],
        ["models"],
        ["train", "faces-tiny", "--data", photos, "--steps", 1, "--set", "data.size=32",
         "--set", "generator.blocks=1", "--set", "generator.width=8"],
    ):  # fmt: skip
        status, _, err = cli(
            *words, *(["--device", "cpu"] if words[0] in ("upscale", "train") else [])
        )
        assert status == 0, err
        assert "Traceback" not in err
    with Image.open("face-x4.png") as image:
        assert image.size == (48, 32)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("generators", "gone", OWNER + "can't be imported from 'no_such_module:Name'"),
        ("generators", "leaves", OWNER + r"fails: SystemExit: 0; expected: factory\(\*, scale"),
        ("generators", "number", OWNER + "is int; expected: factory"),
        ("losses", "none", OWNER + "is NoneType; expected: factory"),
        ("losses", "weighted", OWNER + "has an option 'weight', which is the recipe's own"),
        ("recipes", "odd", OWNER + "is dict, not a srkit.Recipe"),
        ("models", "odd", OWNER + "fails: SystemExit: 0"),
    ],
)
def test_a_part_that_cannot_be_built(kind: str, name: str, says: str) -> None:
    with pytest.raises(srkit.OptionError, match=f"'{name}'{says}"):
        registry.build_scaled(kind, name, 4, {})


FAILS = OWNER + r"fails: KeyError: '(late|never mind)'; expected: factory"


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"generator.name": "late"}, f"generator 'late'{FAILS}"),
        ({"generator.name": "late", "generator.calls": 3}, f"generator 'late'{FAILS}"),
        ({"discriminator.name": "judge"}, f"discriminator 'judge'{FAILS}"),
        ({"discriminator.name": "judge", "discriminator.calls": 5}, f"nator 'judge'{FAILS}"),
        (
            {
                "discriminator.name": "judge",
                "discriminator.calls": 99,
                "discriminator.error": "ValueError",
            },
            f"nator 'judge'{OWNER}fails: AttributeError",
        ),
        (
            {"generator.name": "late", "generator.error": "SystemExit"},
            f"'late'{OWNER}fails: SystemExit: late",
        ),
        ({"losses.leaves.weight": 1.0}, f"loss 'leaves'{OWNER}fails: SystemExit: 0"),
        ({"degradation.name": "number"}, f"degradation 'number'{OWNER}fails: AttributeError"),
    ],
)
def test_a_part_that_fails_in_training(
    run: Callable[..., Any], settings: dict[str, Any], says: str
) -> None:
    recipe = registry.build("recipes", "faces-tiny").changed(
        {"data.size": 32, "steps": 4, "batch_size": 2, "generator.blocks": 1, "generator.width": 8}
    )
    if "discriminator.name" in settings:
        settings["adversarial.weight"] = 0.01
    with pytest.raises(srkit.SrkitError, match=says):
        run(recipe.changed(settings))


@pytest.mark.usefixtures("used")
def test_a_part_that_fails_in_a_bench(tmp_path: Path, photos: Path) -> None:
    def bench(**options: Any) -> Any:
        return srkit.bench(["nearest"], data=photos, limit=2, device="cpu", **options)

    protocol = Protocol.named("square", size=32)
    for metric, says in {
        "odd": f"metric 'odd'{OWNER}fails: KeyboardInterrupt; expected",
        "odd-set": f"set metric 'odd-set'{OWNER}fails: SystemExit: 0; expected",
        "bare": f"metric 'bare'{OWNER}fails: AttributeError",
    }.items():
        with pytest.raises(srkit.SrkitError, match=says):
            bench(protocol=protocol.with_metrics([metric]))
    with pytest.raises(srkit.SrkitError, match=f"degradation 'leaves'{OWNER}fails: Syste"):
        Protocol(degradation="leaves").degrade(torch.rand(1, 3, 64, 64))
    with pytest.raises(srkit.SrkitError, match=f"protocol 'odd'{OWNER}fails: TypeError"):
        Protocol.named("odd")
    for name, says in {"odd": "fails: KeyError", "words": "fails: TypeError: not every"}.items():
        with pytest.raises(srkit.SrkitError, match=f"face set '{name}'{OWNER}{says}"):
            bench(protocol=protocol, verify=name, verify_data=tmp_path)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(("name", "says"), [("odd", "KeyError"), ("number", "TypeError: int lack")])
def test_a_source_that_fails(photos: Path, name: str, says: str, run: Callable[..., Any]) -> None:
    with pytest.raises(srkit.SrkitError, match=f"source '{name}:'{OWNER}fails: {says}"):
        run(registry.build("recipes", "faces-tiny"), data=f"{name}:x")


@pytest.mark.usefixtures("used")
def test_readers_that_fail_are_named_and_the_next_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "network.bin"
    file.write_bytes(b"no network")
    with pytest.raises(srkit.InputError, match=r"network\.bin"):
        load.find(str(file))
    lines = capsys.readouterr().err.splitlines()
    for name, says in {"odd": "SystemExit", "number": "TypeError", "fails": "KeyError"}.items():
        (line,) = [line for line in lines if f"reader '{name}' of srkit-used 1.0" in line]
        assert f"fails: {says}" in line
        assert line.endswith("; expected: factory(file) gives a generator, or None")


@pytest.mark.usefixtures("used")
def test_models_and_engines_that_fail(cli: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (6, 5)).save(tmp_path / "face.png")
    assert cli("info", "cardless")[::2] == (
        2,
        "srkit: can't read /no/card.md: No such file or directory\n",
    )
    status, out, _ = cli("models")
    assert status == 0
    assert "missing" in out
    with pytest.raises(srkit.InputError, match="the weights of 'weightless' are missing"):
        srkit.load("weightless")
    model = srkit.load("nearest", device="cpu", engine="odd")
    with pytest.raises(srkit.OptionError, match=f"engine 'odd'{OWNER}fails: KeyError"):
        model.upscale(torch.rand(3, 5, 6))


@pytest.mark.usefixtures("used")
def test_a_generator_that_leaves_costs_a_line_an_image(cli: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (6, 5)).save(tmp_path / "face.png")
    network = registry.build("generators", "late", error="SystemExit")
    provider = {"generator": "late", "provider": registry.provenance("generators", "late")}
    model = srkit.Model("late", network, 4, metadata=provider)
    with pytest.raises(srkit.OptionError, match=f"generator 'late'{OWNER}fails: SystemExit: late"):
        model.upscale(Image.new("RGB", (6, 5)))


COMMANDS = {
    "no-module": ("import no_such_module_anywhere", [], "ModuleNotFoundError"),
    "leaves": ("raise SystemExit(0)", [], "SystemExit: 0"),
    "number": ("number_c = 5", [], "TypeError: int is no function"),
    "newer": ("def newer_c(): ...", ["srkit>=2"], "requires srkit>=2, and this is"),
    "raises": ("def raises_c():\n    raise KeyError('gone')", [], "fails: KeyError: 'gone'"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_broken_command_is_named_and_leaves_the_help_whole(
    fake_distribution: Install, cli: Cli, name: str
) -> None:
    source, requires, says = COMMANDS[name]
    module = name.replace("-", "_") + "_c"
    site = fake_distribution("srkit-odd", {module: source}, requires=requires)
    points = site / "srkit_odd-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[srkit.commands]\n{name} = {module}:{module}\n")
    forget_plugins()
    status, out, _ = cli("--help")
    assert status == 0
    assert name in out
    status, out, err = cli(name)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert "srkit-odd 1.0" in line
    assert says in line


def test_a_command_in_a_package_that_leaves_harms_no_help(
    fake_distribution: Install, cli: Cli
) -> None:
    site = fake_distribution("srkit-odd", {"odd_c": ""})
    (site / "odd_package").mkdir()
    (site / "odd_package" / "__init__.py").write_text("print('odd')\nraise SystemExit(0)")
    (site / "odd_package" / "inner.py").write_text("def run(): ...")
    points = site / "srkit_odd-1.0.dist-info" / "entry_points.txt"
    points.write_text("[srkit.commands]\nodd = odd_package.inner:run\n")
    forget_plugins()
    status, out, _ = cli("--help")
    assert status == 0
    assert "A command of srkit-odd 1.0." in out
    assert "odd" not in out.splitlines()


def test_a_distribution_without_metadata_is_no_end_of_the_others(
    fake_distribution: Install, cli: Cli
) -> None:
    site = fake_distribution("srkit-odd", {"odd_m": "raise KeyError"})
    (site / "srkit_odd-1.0.dist-info" / "METADATA").unlink()
    forget_plugins()
    status, _, err = cli("list", "models")
    assert status == 0
    assert "plugin None None (srkit-odd) skipped: KeyError" in err


def test_a_real_interrupt_goes_through() -> None:
    def here() -> None:
        import _thread
        import time

        _thread.interrupt_main()
        while True:
            time.sleep(0.001)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    try:
        with pytest.raises(KeyboardInterrupt), plugins.contained():
            here()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(srkit.SrkitError, match="KeyboardInterrupt"), plugins.contained():
        raise KeyboardInterrupt
