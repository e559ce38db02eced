"""Which names a piece of Python takes from around it, and which it makes: read from the source, nothing is executed.

The top level is followed in the order of execution, so `df = df.dropna()` needs `df` and `df = load(); df.head()` does
not. Where roads part (`if`, `try`, loops) a name counts as made if one of them makes it. The body of a function counts
where the function is first mentioned after its definition, or at the end: that is when it can be called.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What :func:`names` found. Numbers are 1-based lines of the first mention."""

    needs: Mapping[str, int]  # read before they are made; built-in ones, too
    perhaps: Mapping[str, int]  # read by a function perhaps before they are made, or where a NameError is caught
    makes: Mapping[str, int]  # assigned, imported, defined; also by a `global` in a function
    imports: Mapping[str, str]  # name → the module that it is, or comes from
    stars: tuple[str, ...]  # modules of `from … import *`
    result: bool  # does it end in an expression (without `;`)?
    awaits: bool  # is there an `await` outside of functions?


def names(source: str) -> Names:
    """The names of a module or cell. Top-level ``await`` is fine. Raises SyntaxError as compiling it would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes and the like: said when the code runs
        tree = ast.parse(source, "<cell>")
        code = compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    flow = _Flow(lazy_annotations=_postpones_annotations(tree))
    flow.visit_all(tree.body)
    flow.end()
    result = bool(tree.body) and isinstance(tree.body[-1], ast.Expr) and not _is_hushed(source, tree.body[-1])
    return Names(
        needs=flow.needs,
        perhaps={name: line for name, line in flow.perhaps.items() if name not in flow.needs},
        makes=flow.makes,
        imports=flow.imports,
        stars=tuple(flow.stars),
        result=result,
        awaits=bool(code.co_flags & _COROUTINE),
    )


_COROUTINE = 0x80  # inspect.CO_COROUTINE; inspect is slow to import


def _postpones_annotations(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )


def _is_hushed(source: str, last: ast.stmt) -> bool:
    """Does a semicolon follow, as people write it to see no output?"""
    lines = source.encode().split(b"\n")[(last.end_lineno or 1) - 1 :]
    rest = b"\n".join([lines[0][last.end_col_offset or 0 :], *lines[1:]])
    return rest.lstrip().startswith(b";")


# --------------------------------------------------------------------------------------------------------------- scopes


class _Scope(ast.NodeVisitor):
    """Visits code in the order in which Python evaluates it. What reading and binding mean, each kind of scope says."""

    def __init__(self, *, lazy_annotations: bool) -> None:
        self.lazy_annotations = lazy_annotations

    def read(self, name: str, line: int) -> None:
        raise NotImplementedError

    def bind(self, name: str, line: int) -> None:
        raise NotImplementedError

    def unbind(self, name: str) -> None:
        """The name is deleted."""

    def later(self, body: _Body, name: str | None) -> None:
        """A function's body, which runs when ``name`` is used; at once if it has none."""
        raise NotImplementedError

    def roads(self, roads: Iterable[Sequence[ast.AST]]) -> None:
        """Only one of these is taken."""
        for road in roads:
            self.visit_all(road)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # ---------------------------------------------------------------------------------------------------------- names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bind(node.id, node.lineno)
            return
        self.read(node.id, node.lineno)
        if isinstance(node.ctx, ast.Del):
            self.unbind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(node.value, ast.Lambda) and len(node.targets) == 1 and isinstance(target, ast.Name):
            body = self._function(node.value)
            self.visit(target)
            self.later(body, target.id)
        else:
            self.visit_all([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.target.lineno)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)
        self._annotation(node.annotation)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(alias.asname or alias.name.partition(".")[0], node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self.bind(alias.asname or alias.name, node.lineno)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            self.visit_all([key, value])

    def _annotation(self, node: ast.expr | None) -> None:
        if not self.lazy_annotations and node is not None:
            self.visit(node)

    # -------------------------------------------------------------------------------------------------- roads that part

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.roads([node.body, node.orelse])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit_all([node.iter, node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def visit_Try(self, node: ast.Try) -> None:
        self.guarded_body(node)
        self.roads([[handler] for handler in node.handlers] + [node.orelse])
        self.visit_all(node.finalbody)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(cast(ast.Try, node))  # it has the same fields

    def guarded_body(self, node: ast.Try) -> None:
        self.visit_all(node.body)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.visit_all([node.type])
        if node.name:
            self.bind(node.name, node.lineno)
        self.visit_all(node.body)
        if node.name:
            self.unbind(node.name)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self.roads([[case] for case in node.cases])

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name:
            self.bind(node.name, node.lineno)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.bind(node.rest, node.lineno)

    # ------------------------------------------------------------------------------------------------- scopes in scopes

    def visit_FunctionDef(self, node: _Function) -> None:
        self.visit_all(node.decorator_list)
        body = self._function(node)
        self.bind(node.name, node.lineno)
        self.later(body, node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.later(self._function(node), None)

    def _function(self, node: _Function | ast.Lambda) -> _Body:
        self.visit_all([*node.args.defaults, *node.args.kw_defaults])
        body = _Body(lazy_annotations=self.lazy_annotations)
        types = _type_names(node)
        for annotation in () if isinstance(node, ast.Lambda) else _annotations(node):
            if types:  # they see the function's type parameters
                body._annotation(annotation)
            else:
                self._annotation(annotation)
        body.own.update(types, (arg.arg for arg in _arguments(node.args)))
        body.visit_all([node.body] if isinstance(node, ast.Lambda) else node.body)
        return body

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(node.decorator_list)
        inside = _ClassBody(self, node.name, _type_names(node))
        inside.visit_all([*node.bases, *node.keywords, *node.body])
        self.bind(node.name, node.lineno)
        for body in inside.methods:
            self.later(body, node.name)

    def visit_TypeAlias(self, node: ast.AST) -> None:  # from Python 3.12 on
        body = _Body(lazy_annotations=self.lazy_annotations)
        body.own.update(_type_names(node))
        name: ast.Name = node.name  # type: ignore[attr-defined]  # mypy checks for 3.11
        body.visit(node.value)  # type: ignore[attr-defined]  # the same
        self.visit(name)
        self.later(body, name.id)

    def visit_ListComp(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        inside = _ComprehensionBody(self)
        inside.visit_all([first.target, *first.ifs])
        for generator in others:
            inside.visit_all([generator.iter, generator.target, *generator.ifs])
        inside.visit_all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.later(inside.body(), None)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp


def _arguments(args: ast.arguments) -> Iterator[ast.arg]:
    yield from (*args.posonlyargs, *args.args, *args.kwonlyargs)
    yield from (arg for arg in (args.vararg, args.kwarg) if arg is not None)


def _annotations(node: _Function) -> Iterator[ast.expr | None]:
    yield from (arg.annotation for arg in _arguments(node.args))
    yield node.returns


def _type_names(node: ast.AST) -> list[str]:
    return [parameter.name for parameter in getattr(node, "type_params", ())]


class _Body(_Scope):
    """Of a function: runs some time, so order does not count. What it assigns anywhere is its own."""

    def __init__(self, *, lazy_annotations: bool) -> None:
        super().__init__(lazy_annotations=lazy_annotations)
        self.own: set[str] = set()
        self._reads: dict[str, int] = {}
        self._binds: dict[str, int] = {}
        self._global: set[str] = set()
        self._outer: set[str] = set()  # declared `nonlocal`
        self._global_reads: dict[str, int] = {}  # of inner functions, past names of this one
        self._global_binds: dict[str, int] = {}

    def read(self, name: str, line: int) -> None:
        self._reads.setdefault(name, line)

    def bind(self, name: str, line: int) -> None:
        self._binds.setdefault(name, line)

    def later(self, body: _Body, name: str | None) -> None:
        for free, line in body.free.items():
            self._reads.setdefault(free, line)
        self._global_reads = {**body.global_reads, **self._global_reads}
        self._global_binds = {**body.global_binds, **self._global_binds}
        for outer in body._outer:
            self._binds.setdefault(outer, 0)

    def visit_Global(self, node: ast.Global) -> None:
        self._global.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._outer.update(node.names)

    @property
    def free(self) -> dict[str, int]:
        """Names that it takes from the scopes around it."""
        own = (self.own | set(self._binds)) - self._outer
        return {name: line for name, line in self._reads.items() if name not in own and name not in self._global}

    @property
    def global_reads(self) -> dict[str, int]:
        return {name: line for name, line in self._reads.items() if name in self._global} | self._global_reads

    @property
    def global_binds(self) -> dict[str, int]:
        return {name: line for name, line in self._binds.items() if name in self._global} | self._global_binds


class _ComprehensionBody(_Scope):
    """Its loop variables are its own; ``:=`` binds outside."""

    def __init__(self, outer: _Scope) -> None:
        super().__init__(lazy_annotations=outer.lazy_annotations)
        self._outer = outer
        self._body = _Body(lazy_annotations=outer.lazy_annotations)

    def read(self, name: str, line: int) -> None:
        self._body.read(name, line)

    def bind(self, name: str, line: int) -> None:
        self._body.bind(name, line)

    def later(self, body: _Body, name: str | None) -> None:
        self._body.later(body, name)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind_outside(node.target.id, node.lineno)

    def bind_outside(self, name: str, line: int) -> None:
        if isinstance(self._outer, _ComprehensionBody):
            self._outer.bind_outside(name, line)
        else:
            self._outer.bind(name, line)

    def body(self) -> _Body:
        return self._body


class _ClassBody(_Scope):
    """Runs at once, in order; its functions do not see its names."""

    def __init__(self, outer: _Scope, name: str, types: Iterable[str]) -> None:
        super().__init__(lazy_annotations=outer.lazy_annotations)
        self.methods: list[_Body] = []
        self._outer = outer
        self._types = set(types)
        self._bound = {"__module__", "__qualname__", "__class__", *self._types}

    def read(self, name: str, line: int) -> None:
        if name not in self._bound:
            self._outer.read(name, line)

    def bind(self, name: str, line: int) -> None:
        self._bound.add(name)

    def unbind(self, name: str) -> None:
        self._bound.discard(name)

    def later(self, body: _Body, name: str | None) -> None:
        body.own.update(self._types, ["__class__"])
        if name is None:
            self._outer.later(body, None)
        else:
            self.methods.append(body)


class _Flow(_Scope):
    """The top level, followed in order."""

    def __init__(self, *, lazy_annotations: bool) -> None:
        super().__init__(lazy_annotations=lazy_annotations)
        self.needs: dict[str, int] = {}
        self.perhaps: dict[str, int] = {}
        self.makes: dict[str, int] = {}
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self._bound: set[str] = set()
        self._deleted: set[str] = set()
        self._waiting: dict[str, list[_Body]] = {}
        self._early: dict[str, int] = {}  # reads by functions that came perhaps before the name was made
        self._in_function = self._guarded = self._on_a_road = False

    def end(self) -> None:
        """All functions that nobody mentioned are run, then what came too early is judged."""
        bound = self._bound
        while self._waiting:
            self._bound = set(bound)  # any of them may be the first: what another one would make is not there
            self._run_waiting(next(iter(self._waiting)))
        for name, line in self._early.items():
            (self.perhaps if name in self.makes else self.needs).setdefault(name, line)

    def read(self, name: str, line: int) -> None:
        if name in self._bound:
            self._run_waiting(name)
        elif name not in self._deleted:  # else a NameError, wherever it runs
            found = self._early if self._in_function else self.perhaps if self._guarded else self.needs
            found.setdefault(name, line)

    def bind(self, name: str, line: int) -> None:
        self.makes.setdefault(name, line)
        self._bound.add(name)
        self._deleted.discard(name)
        if not self._on_a_road:
            self._waiting.pop(name, None)  # the function that was called so is gone

    def unbind(self, name: str) -> None:
        self._bound.discard(name)
        self._deleted.add(name)

    def later(self, body: _Body, name: str | None) -> None:
        if name is None:
            self._run(body)
        else:
            self._waiting.setdefault(name, []).append(body)

    def _run_waiting(self, name: str) -> None:
        bodies = self._waiting.pop(name, ())
        with self._inside_a_function() if bodies else _nothing():
            for body in bodies:
                self._run(body)

    def _run(self, body: _Body) -> None:
        for name, line in [*body.free.items(), *body.global_reads.items()]:
            self.read(name, line)
        for name, line in body.global_binds.items():
            self.bind(name, line)

    @contextmanager
    def _inside_a_function(self) -> Iterator[None]:
        before, self._in_function = self._in_function, True
        yield
        self._in_function = before

    def roads(self, roads: Iterable[Sequence[ast.AST]]) -> None:
        start, ends = self._bound, set(self._bound)
        before, self._on_a_road = self._on_a_road, True
        for road in roads:
            self._bound = set(start)
            self.visit_all(road)
            ends |= self._bound
        self._bound, self._on_a_road = ends, before

    def guarded_body(self, node: ast.Try) -> None:
        before, self._guarded = self._guarded, self._guarded or any(map(_catches_name_error, node.handlers))
        self.visit_all(node.body)
        self._guarded = before

    def visit_Import(self, node: ast.Import) -> None:
        super().visit_Import(node)
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.imports[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        super().visit_ImportFrom(node)
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.imports[alias.asname or alias.name] = module


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _catches_name_error(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id == "NameError" for kind in kinds)
