"""The pages do what they say: code runs, commands parse, links lead somewhere, nothing is stale."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from cogapp import Cog
from conftest import forget_plugins
from srkit_inspect.schema import section
from srkit_plugins.contracts import CALLED
from sybil import Document
from sybil.parsers.myst import PythonCodeBlockParser

import srkit
from srkit import hookspecs, registry
from srkit.cli import main
from srkit.hookspecs import kinds
from srkit.recipe import Recipe, parse_setting

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TUTORIAL = DOCS / "tutorial.md"
CARDS = sorted((ROOT / "plugins" / "srkit_faces" / "weights").glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

QUICK = {"list", "info", "plugins", "demo", "--version"}  # these are run, others only parsed
EXAMPLE_RECIPES = {"espcn", "mine"}  # of docs/examples, and of `plugins new`
FENCE = re.compile(r"^```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SYMBOL = re.compile(r"`([a-z_][\w.]*):([A-Za-z_][\w.]*)`")
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?\)")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def blocks(file: Path, language: str) -> list[str]:
    return [m["body"] for m in FENCE.finditer(read(file)) if m["language"] == language]


def commands(file: Path) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Give (line, arguments, environment) of every ``$ srkit ...`` of a page."""
    for block in blocks(file, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ ")) if line.startswith("$ ") else []
            environment = {}
            while words and re.match(r"[A-Z_]+=", words[0]):
                name, _, value = words.pop(0).partition("=")
                environment[name] = value
            if words[:1] == ["srkit"]:
                yield line, words[1:], environment


COMMANDS = [
    pytest.param(arguments, environment, id=f"{file.stem}: {line}")
    for file in TEXTS
    if file != TUTORIAL  # which is run whole
    for line, arguments, environment in commands(file)
]


def by_name(pages: list[Path]) -> Any:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


# --- code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [  # Gradio is seconds to import: `nox -s docs` runs the code of its page.
        pytest.param(page, id=page.name, marks=pytest.mark.long if page.stem == "ui" else ())
        for page in PAGES
        if blocks(page, "python")
    ],
)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for example in Document.parse(str(page), PythonCodeBlockParser()).examples():
        example.evaluate()


def test_the_example_on_the_page_is_a_plugin(
    fake_distribution: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "plugins.md"
    packaging = tomllib.loads(blocks(page, "toml")[0])["project"]
    points = packaging["entry-points"]["srkit"]
    (module,) = points.values()
    assert f"`{module}.py`" in read(page)
    fake_distribution(packaging["name"], {module: blocks(page, "python")[0]}, entry_points=points)
    assert srkit.load("bilinear").scale == 4
    assert main(["info", "bilinear"]) == 0
    printed = capsys.readouterr()
    assert "srkit-bilinear 1.0" in printed.out
    assert "Bilinear interpolation: straight lines between pixels." in printed.out
    assert not printed.err


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "environment"), COMMANDS)
def test_a_command_of_the_pages_works(
    arguments: list[str],
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] in QUICK and not {"--train", "check"} & {*arguments}:
        if environment:  # plugins are loaded once a process
            ran = subprocess.run(
                [sys.executable, "-m", "srkit", *arguments], env={**os.environ, **environment}
            )
            assert ran.returncode == 0
        else:
            assert main(arguments) == 0
            assert capsys.readouterr().out
        return
    monkeypatch.syspath_prepend(DOCS)
    known, name = importlib.import_module("generate").commands(), arguments[0]
    if " ".join(arguments[:2]) in known:
        name = " ".join(arguments[:2])
    words = arguments[len(name.split()) :]
    given = known[name].make_context(name, words).params  # parses, runs nothing
    if arguments[0] == "train":
        settings = dict(parse_setting(setting) for setting in given["settings"] or ())
        recipe = given["recipe"]
        if not recipe.endswith(".toml") and recipe not in EXAMPLE_RECIPES:
            made: Recipe = registry.build("recipes", recipe)
            made.changed(settings)


@pytest.mark.long  # `nox -s docs` runs it
@pytest.mark.own_process
def test_the_tutorial_works_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, plugin = blocks(TUTORIAL, "python")
    exec(compile(first, str(TUTORIAL), "exec"), {})
    Path("shuffle.py").write_text(plugin)
    for line, arguments, _ in commands(TUTORIAL):
        forget_plugins()  # a process of its own, in a shell
        assert main(arguments) == 0, line
    for file in ("face-x4.png", "mine.png", "report/index.html", "runs/shuffle/model.safetensors"):
        assert Path(file).is_file()


