"""A training run as data: what a recipe accepts, keeps, and says when it can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srkit import (
    Adversarial,
    Data,
    InputError,
    Loss,
    Optimizer,
    OptionError,
    Part,
    Recipe,
    registry,
)
from srkit.errors import RecipeError
from srkit.recipe import parse_setting


def small(**values: Any) -> Recipe:
    defaults = {
        "name": "small",
        "generator": Part.of("face-residual", width=8),
        "losses": {"l1": Loss()},
        "degradation": Part.of("faces-x4"),
    }
    return Recipe(**{**defaults, **values})


@pytest.mark.parametrize("name", ["", "..", "../x", "/tmp/x", "a\\b", "a\nb", "\x1b[31m"])
def test_a_name_is_that_of_one_folder(name: str) -> None:
    with pytest.raises(RecipeError, match=r"'name' can't be .* it names a folder"):
        small().changed({"name": name})


@pytest.mark.parametrize("text", ["[" * 20_000, "9" * 6000, "{a" + ".a" * 9000])
def test_a_setting_that_is_no_toml_is_a_text(text: str) -> None:
    assert parse_setting(f"steps={text}") == ("steps", text)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan"])
def test_a_setting_is_finite(text: str) -> None:
    with pytest.raises(RecipeError, match=rf"--set generator.width: {text} is no finite number"):
        parse_setting(f"generator.width={text}")


@pytest.mark.parametrize("name", ["edsr", "srresnet", "face-hourglass"])
@pytest.mark.parametrize("width", [-1, float("nan")])
def test_an_option_that_no_network_can_have_is_one_line(name: str, width: float) -> None:
    key = "widths" if name == "face-hourglass" else "width"
    values: Any = [width] * 3 if key == "widths" else width
    with pytest.raises(OptionError) as error:
        registry.build("generators", name, scale=4, **{key: values})
    assert "\n" not in str(error.value)


option_values = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=25)
@given(
    options=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), option_values),
    rate=st.floats(1e-9, 10),
    seed=st.integers(0, 2**62),
)
def test_any_options_survive_toml(options: dict[str, Any], rate: float, seed: int) -> None:
    options.pop("name", None)
    part = Part.of("made-up", **options)
    recipe = small(generator=part, seed=seed, optimizer=Optimizer(learning_rate=rate))
    again = Recipe.from_toml(recipe.to_toml())
    assert again == recipe
    assert again.generator.options == options


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(small().to_toml(), encoding="utf-8")
    assert Recipe.from_file(file) == small()
    with pytest.raises(InputError, match=r"can't read .*none\.toml: No such file"):
        Recipe.from_file(tmp_path / "none.toml")


def test_what_a_class_does_not_take_is_said_in_one_line() -> None:
    with pytest.raises(RecipeError, match=r"^srkit\.Optimizer: .*'learning_rat' .*'learning_rate'"):
        Optimizer(learning_rat=1)  # type: ignore[call-arg]
    with pytest.raises(RecipeError, match=r"^srkit\.Loss: .*during wants \[from, to\]"):
        Loss(during=(0.5, 0.5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stpes": 3}, ["unknown key 'stpes'", "did you mean 'steps'", "batch_size"]),
        ({"data.szie": 3}, ["unknown key 'data.szie'", "did you mean 'size'", "framing"]),
        ({"optimizer.lr": 3}, ["unknown key 'optimizer.lr'", "learning_rate"]),
        ({"adversarial.weigth": 3}, ["'adversarial.weigth'", "did you mean 'weight'"]),
        ({"steps": "many"}, ["'steps'", "integer", "'many'"]),
        ({"steps": 0}, ["'steps'", "greater than 0"]),
        ({"seed": -1}, ["'seed'", "-1"]),
        ({"ema": 1.0}, ["'ema'", "less than 1"]),
        ({"data.framing": "crop"}, ["'data.framing'", "'square', 'squash' or 'jitter'"]),
        ({"optimizer.betas": [0.5]}, ["'optimizer.betas"]),
        ({"optimizer.learning_rate": float("inf")}, ["'optimizer.learning_rate'", "finite"]),
        ({"seed": 2**64}, ["'seed'"]),
        ({"optimizer.name": "sgd"}, ["'optimizer.name'", "'adam' or 'adamw'"]),
        ({"losses.l1.weight": "heavy"}, ["'losses.l1.weight'", "number"]),
        ({"losses.l1.weight": -1}, ["'losses.l1.weight'", "greater than or equal to 0"]),
        ({"losses.l1.weight": 0}, ["nothing to train on"]),
        ({"generator": "espcn"}, ["'generator'"]),
        ({"generator.width.more": 1}, ["can't set generator.width.more", "width"]),
        ({"data.size": 30}, ["data.size 30 is no multiple of scale 4"]),
        ({"discriminator.name": "srgan-plain"}, ["discriminator and adversarial go together"]),
        ({"adversarial.weight": 1}, ["discriminator and adversarial go together"]),
        ({"losses": {}}, ["nothing to train on"]),
        ({"discriminator.width": 1}, ["'discriminator.name' is missing"]),
        ({"data.size": 2**63}, ["'data.size' can't be 9223372036854775808"]),
        ({"data.framing": "squach"}, ["'data.framing' can't be 'squach'", "did you mean 'squash'"]),
        ({"optimizer.schedule": "COSINE"}, ["'optimizer.schedule'", "did you mean 'cosine'"]),
        ({"adversarial.objective": "relativ"}, ["did you mean 'relativistic'", "'hinge'"]),
        ({"optimizer": "adam"}, ["'optimizer' is a table", "'adam'"]),
        ({"losses": [1]}, ["'losses' is a table"]),
        ({"losses.l1": 0.5}, ["'losses.l1' is a table", "0.5"]),
        ({"data.flips": "perhaps"}, ["'data.flips'", "'perhaps'"]),
        ({"data.size": 0.5}, ["'data.size'", "0.5"]),
        ({"optimizer.betas": [0.5, 2.0]}, ["'optimizer.betas[1]' can't be 2.0"]),
    ],
)
def test_what_no_recipe_has_is_said_in_one_line(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as raised:
        small().changed(settings)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("steps = " + "[" * 50_000, "nested more than 64 deep"),
        ("steps = " + "[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("steps = " + "[" * 63 + "]" * 63, "'name' is missing"),
        ("steps = inf\nname = 'x'\n[generator]\nname = 'x'\n[degradation]\nname = 'x'", "'steps'"),
    ],
    ids=["digits", "deep", "closed", "flat", "infinite"],
)
def test_hostile_toml_is_one_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.from_toml(f"{text}\n", "mine.toml")
    assert message in str(raised.value)
    assert str(raised.value).startswith("mine.toml: ")
    assert len(str(raised.value)) < 300


def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it() -> None:
    text = small().to_toml().replace("[generator]", "[generater]")
    with pytest.raises(RecipeError, match=r"'generater' \(did you mean 'generator'\?\)"):
        Recipe.from_toml(text)


def test_an_adversary_alone_is_enough_to_train_on() -> None:
    recipe = small(losses={}, discriminator=Part.of("srgan-plain"), adversarial=Adversarial())
    assert recipe.losses == {}


def test_changed_sets_values_at_dotted_paths_and_leaves_the_original() -> None:
    before = small()
    after = before.changed({"steps": 7, "generator.width": 16, "losses.mse.weight": 0.5})
    assert (after.steps, after.generator.options) == (7, {"width": 16})
    assert after.losses == {"l1": Loss(), "mse": Loss(weight=0.5)}
    assert before == small()
    assert after.changed({}) == after


def test_a_new_part_drops_the_options_of_the_old_one_whatever_the_order() -> None:
    for names in (["generator.name", "generator.deep"], ["generator.deep", "generator.name"]):
        values = {"generator.name": "espcn", "generator.deep": True}
        after = small().changed({name: values[name] for name in names})
        assert after.generator == Part.of("espcn", deep=True)


def test_the_same_name_again_keeps_the_options() -> None:
    assert small().changed({"generator.name": "face-residual"}) == small()


def test_another_optimizer_keeps_its_learning_rate() -> None:
    # An optimiser is no part: all of its settings mean the same under either name.
    recipe = small(optimizer=Optimizer(learning_rate=0.5, schedule="cosine", warmup=3))
    after = recipe.changed({"optimizer.name": "adamw"}).optimizer
    assert after == recipe.optimizer.model_copy(update={"name": "adamw"})


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("generator.width=0.25", "generator.width", 0.25),
        ("steps=10", "steps", 10),
        ("data.flips=true", "data.flips", True),
        ("degradation.noise=[0.0, 0.04]", "degradation.noise", [0.0, 0.04]),
        ("degradation.kernel=bicubic", "degradation.kernel", "bicubic"),
        ('degradation.kernel="area"', "degradation.kernel", "area"),
        (" name = a=b ", "name", "a=b"),
        ("name=", "name", ""),
    ],
)
def test_a_setting_is_toml_or_a_bare_string(text: str, path: str, value: Any) -> None:
    setting = parse_setting(text)
    assert setting == (path, value)
    assert type(setting[1]) is type(value)


@pytest.mark.parametrize("text", ["steps", "=3", " =3", ""])
def test_a_setting_without_path_or_value_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"--set takes part\.option=value"):
        parse_setting(text)


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (small(), "steps"),
        (Part.of("x", width=1), "name"),
        (Part.of("x", width=1), "width"),
        (Loss(), "weight"),
        (Data(), "size"),
        (Optimizer(), "learning_rate"),
        (Adversarial(), "weight"),
    ],
)
def test_recipes_are_frozen(thing: pydantic.BaseModel, name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(thing, name, 1)


def test_changing_a_parts_options_changes_no_recipe() -> None:
    part = Part.of("x", width=1)
    part.options["width"] = 2
    assert part == Part.of("x", width=1)
