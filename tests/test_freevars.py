"""Names that code needs and makes: by rows, and compared with what Python looks up when it executes random programs."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from wattle_jupyter import freevars


def needs(source: str) -> set[str]:
    return set(freevars.names(textwrap.dedent(source)).needs)


def perhaps(source: str) -> set[str]:
    return set(freevars.names(textwrap.dedent(source)).perhaps)


def makes(source: str) -> set[str]:
    return set(freevars.names(textwrap.dedent(source)).makes)


@pytest.mark.parametrize(
    ("source", "needed", "made"),
    [
        ("", "", ""),
        ("# only a comment", "", ""),
        ("df = df.dropna()", "df", "df"),
        ("df = load()\ndf.head()", "load", "df"),
        ("x += 1", "x", "x"),
        ("x.y = 1", "x", ""),
        ("x[i] = v", "x i v", ""),
        ("x: int", "int", ""),
        ("x: int = v", "int v", "x"),
        ("from __future__ import annotations\nx: int = 1", "", "annotations x"),
        ("a, (b, *c) = v", "v", "a b c"),
        ("print(y := x, y)", "print x", "y"),
        ("[a for a in b]", "b", ""),
        ("[c for a in b if a for c in a]", "b", ""),
        ("{k: v for k, v in d.items() if k in keep}", "d keep", ""),
        ("[a for a in b if (c := a)]\nc", "b", "c"),
        ("[[(z := y) for y in x] for x in q]", "q", "z"),
        ("sum(n for n in xs if n > limit)", "sum xs limit", ""),
        ("a = 1\n[a for b in a]", "", "a"),
        ("a; [a for a in a]", "a", ""),
        ("f'{x!r:>{w}} {y=}'", "x w y", ""),
        ("del t", "t", ""),
        ("t = 1\ndel t\nt", "", "t"),
        ("import os.path, a.b as c", "", "os c"),
        ("from m import n as o, p", "", "o p"),
        ("with open(p) as f:\n  f.read()", "open p", "f"),
        ("for i in r:\n  i\nelse:\n  i", "r", "i"),
        ("for x in r:\n  if seen: pass\n  seen = x", "r seen", "x seen"),
        ("while n:\n  n -= 1", "n", "n"),
        ("if a:\n  x = 1\nelse:\n  x += 1", "a x", "x"),
        ("if a:\n  x = 1\nx", "a", "x"),
        ("try:\n  x = f()\nexcept E as e:\n  e\nelse:\n  x\nfinally:\n  g", "f E g", "x e"),
        ("try:\n  pass\nexcept E as e:\n  pass\ne", "E", "e"),
        ("match s:\n  case P(q, x=1) if r: q\n  case {**m}: m\n  case [*o, n]: o\n  case k.v: 1", "s P r k", "q n m o"),
        ("lambda a, *b, c=d, **e: a + b + c + e + g", "d g", ""),
        ("def f(a, b=c, *d, e: t = h, **k) -> r:\n  return a, b, d, e, k, free", "c t h r free", "f"),
        ("def f():\n  x = 1\n  return x", "", "f"),
        ("def f():\n  return x\n  x = 1", "", "f"),
        ("def f(n):\n  return f(n - 1)", "", "f"),
        ("def f():\n  global g\n  g = h\nf()\ng", "h", "f g"),
        ("def f():\n  x = 1\n  def g():\n    nonlocal x\n    x += y\n  return g", "y", "f"),
        ("def f():\n  x = 1\n  def g():\n    global x\n    return x\n  return g", "x", "f"),
        ("def f():\n  def g():\n    return z\n  return g", "z", "f"),
        ("def f():\n  import os\n  return os.sep", "", "f"),
        ("def f():\n  return [i for i in xs], {j for j in i}", "xs i", "f"),
        ("async def f():\n  async for x in y:\n    await x\n  async with z as q:\n    q", "y z", "f"),
        ("await f(x)", "f x", ""),
        ("x = [i async for i in y]", "y", "x"),
        ("@d(e)\ndef f(): pass", "d e", "f"),
        ("class A(B, metaclass=M):\n  x = y\n  z = x\n  def m(self): return x, __class__, A", "B M y x", "A"),
        ("class A:\n  x = x", "x", "A"),
        ("class A:\n  n = 3\n  r = [i for i in n]\n  s = [n for i in n]", "n", "A"),
        ("class A:\n  def m(self): return helper()\ndef helper(): return deep", "deep", "A helper"),
        ("def f():\n  class A:\n    y = x\n  x = 1\n  return A", "", "f"),
        ("def f():\n  return helper()\ndef helper(): return 1\nf()", "", "f helper"),
        ("get = lambda: late\nlate = 1\nget()", "", "get late"),
        ("global x\nx = y", "y", "x"),
        ("x = yes if test else no", "yes test no", "x"),
        ("print(*args, **kwargs)", "print args kwargs", ""),
    ],
)  # fmt: skip
def test_what_code_needs_and_makes(source: str, needed: str, made: str) -> None:
    assert (needs(source), makes(source)) == (set(needed.split()), set(made.split()))


def test_a_function_that_may_run_before_a_name_is_made_needs_it_perhaps() -> None:
    source = """
        def clean():
            return df.dropna()
        df = clean()
    """
    assert needs(source) == set()
    assert perhaps(source) == {"df"}


def test_a_name_whose_absence_is_caught_is_needed_perhaps() -> None:
    source = "try:\n  cache\nexcept (KeyError, NameError):\n  cache = {}\n"
    assert perhaps(source) == {"cache"}
    assert "cache" not in needs(source)
    assert needs("try:\n  cache\nexcept KeyError:\n  cache = {}\n") == {"cache", "KeyError"}


def test_the_first_mention_of_each_name_has_its_line() -> None:
    found = freevars.names("import os\n\ny = x\nprint(x,\n  z)\ndef f():\n    return w\n")
    assert found.needs == {"x": 3, "print": 4, "z": 5, "w": 7}
    assert found.makes == {"os": 1, "y": 3, "f": 6}


def test_imports_are_told_with_their_modules() -> None:
    found = freevars.names("import numpy as np, os.path\nfrom a.b import c as d\nfrom . import e\nfrom x import *\n")
    assert found.imports == {"np": "numpy", "os": "os", "d": "a.b", "e": "."}
    assert found.stars == ("x",)


@pytest.mark.parametrize(
    ("source", "has"),
    [
        ("x", True),
        ("x\n\n# the end\n", True),
        ("x = 1", False),
        ("x;", False),
        ("plot(x) ;  # quiet", False),
        ("'ä ö'; x", True),
        ("'ä ö', x;", False),
        ("f(\n  x\n)", True),
        ("if y:\n  x", False),
        ("", False),
        ("print(1)\ndef f(): pass", False),
    ],
)
def test_a_last_expression_is_a_result_unless_a_semicolon_follows(source: str, has: bool) -> None:
    assert freevars.names(source).result is has


def test_only_an_await_outside_of_functions_counts() -> None:
    assert freevars.names("await f()").awaits
    assert freevars.names("async with a as b: pass").awaits
    assert not freevars.names("async def f():\n  await g()").awaits


@pytest.mark.parametrize(
    "source", ["x = ", "return 1", "def f(:", "break", "'a' 'b", "def f():\n  global x\n  nonlocal y"]
)
def test_code_that_cannot_be_compiled_is_a_syntax_error_with_its_line(source: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        freevars.names(source)
    assert caught.value.lineno


def test_an_odd_escape_is_left_for_python_to_say() -> None:
    assert freevars.names("x = '\\d'").makes == {"x": 1}


# --------------------------------------------------------------------------- compared with what Python really looks up


class Anything:
    """Goes through all that the random programs do with it."""

    def __call__(self, *args: object, **kwargs: object) -> Anything:
        return self

    def __iter__(self) -> Any:
        return iter([self, self])

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __add__(self, other: object) -> Anything:
        return self

    __radd__ = __iadd__ = __add__


def lacked(source: str) -> set[str] | None:
    """What has to be there before the program for it to run without a NameError; None if nothing helps."""
    given: set[str] = set()
    while True:
        try:
            execute(source, given)
        except NameError as error:
            if error.name in given:
                return None
            given.add(error.name)
        else:
            return given


def execute(source: str, given: set[str]) -> None:
    space: dict[str, Any] = {name: Anything() for name in {"any_of", *given}}
    exec(compile(source, "<program>", "exec"), space)
    for name in ("f", "g", "h"):  # functions that the program never called
        if callable(space.get(name)):
            space[name]()


SIMPLE = [
    "{0} = {1}",
    "{0} += any_of({1})",
    "for {0} in any_of({1}): {0}",
    "with any_of({1}) as {0}: {2}",
    "import os as {0}",
    "any_of({0}, {1})",
    "any_of({0} := {1})",
    "[any_of({0}, {1}) for {1} in any_of({2})]",
    "[({0} := x) for x in any_of({2}) if {1}]",
    "(lambda {0}: any_of({0}, {1}))({2})",
    "any_of(f'{{{0}!r}}')",
    "class K:\n    {0} = {1}\n    any_of({0}, {2})",
    "class K:\n    {0} = {1}\n    [({0}, {2}) for {2} in any_of({0})]",
    "del {0}",
]
FUNCTIONS = [
    "{f}()",
    "def {f}(): any_of({0}, {1})",
    "def {f}({0}=0): any_of({0}, {1})",
    "def {f}(): {0} = any_of({1}); any_of({0})",
    "def {f}():\n    global {0}\n    {0} = any_of({1})",
    "def {f}():\n    {0} = 1\n    def inner():\n        global {0}\n        any_of({0}, {1})\n    inner()",
    "def {f}():\n    class K:\n        {0} = any_of({1})\n        def m(self): return {0}\n    K().m()",
]
STATEMENTS = st.builds(
    lambda template, name, f: template.format(*name, f=f),
    st.sampled_from(SIMPLE * 2 + FUNCTIONS * 3),
    st.permutations("abcde"),
    st.sampled_from("fgh"),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STATEMENTS, min_size=1, max_size=8))
@example(["def g():\n    global c\n    c = any_of(b)", "def f(): any_of(a, c)"])
def test_random_programs_look_up_what_was_foretold(statements: list[str]) -> None:
    source = "\n".join(statements)
    found = freevars.names(source)
    needed = lacked(source)
    assume(needed is not None)
    foretold = set(found.needs) - {"any_of"}
    assert foretold <= needed, source
    assert needed <= foretold | set(found.perhaps), source
