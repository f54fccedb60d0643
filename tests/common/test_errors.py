"""A setting in a message is spelled by whoever shows it."""

import pickle

import pytest

from unspoken.common.errors import (
    ModelError,
    SettingError,
    one_word,
    setting,
    settings_of,
)


def as_flag(name: str, value: str | None) -> str:
    """A spelling, as a verb's."""
    return f"--{name}" if value in (None, "true") else f"--{name} {value}"


def wrong() -> SettingError:
    return SettingError(
        "top_p",
        found=0.9,
        needed=f"{setting('temperature')} above 0",
        remedy=f"set {setting('temperature', 0.7)}, or {setting('overwrite', True)}",
    )


@pytest.mark.parametrize(
    ("path", "told"),
    [("runs/größer", "runs/größer"), ("runs/7 %", "'runs/7 %'"), ("a(1)", "'a(1)'"),
     ("3x2,4x4", "3x2,4x4"), ("$HOME", "'$HOME'")],
)  # fmt: skip
def test_a_path_can_be_copied_into_a_shell(path: str, told: str) -> None:
    assert one_word(path) == told


def test_a_message_in_python_has_keys_and_on_the_command_line_flags() -> None:
    assert str(wrong()) == (
        "top_p: found 0.9; needed: temperature above 0; set temperature=0.7, or overwrite=true"
    )
    assert wrong().told(as_flag) == (
        "--top_p: found 0.9; needed: --temperature above 0; set --temperature 0.7, or --overwrite"
    )


def test_a_value_with_blanks_can_be_copied_into_a_shell() -> None:
    remedy = f"give {setting('output', 'my runs/a')}, or {setting('data.digits', '[[3, 2]]')}"
    assert str(ModelError(remedy)) == "give output='my runs/a', or data.digits='[[3, 2]]'"
    assert str(ModelError(setting("model.name", "runs/a"))) == "model.name=runs/a"


def test_a_recipe_renames_what_its_functions_say() -> None:
    names = {"top_p": "teacher.top_p", "temperature": "teacher.temperature"}
    with pytest.raises(SettingError) as caught, settings_of(names):
        raise wrong()
    assert caught.value.setting == "teacher.top_p"
    assert str(caught.value) == (
        "teacher.top_p: found 0.9; needed: teacher.temperature above 0; set "
        "teacher.temperature=0.7, or overwrite=true"
    )


def test_other_errors_may_name_settings_too_and_what_users_wrote_is_left_alone() -> None:
    error = ModelError(f"{setting('model')}: found --model x=y {{temperature}}; correct it")
    with pytest.raises(ModelError) as caught, settings_of({"model": "base_model"}):
        raise error
    assert caught.value.told(as_flag) == (
        "--base_model: found --model x=y {temperature}; correct it"
    )


def test_an_error_goes_through_a_pipe_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(ModelError(f"{setting('model')}: missing")))
    assert copy.told(as_flag) == "--model: missing"
    assert pickle.loads(pickle.dumps(wrong())).told(as_flag) == wrong().told(as_flag)
