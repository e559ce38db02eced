from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import shell, template
from wattle_jupyter.errors import SpecError

NASTY = st.text(alphabet="ab '\"$`\\\n;|&#(){}*~!<>=", max_size=12)


def render(text: str, value: object, *, quote: bool = True) -> str:
    return template.render(text, lambda _: value, quote=quote)


def sh(text: str) -> list[str]:
    """The words that ``sh`` makes of ``text``."""
    out = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True, timeout=30).stdout
    return out.decode().split("\0")[:-1]


def test_references_are_found_with_name_key_and_position() -> None:
    found = template.references("a {{ x }} {{etl.clean.rows|raw}} \\{{ no }} {{ b-1.k }}")
    assert [(r.name, r.key, r.raw, r.position) for r in found] == [
        ("x", None, False, 2),
        ("etl.clean", "rows", True, 10),
        ("b-1", "k", False, 43),
    ]


@pytest.mark.parametrize(
    "text", ["{{ }}", "{{ a b }}", "{{ x + 1 }}", "{{ 1 }}", "{{ x", "{{ a. }}", "{{ x | upper }}", "{{ .a }}"]
)
def test_what_is_no_template_is_refused_with_its_position(text: str) -> None:
    with pytest.raises(SpecError, match="at character 4"):
        template.references("ab " + text)


@given(st.text(alphabet="ab {}\\", max_size=20))
def test_an_escaped_text_renders_to_itself(text: str) -> None:
    assert template.references(template.escape(text)) == []
    assert render(template.escape(text), "never", quote=False) == text


@pytest.mark.parametrize(
    ("value", "quoted", "plain"),
    [
        ("a b", "'a b'", "a b"),
        ("", "''", ""),
        (3, "3", "3"),
        (0.5, "0.5", "0.5"),
        (True, "true", "true"),
        (None, "", ""),
        (["a b", 1, None], "'a b' 1 ''", "a b 1 "),
        ({"k": "ü"}, '\'{"k": "ü"}\'', '{"k": "ü"}'),
    ],
)
def test_a_value_becomes_text_by_its_type(value: object, quoted: str, plain: str) -> None:
    assert render("{{ x }}", value) == quoted
    assert render("{{ x }}", value, quote=False) == plain


def test_raw_is_not_quoted() -> None:
    assert render("{{ x | raw }}", "a; b") == "a; b"


@settings(max_examples=60, deadline=None)
@given(
    NASTY, st.sampled_from(["{}", '"{}"', "'{}'", '"a {} b"', "--x={}", '"$(printf %s {})"', "a\\'{}", "'it'\\''s {}'"])
)
def test_a_value_stays_data_in_whatever_quotes_it_stands(value: str, place: str) -> None:
    given_words = sh(place.format("X"))
    expected = [word.replace("X", value) for word in given_words]
    if "$(" in place:
        expected = [word.rstrip("\n") for word in expected]  # what $( ) does
    assert sh(render(place.format("{{ x }}"), value)) == expected


@settings(max_examples=30, deadline=None)
@given(NASTY)
def test_a_value_in_a_comment_does_not_end_it(value: str) -> None:
    assert sh(render("a # it's {{ x }}\n", value)) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "cat <<E\n{{ x }}\nE",
        "echo `a {{ x }}`",
        "echo ${a:-{{ x }}}",
        "echo $'a' {{ x }}",
        'echo "$(case a in a) echo "{{ x }}";; esac)"',
    ],
)
def test_where_quoting_cannot_be_promised_a_template_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="cannot be quoted"):
        render(text, "v")
    assert "v" in render(text.replace("x }}", "x | raw }}"), "v")


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="abcd -=./,:@%^+'\"", min_size=1, max_size=20))
def test_words_that_need_no_shell_are_those_that_the_shell_makes(text: str) -> None:
    words = shell.argv(text)
    if words is not None:
        assert sh(text) == list(words)


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "a > b",
        "a; b",
        "a &",
        "echo $X",
        "echo `x`",
        "X=1 a",
        "cd x",
        "ls *.py",
        "a\nb",
        'echo "$X"',
        "echo ~",
        "a # b",
        "exit 3",
        "'x",
        "",
    ],
)
def test_shell_syntax_is_left_to_the_shell(text: str) -> None:
    assert shell.argv(text) is None
