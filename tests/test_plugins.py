"""Every way a plugin can be wrong, each with a distribution made for the test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import forget_plugins

import srkit
from srkit import hookspecs, plugins, registry
from srkit.errors import NameClashError, OptionError, PluginError, UnknownNameError

Install = Callable[..., Path]

GOOD = """
import srkit

def make(*, width: int = 3):
    "A part for tests."
    return ("made", width)

@srkit.hookimpl
def srkit_generators():
    return {"made-up": make}
"""


def state(entry_point: str) -> str:
    (plugin,) = [p for p in plugins.load().plugins if p.entry_point == entry_point]
    return plugin.state


def test_a_strangers_part_is_offered_built_and_owned(fake_distribution: Install) -> None:
    fake_distribution("srkit-good", {"good_plugin": GOOD}, version="2.5")
    assert registry.build("generators", "made-up", width=4) == ("made", 4)
    assert registry.describe("generators", "made-up") == "A part for tests."
    assert registry.provenance("generators", "made-up") == "srkit-good 2.5"
    assert state("srkit-good") == "ok"


def test_every_built_in_plugin_loads() -> None:
    built_in = [plugin for plugin in plugins.load().plugins if plugin.built_in]
    assert built_in
    assert {p.state for p in built_in if not p.state.startswith("needs ")} == {"ok"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        # pluggy itself refuses a hook that wants an argument the specification hasn't.
        (GOOD.replace("srkit_generators()", "srkit_generators(nothing)"), "PluginValidationError"),
    ],
    ids=["raises", "wrong-arguments"],
)
def test_a_plugin_that_fails_is_reported_once_and_skipped(
    fake_distribution: Install, capsys: pytest.CaptureFixture[str], source: str, reason: str
) -> None:
    fake_distribution("srkit-good", {"good_plugin": GOOD})
    fake_distribution("srkit-bad", {"bad_plugin": source})
    for kind in hookspecs.kinds():
        registry.offers(kind)
    plugins.load()
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("srkit: warning: plugin srkit-bad 1.0 (srkit-bad) skipped: ")
    assert reason in line
    assert state("srkit-bad").startswith("broken: ")
    assert reason in state("srkit-bad")
    assert state("srkit-good") == "ok"
    assert {"made-up", "inception-residual"} <= registry.offers("generators").keys()


@pytest.mark.parametrize(
    ("requirement", "loads"),
    [
        ("srkit>=2", False),
        ("SRKIT (<0.1)", False),
        ("srkit >= 0.1, <2", True),
        ("srkit>=2; extra == 'later'", True),
        ("srkit-more>=2", True),
        ("srkit>=nonsense", False),
    ],
)
def test_a_plugin_for_another_version_is_reported_and_skipped(
    fake_distribution: Install, requirement: str, loads: bool
) -> None:
    fake_distribution("srkit-good", {"good_plugin": GOOD}, requires=[requirement])
    assert ("made-up" in registry.offers("generators")) is loads
    assert (state("srkit-good") == "ok") is loads
    if requirement == "srkit>=2":
        wanted = f"broken: ValueError: requires srkit>=2, and this is {srkit.__version__}"
        assert state("srkit-good") == wanted


@pytest.mark.parametrize("imports_torch", [False, True])
def test_a_slow_plugin_is_named_unless_it_waits_for_torch(
    fake_distribution: Install,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    imports_torch: bool,
) -> None:
    monkeypatch.setattr(plugins, "SLOW", 0.05)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    imports = "import sys; sys.modules['torch'] = sys" if imports_torch else ""
    fake_distribution(
        "srkit-slow", {"slow_plugin": f"{imports}\nimport time; time.sleep(0.1)\n{GOOD}"}
    )
    assert state("srkit-slow") == "ok"
    lines = capsys.readouterr().err.splitlines()
    start = "srkit: warning: plugin srkit-slow 1.0 (srkit-slow) takes "
    assert [line.startswith(start) for line in lines] == [True] * (not imports_torch)


def test_two_entry_points_to_one_module_are_reported(
    fake_distribution: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = {"one": "good_plugin", "two": "good_plugin"}
    fake_distribution("srkit-good", {"good_plugin": GOOD}, entry_points=twice)
    assert state("one") == "ok"
    assert state("two") == "broken: ValueError: another entry point names good_plugin, too"
    assert capsys.readouterr().err.count("\n") == 1


def test_names_of_plugins_do_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my\x1b[31m\nplug.py").write_text(GOOD)
    monkeypatch.setenv("SRKIT_PLUGINS_DIR", str(tmp_path))
    forget_plugins()
    assert plugins.load().plugins[-1].state.startswith("broken: ValueError: a plugin is a file")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"srkit: warning: plugin my\x1b[31m\nplug.py ")
    assert line.endswith("a plugin is a file NAME.py, NAME of letters, digits, _")
    forget_plugins()


def test_what_a_plugin_prints_goes_to_standard_error(
    fake_distribution: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    part = "print('part')\n" + GOOD
    plugin = "print('plugin')\n" + GOOD.replace(": make", ": 'noisy_parts:make'")
    fake_distribution("srkit-noisy", {"noisy_plugin": plugin, "noisy_parts": part})
    assert registry.build("generators", "made-up") == ("made", 3)
    assert capsys.readouterr() == ("", "plugin\npart\n")


def with_second_hook(body: str) -> str:
    return f"{GOOD}\n@srkit.hookimpl\ndef srkit_losses():\n    {body}\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (with_second_hook("raise KeyError('gone')"), "KeyError: 'gone'"),
        (with_second_hook("return None"), "srkit_losses must return a dict of names to factories"),
        (
            with_second_hook("return {'l7': make}").replace(
                "@srkit.hookimpl\ndef srkit_l", "def srkit_l"
            ),
            "srkit_losses isn't marked @srkit.hookimpl",
        ),
        (with_second_hook("return {7: make}"), "must return a dict of names to factories"),
    ],
    ids=["raises", "none", "unmarked", "no-name"],
)
def test_a_bad_hook_is_reported_and_the_plugins_other_hooks_count(
    fake_distribution: Install, capsys: pytest.CaptureFixture[str], source: str, reason: str
) -> None:
    fake_distribution("srkit-half", {"half_plugin": source})
    assert registry.find("generators", "made-up")
    assert "l7" not in registry.offers("losses")
    assert "pixel" in registry.offers("losses")
    (line,) = capsys.readouterr().err.splitlines()
    assert "srkit-half 1.0" in line
    assert reason in line
    assert reason in state("srkit-half")


@pytest.mark.parametrize("source", ["import no_such_module", with_second_hook("return 1")])
def test_strict_raises_where_a_plugin_would_be_skipped(
    fake_distribution: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
) -> None:
    fake_distribution("srkit-bad", {"bad_plugin": source})
    monkeypatch.setenv("SRKIT_STRICT", "1")
    with pytest.raises(PluginError, match=r"plugin srkit-bad 1\.0"):
        registry.offers("generators")
    assert capsys.readouterr().err == ""


def test_an_unknown_name_says_what_is_known_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        registry.build("generators", "inception-residul")
    message = str(raised.value)
    assert message.startswith(
        "unknown generator 'inception-residul' (did you mean 'inception-residual'?); "
        "known generators: "
    )
    assert all(name in message for name in registry.offers("generators"))
    with pytest.raises(UnknownNameError, match="unknown face set 'xyzzy'; known face sets: "):
        registry.find("face_sets", "xyzzy")
    assert registry.offers("face-set") == registry.offers("face_sets")


def test_a_clash_names_both_owners_and_only_when_asked_for(fake_distribution: Install) -> None:
    two = GOOD.replace('"made-up": make', '"made-up": make, "other": make')
    fake_distribution("srkit-one", {"one_plugin": GOOD}, version="0.1")
    fake_distribution("srkit-two", {"two_plugin": two}, version="0.2")
    assert "made-up" in registry.offers("generators")
    assert registry.build("generators", "other") == ("made", 3)
    with pytest.raises(NameClashError) as raised:
        registry.build("generators", "made-up")
    assert str(raised.value) == (
        "generator 'made-up' is provided by srkit-one 0.1 (srkit-one) and srkit-two 0.2 (srkit-two)"
        "; say 'srkit-one:made-up' or 'srkit-two:made-up'"
    )
    assert registry.provenance("generators", "srkit-two:made-up") == "srkit-two 0.2"
    assert registry.build("generators", "srkit-two:other") == ("made", 3)


def test_a_built_ins_name_stays_its_own(fake_distribution: Install) -> None:
    fake_distribution("srkit-one", {"one_plugin": GOOD.replace("made-up", "face-residual")})
    assert registry.provenance("generators", "face-residual") == f"srkit {srkit.__version__}"
    assert registry.find("generators", "srkit:face-residual").__name__ == "FaceResidual"
    assert registry.build("generators", "srkit-one:face-residual") == ("made", 3)
    with pytest.raises(UnknownNameError, match="unknown generator 'srkit-two:face-residual'"):
        registry.find("generators", "srkit-two:face-residual")


def test_the_same_name_in_two_kinds_is_no_clash(fake_distribution: Install) -> None:
    fake_distribution("srkit-one", {"one_plugin": with_second_hook("return {'made-up': make}")})
    assert registry.find("generators", "made-up") is registry.find("losses", "made-up")


def test_a_clash_is_resolved_by_naming_the_plugins_wanted(
    fake_distribution: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_distribution("srkit-one", {"one_plugin": GOOD})
    fake_distribution("srkit-two", {"two_plugin": GOOD})
    monkeypatch.setenv("SRKIT_PLUGINS", "srkit-two")
    assert registry.provenance("generators", "made-up") == "srkit-two 1.0"


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [("", set()), ("srkit_ONE", {"srkit-one"}), (" srkit-one , srkit-two,", None), (None, None)],
)
def test_srkit_plugins_limits_strangers_and_keeps_built_ins(
    fake_distribution: Install,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str | None,
    loaded: set[str] | None,
) -> None:
    both = {"srkit-one", "srkit-two"}
    fake_distribution("srkit-one", {"one_plugin": GOOD})
    fake_distribution("srkit-two", {"two_plugin": GOOD})
    if wanted is not None:
        monkeypatch.setenv("SRKIT_PLUGINS", wanted)
    states = {p.distribution: p.state for p in plugins.load().plugins if p.distribution in both}
    loaded = both if loaded is None else loaded
    assert states == {name: "ok" if name in loaded else "off" for name in both}
    assert "inception-residual" in registry.offers("generators")


def test_a_plugin_left_out_is_not_even_imported(
    fake_distribution: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_distribution("srkit-one", {"one_plugin": "raise RuntimeError('imported')"})
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    assert state("srkit-one") == "off"


def test_a_wrong_option_shows_the_nearest_and_those_there_are() -> None:
    with pytest.raises(OptionError) as raised:
        registry.build("generators", "face-residual", widht=3)
    assert str(raised.value) == (
        "generator 'face-residual': unknown key 'widht' (did you mean 'width'?); "
        "known: scale, width, blocks"
    )


@pytest.mark.parametrize("value", ["wide", 1.5, [3], None])
def test_a_value_of_the_wrong_type_is_shown_with_the_right_type(value: object) -> None:
    with pytest.raises(OptionError) as raised:
        registry.build("generators", "face-residual", width=value)
    message = str(raised.value)
    start = f"generator 'face-residual': 'width' can't be {value!r}: Input should be a valid int"
    assert message.startswith(start)
    assert "\n" not in message


def test_a_choice_that_does_not_exist_names_the_choices() -> None:
    with pytest.raises(OptionError, match="'bicubic', 'bilinear', 'area'"):
        registry.build("degradations", "faces-x4", kernel="nearest")


def test_a_missing_option_is_named(fake_distribution: Install) -> None:
    source = GOOD.replace("width: int = 3", "width: int")
    fake_distribution("srkit-one", {"one_plugin": source})
    with pytest.raises(OptionError, match="generator 'made-up': 'width' is missing"):
        registry.build("generators", "made-up")


def test_a_value_the_factory_rejects_is_the_callers_mistake() -> None:
    with pytest.raises(OptionError, match="generator 'inception-residual': scale is 4"):
        registry.build("generators", "inception-residual", scale=3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('gone')", "fails: KeyError: 'gone'"),
        ("raise SystemExit(0)", "fails: SystemExit: 0"),
        ("raise ValueError('no such width')", "no such width"),
    ],
    ids=["raises", "exits", "rejects"],
)
def test_a_factory_that_fails_is_named(fake_distribution: Install, body: str, reason: str) -> None:
    fake_distribution("srkit-one", {"one_plugin": GOOD.replace('return ("made", width)', body)})
    with pytest.raises(OptionError, match=f"^generator 'made-up'.*{reason}") as raised:
        registry.build("generators", "made-up")
    assert ("srkit-one 1.0" in str(raised.value)) == ("fails" in reason)


def test_a_bug_of_a_factory_is_its_authors_with_options_too(fake_distribution: Install) -> None:
    body = GOOD.replace('return ("made", width)', "raise RuntimeError('a bug')")
    fake_distribution("srkit-one", {"one_plugin": body})
    with pytest.raises(OptionError, match=r"of srkit-one 1\.0 .* fails: RuntimeError: a bug"):
        registry.build("generators", "made-up", width=3)


@pytest.mark.parametrize(
    ("hook", "option"), [("losses", "weight"), ("losses", "during"), ("generators", "name")]
)
def test_an_option_that_is_the_recipes_own_is_refused(
    fake_distribution: Install, hook: str, option: str
) -> None:
    source = GOOD.replace("generators", hook).replace("width", option)
    fake_distribution("srkit-one", {"one_plugin": source})
    message = f"'made-up' of srkit-one 1.0 .* has an option '{option}', which is the recipe's own"
    with pytest.raises(OptionError, match=message):
        registry.build(hook, "made-up")


def test_scale_goes_to_the_parts_that_ask_for_it_alone() -> None:
    assert registry.build_scaled("generators", "face-residual", 2, {"blocks": 1}).scale == 2
    assert registry.build_scaled("losses", "l1", 2, {})


def test_whole_numbers_become_what_the_annotation_wants(fake_distribution: Install) -> None:
    fake_distribution("srkit-one", {"one_plugin": GOOD.replace("int = 3", "float = 3.0")})
    _, width = registry.build("generators", "made-up", width=1)
    assert (width, type(width)) == (1.0, float)


BIG = {"x": "big_plugin [big]"}


def test_a_missing_extra_is_a_need_and_no_fault(
    fake_distribution: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SRKIT_STRICT", "1")  # still no error: nothing is broken
    fake_distribution(
        "srkit-big",
        {"big_plugin": "import not_installed_thing"},
        entry_points=BIG,
        requires=["pytest", 'not-installed-thing; extra == "big"'],
        extras=["big"],
    )
    assert state("x") == "needs srkit-big[big]"
    assert capsys.readouterr().err == ""


def test_an_extra_that_is_installed_loads(fake_distribution: Install) -> None:
    fake_distribution(
        "srkit-big",
        {"big_plugin": GOOD},
        entry_points=BIG,
        requires=['pytest; extra == "big"', 'not-installed-thing; extra == "other"'],
        extras=["big", "other"],
    )
    assert state("x") == "ok"
    assert "made-up" in registry.offers("generators")


LAZY = """
import srkit

