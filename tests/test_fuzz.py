"""Every parser on its seeds, on mutations of them and on noise; ``python3 dev.py fuzz`` goes on from there."""

from __future__ import annotations

import pytest
from fuzz.parsers import PARSERS, SEEDS, Parser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wattle_jupyter import notation

EACH = pytest.mark.parametrize("parser", PARSERS.values(), ids=list(PARSERS))


@st.composite
def mutations(draw: st.DrawFn, parser: Parser) -> bytes:
    """A seed with some of its bytes, or a stretch of them, exchanged for others, for words of the language or noise."""
    data = bytearray(draw(st.sampled_from(parser.seeds())))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.sampled_from([at, at, min(len(data), at + 1), draw(st.integers(at, len(data)))]))
        words = st.sampled_from([word.encode() for word in parser.words])
        data[at:end] = draw(st.one_of(words, words, st.binary(max_size=4), st.sampled_from([b"[" * 3000, b"9" * 5000])))
    return bytes(data)


@EACH
def test_a_parser_takes_its_seeds(parser: Parser) -> None:
    for seed in parser.seeds():
        parser.feed(seed)


@EACH
def test_a_parser_refuses_in_words_whatever_it_does_not_take(parser: Parser) -> None:
    @settings(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of(mutations(parser), mutations(parser), st.binary(max_size=200), st.text(max_size=99).map(str.encode))
    )
    def feed(data: bytes) -> None:
        parser.feed(data)

    feed()


def test_each_parser_has_seeds_and_each_seed_a_parser() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(PARSERS)


def test_a_parser_that_lets_an_error_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(text: str) -> object:
        return text.encode("ascii")

    monkeypatch.setattr(notation, "yaml_data", careless)
    with pytest.raises((UnicodeEncodeError, ExceptionGroup)):
        test_a_parser_refuses_in_words_whatever_it_does_not_take(PARSERS["yaml"])