# --- everything has its words ---------------------------------------------------------------------


def test_every_part_and_its_options_are_described() -> None:
    pages = "".join(map(read, PAGES))
    missing = []
    for kind in kinds():
        for name in registry.offers(kind):
            assert len(registry.describe(kind, name)) > 10, (kind, name)
            if kind in CALLED:
                continue
            factory = registry.find(kind, name)
            texts = [section(each, "Args") for each in getattr(factory, "__mro__", [factory])]
            undescribed = {o.name for o in registry.options(kind, name)}.difference(*texts)
            missing += [(kind, name, o) for o in undescribed - {"scale"} if f"`{o}`" not in pages]
    assert missing == []


def test_every_hook_and_public_name_is_on_a_page() -> None:
    pages = "".join(map(read, PAGES))
    assert ".. automodule:: srkit.hookspecs" in pages
    undescribed = [k for k in kinds() if not getattr(hookspecs, f"srkit_{k}").__doc__]
    assert undescribed == []
    names = [name for name in srkit.__all__ if not hasattr(hookspecs, name)]  # those are on it
    assert [name for name in names if not re.search(rf"\b{name}\b", pages)] == []


def test_every_command_and_option_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    generate = importlib.import_module("generate")
    listed = generate.FILLED["cli"]()
    for name, command in generate.commands().items():
        assert re.search(rf"^  {name.split()[0]}  ", read(DOCS / "cli.md"), re.MULTILINE)
        assert command.help, name
        if hasattr(command, "commands"):
            continue
        assert f"## srkit {name}\n" in listed
        for each in command.params:
            assert getattr(each, "help", None), (name, each.name)
            assert each.param_type_name == "argument" or each.opts[0] in listed


def test_every_block_is_run_parsed_or_marked_as_text() -> None:
    for page in TEXTS:
        languages = {m["language"] for m in FENCE.finditer(read(page))}
        known = {"python", "console", "toml", "text", "sh"}  # the last stands for README's commands
        assert {each for each in languages if not each.startswith("{")} <= known, page.name
        for block in blocks(page, "toml"):
            tomllib.loads(block)


# --- facts of the paper ---------------------------------------------------------------------------


def facts() -> dict[str, str]:
    parts = re.split(r"^#{2,3} (?:(P\d+): )?.*$", read(DOCS / "paper.md"), flags=re.MULTILINE)
    return {name: text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name}


def test_every_fact_of_the_paper_has_its_row() -> None:
    assert list(facts()) == [f"P{number}" for number in range(1, 21)]
    for name, text in facts().items():
        assert re.findall(r"^- \*(\w+):\*", text, re.MULTILINE) == ["Says", "Code", "Chosen"], name
        assert SYMBOL.search(text) or "no code" in text, name


@pytest.mark.parametrize(
    ("module", "name"), sorted(set(SYMBOL.findall(read(DOCS / "paper.md")))), ids="{}".format
)
def test_a_symbol_of_the_paper_page_exists(module: str, name: str) -> None:
    assert reduce(getattr, name.split("."), importlib.import_module(module)) is not None


# --- pages --------------------------------------------------------------------------------------


@by_name(TEXTS)
def test_links_and_images_exist_and_nothing_is_left_to_fill_in(page: Path) -> None:
    prose = FENCE.sub("", read(page))
    targets = [target.partition("#")[0] for target in LINK.findall(prose)]
    inside = [t for t in targets if t and not re.match(r"[a-z]+:", t)]
    assert [target for target in inside if not (page.parent / target).exists()] == []
    assert re.findall(r"\b(?:TODO|FIXME|[A-Z]+-PENDING)\b", read(page)) == []


def test_generated_parts_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generated = [str(page) for page in [*TEXTS, *CARDS] if "[[[cog" in read(page)]
    assert generated
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    forget_plugins()
    status = Cog().main(["cog", "--check", *generated])
    forget_plugins()
    assert status == 0, f"{capsys.readouterr()}\nrun the command at the top of docs/generate.py"


SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_a_benchmark_imports_what_there_is(script: Path) -> None:
    """Most take minutes, so that no test runs them."""
    for node in ast.walk(ast.parse(read(script))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srkit"):
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                if not hasattr(module, name):
                    importlib.import_module(f"{node.module}.{name}")