@srkit.hookimpl
def srkit_generators():
    return {"lazy": "lazy_parts:make", "nowhere": "lazy_nowhere:make", "no-name": "lazy_parts:no",
            "number": "lazy_parts:width", "raising": "lazy_raising:make"}
"""


def test_a_string_imports_nothing_until_it_is_asked_for(fake_distribution: Install) -> None:
    site = fake_distribution("srkit-lazy", {"lazy_plugin": LAZY, "lazy_parts": GOOD})
    assert site.is_dir()
    assert "lazy" in registry.offers("generators")
    assert "lazy_parts" not in sys.modules
    assert registry.build("generators", "lazy", width=5) == ("made", 5)
    assert "lazy_parts" in sys.modules


@pytest.mark.parametrize("name", ["nowhere", "no-name", "raising", "number"])
def test_a_string_that_leads_nowhere_names_its_owner(fake_distribution: Install, name: str) -> None:
    raising = "raise RuntimeError('no')"
    parts = GOOD + "\nwidth = 3"
    modules = {"lazy_plugin": LAZY, "lazy_parts": parts, "lazy_raising": raising}
    fake_distribution("srkit-lazy", modules)
    with pytest.raises(OptionError, match=f"generator '{name}' of srkit-lazy 1.0 .* can't be "):
        registry.find("generators", name)


def test_every_public_name_can_be_had() -> None:
    for name in srkit.__all__:
        assert getattr(srkit, name) is not None
    assert set(srkit.__all__) <= set(dir(srkit))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = srkit.nothing  # type: ignore[attr-defined]
