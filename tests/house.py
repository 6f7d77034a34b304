"""Reads the library's source for the rules of test_house.py: imports, sizes, what the core may not do."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "swim"

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """The lines with code: neither blank, nor comment, nor docstring."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type not in _NO_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if _is_text(node):
                lines -= _lines_of(node)
        return frozenset(lines)

    @cached_property
    def functions(self) -> dict[str, int]:
        """Code lines of each function, by `name:line`; what is nested in it counts."""
        return {
            f"{node.name}:{node.lineno}": len(self.code_lines & _lines_of(node))
            for node in ast.walk(self.tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }

    @cached_property
    def imports(self) -> frozenset[str]:
        """Everything imported anywhere in it, as full dotted names down to what is taken."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found.update(f"{base}.{alias.name}" for alias in node.names)
        return frozenset(found)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, node.module] if node.module else parts)


def _lines_of(node: ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _is_text(node: ast.AST) -> TypeGuard[ast.Expr]:
    """A string that stands alone: a docstring, of whatever it may be."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def modules() -> list[Module]:
    """All of `swim/`."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return found


def foreign_writes(module: Module) -> Iterator[str]:
    """Attributes of a part that another part sets: ``self._part.attribute = ..``."""
    for node in ast.walk(module.tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(each, ast.Attribute) and ast.unparse(each.value).startswith("self._"):
                    yield f"{ast.unparse(each)} in line {each.lineno}"


# --- what the core may not do

AMBIENT_MODULES = frozenset(
    {"asyncio", "datetime", "logging", "multiprocessing", "os", "pathlib", "secrets", "select", "selectors"}
    | {"signal", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "trio", "uuid"}
)
"""Clocks, randomness, the system: they come in from outside, as arguments."""
PURE_PARTS = {
    "random": frozenset({"Random"}),
    "socket": frozenset({"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}),
}
"""Of these modules the core may use this much."""
AMBIENT_CALLS = frozenset({"hash", "id", "input", "open", "print"})
"""`hash` of text and `id` differ from process to process; the rest talk to the outside."""


def ambient(module: Module) -> Iterator[str]:
    """Uses of ambient time, randomness or input and output."""
    for name in sorted(module.imports):
        top, _, rest = name.partition(".")
        if top in AMBIENT_MODULES or (rest and rest not in PURE_PARTS.get(top, {rest})):
            yield f"imports {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = PURE_PARTS.get(node.value.id)
            if allowed is not None and node.value.id in module.imports and node.attr not in allowed:
                yield f"line {node.lineno}: {node.value.id}.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in AMBIENT_CALLS:
            yield f"line {node.lineno}: {node.func.id}()"


class SetIteration(ast.NodeVisitor):
    """Finds iteration over sets, whose order differs from process to process; `sorted(a_set)` is the way.

    Syntactic: it knows set displays, comprehensions, `set(..)`, `keys() - x`, and names, parameters and
    attributes that this module annotates or assigns as sets.
    """

    ORDERED = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "dict"})
    """Calls whose result depends on the order of what they are given."""
    OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[str] = []
        self._names: set[str] = set()
        self._attributes: set[str] = set()
        self._scopes: list[set[str]] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self._learn_class(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                self._learn_attributes(node)
        self._names = _set_names(tree.body, self._is_set)
        self.visit(tree)

    def _learn_class(self, node: ast.ClassDef) -> None:
        for item in node.body:
            match item:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    if _annotates_set(annotation):
                        self._attributes.add(name)

    def _learn_attributes(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        annotated = isinstance(node, ast.AnnAssign) and _annotates_set(node.annotation)
        if annotated or (node.value is not None and self._is_set(node.value)):
            self._attributes.update(t.attr for t in targets if isinstance(t, ast.Attribute))

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, self.OPERATORS):
                return any(self._is_set(side) or _is_keys(side) for side in (left, right))
            case ast.Name(id=name):
                return name in self._names or any(name in scope for scope in self._scopes)
            case ast.Attribute(attr=name):
                return name in self._attributes
        return False

    def _check(self, node: ast.expr, how: str) -> None:
        if self._is_set(node):
            self.found.append(f"line {node.lineno}: {how} {ast.unparse(node)}")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        scope = {a.arg for a in arguments if a.annotation and _annotates_set(a.annotation)}
        self._scopes.append(scope)
        scope |= _set_names(node.body, self._is_set)
        self.generic_visit(node)
        self._scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_For(self, node: ast.For) -> None:
        self._check(node.iter, "for over")
        self.generic_visit(node)

    def _visit_comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        for generator in node.generators:
            self._check(generator.iter, "comprehension over")
        self.generic_visit(node)

    visit_ListComp = visit_DictComp = _visit_comprehension

    def visit_Call(self, node: ast.Call) -> None:
        """A generator inside `sorted`, `any`, `sum` and their like may go over a set; elsewhere not."""
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function in self.ORDERED:
            for argument in node.args:
                self._check(argument, f"{function}() of")
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "pop" and not node.args:
                self._check(node.func.value, "pop() from")
            if node.func.attr in {"join", "extend", "fromkeys", "choice", "choices", "sample", "shuffle"}:
                for argument in node.args:
                    self._check(argument, f"{node.func.attr}() of")
        orderless = {"sorted", "set", "frozenset", "any", "all", "sum", "min", "max", "len"}
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.GeneratorExp) and function not in orderless:
                self._visit_comprehension(child)
            else:
                self.visit(child)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._check(node.value, "unpacking")
        self.generic_visit(node)


def _set_names(body: list[ast.stmt], is_set: Callable[[ast.expr], bool]) -> set[str]:
    """Names that these statements (not the functions within) annotate or assign as sets."""
    names: set[str] = set()
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and _annotates_set(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.Assign) and is_set(node.value):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        pending.extend(ast.iter_child_nodes(node))
    return names


def _annotates_set(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return _annotates_set(annotation.left) or _annotates_set(annotation.right)
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    return name in {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}


def _is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def set_iterations(module: Module) -> list[str]:
    return SetIteration(module.tree).found
