"""Expressions (`$...`) of a configuration, judged by their syntax trees; nothing is evaluated.

MONAI replaces references (`@name`) in the text of an expression before it evaluates it. The same is done
here, character by character, so that the tree that is judged is the one that would be evaluated. The language
that passes is small: data, arithmetic, comprehensions, and calls of what medseg.bundle.audit.names lists.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from medseg.bundle.audit import names
from medseg.bundle.audit.findings import REFUSE, printable

MOST_CHARACTERS, MOST_NUMBER = 10_000, 10**9
_REFERENCES = "__local_refs"
_SEPARATOR = "::"
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_RELATIVE = re.compile(r"(?:@|%)(?:::)+")
# Nodes without a rule of their own: what they hold is judged, and they do nothing.
_PLAIN = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Slice, ast.BoolOp, ast.UnaryOp, ast.Compare,
    ast.IfExp, ast.Starred, ast.keyword, ast.JoinedStr, ast.FormattedValue, ast.boolop, ast.unaryop,
    ast.cmpop, ast.operator, ast.expr_context, ast.Expr, ast.ListComp, ast.SetComp,
    ast.GeneratorExp, ast.DictComp,
)  # fmt: skip
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitOr, ast.BitAnd)


@dataclass(frozen=True)
class Fault:
    """What is wrong in an expression, and the part of its text that is."""

    rule: str
    reason: str
    part: str
    severity: str = REFUSE


@dataclass(frozen=True)
class Import:
    """`import module` (name is None) or `from module import name`, and the name that it binds."""

    module: str
    name: str | None
    bound: str


def resolved(text: str, identity: str) -> str:
    """The text of a value after MONAI has resolved the relative identifiers in it (`@#name`).

    Raises:
        ValueError: an identifier leads out of the configuration.
    """
    text = text.replace("#", _SEPARATOR)
    levels = identity.split(_SEPARATOR)
    for prefix in sorted(set(_RELATIVE.findall(text)), reverse=True):
        up = prefix.count(_SEPARATOR)
        if up > len(levels):
            raise ValueError(f"{prefix} leads out of the configuration")
        kept = levels[:-up]
        text = text.replace(prefix, prefix[0] + "".join(f"{level}{_SEPARATOR}" for level in kept))
    return text


def evaluated(text: str, identity: str) -> str:
    """The text that Python would evaluate for a value that starts with `$`."""
    text = resolved(text, identity)
    for found in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(found, f"{_REFERENCES}['{found[1:]}']")
    return text[1:]


def reference_fault(identity: str) -> Fault | None:
    """Why an identifier after @ or % can't be followed: it would give modules, or everything."""
    parts = [part.strip() for part in identity.replace("#", _SEPARATOR).split(_SEPARATOR)]  # as MONAI does
    if not any(parts):
        return Fault(
            "reference", "it stands for the whole configuration, with the modules that it imports", ""
        )
    if "imports" in parts:
        return Fault("reference", "a reference to imports gives a module as a value", "imports")
    return None


def read_import(text: str) -> Import | None:
    """The import that an expression is, if it is one."""
    tree = _tree(text[1:])
    if isinstance(tree, Fault) or not isinstance(tree.body[0], (ast.Import, ast.ImportFrom)):
        return None
    node = tree.body[0]
    alias = node.names[0]
    if isinstance(node, ast.Import):
        return Import(alias.name, None, alias.asname or alias.name)
    return Import(f"{'.' * node.level}{node.module or ''}", alias.name, alias.asname or alias.name)


def import_fault(text: str) -> Fault | None:
    """Why an import is refused; None for one that is allowed."""
    found = read_import(text)
    tree = _tree(text[1:])
    if found is None or isinstance(tree, Fault):
        return Fault("import", "it can't be read", text)
    if len(tree.body) > 1 or len(tree.body[0].names) > 1:  # type: ignore[attr-defined]
        return Fault("import", "more than one import in an expression", text)
    whole = found.module if found.name is None else f"{found.module}.{found.name}"
    if not names.is_allowed_import(found.module, found.name):
        return Fault("import", f"{printable(whole, 60)} is not on the list of allowed imports", whole)
    is_own = found.bound == found.name if found.name else names.MODULES.get(found.bound) == found.module
    if not is_own:
        return Fault("import", f"{printable(whole, 60)} under another name", whole)
    return None


def faults(text: str, identity: str, known: Collection[str]) -> list[Fault]:
    """What is wrong in an expression, which is empty if it may be evaluated.

    Args:
        text: the value, with its `$`.
        identity: of the value in its configuration, such as `train::trainer::amp`.
        known: the names that allowed imports of the bundle bind.
    """
    if len(text) > MOST_CHARACTERS:
        return [Fault("expression", f"longer than {MOST_CHARACTERS} characters", text[:40])]
    try:
        code = evaluated(text, identity)
    except ValueError as error:
        return [Fault("reference", str(error), text[:40])]
    tree = _tree(code)
    if isinstance(tree, Fault):
        return [tree]
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return [Fault("expression", "a statement, and no expression", code)]
    judge = _Judge(known)
    try:
        judge.check(tree.body[0].value)
    except RecursionError:
        judge.found.append(Fault("expression", "nested too deeply to be judged", code[:40]))
    return judge.found


def _tree(code: str) -> ast.Module | Fault:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Fault("expression", f"it can't be parsed ({type(error).__name__})", code[:40])
    return tree if tree.body else Fault("expression", "nothing to evaluate", code)


class _Judge:
    """Walks a tree and collects what is not allowed in it."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.bound: list[str] = []  # variables of comprehensions and lambdas around the node
        self.found: list[Fault] = []

    def refuse(self, node: ast.AST, reason: str, rule: str = "expression") -> None:
        self.found.append(Fault(rule, reason, ast.unparse(node)))

    def check(self, node: ast.AST) -> None:
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is not None:
            rule(node)
        elif isinstance(node, _PLAIN):
            self._children(node)
        else:
            self.refuse(node, f"{type(node).__name__} is not allowed")

    def _children(self, node: ast.AST) -> None:
        comprehension = hasattr(node, "generators")
        with_variables = self._bind(targets(node)) if comprehension else 0
        for child in ast.iter_child_nodes(node):
            self.check(child)
        del self.bound[len(self.bound) - with_variables :]

    def _bind(self, found: Iterator[str]) -> int:
        variables = list(found)
        for name in variables:
            if name in names.BUILTINS or name in names.MODULES or name in self.known or name.startswith("__"):
                self.found.append(Fault("expression", f"{name} is given another meaning", name))
        self.bound += variables
        return len(variables)

    def _comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self.refuse(node, "an asynchronous comprehension is not allowed")
        if not all(isinstance(part, (ast.Name, ast.Tuple, ast.List)) for part in _parts(node.target)):
            self.refuse(node.target, "a comprehension that assigns to something else than a variable")
        for child in (node.iter, *node.ifs):
            self.check(child)

    def _constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, (int, float)) and abs(node.value) > MOST_NUMBER:
            self.refuse(node, "a number so large that it could exhaust the memory")
        if isinstance(node.value, str) and (node.value.startswith("__") or "__local_refs" in node.value):
            self.refuse(node, "a name that starts with two underscores")

    def _binop(self, node: ast.BinOp) -> None:
        if not isinstance(node.op, _ARITHMETIC):
            self.refuse(node, f"the operator {type(node.op).__name__} is not allowed")
        self._children(node)

    def _name(self, node: ast.Name) -> None:
        if node.id in self.bound or node.id in names.BUILTINS:
            return
        if node.id in names.MODULES:
            self.refuse(node, f"the module {node.id} as a value")
        elif node.id not in self.known:
            self.refuse(node, f"the name {printable(node.id, 60)} is not on the list of allowed names")

    def _attribute(self, node: ast.Attribute) -> None:
        if dotted := self._dotted(node):
            if dotted not in names.DOTTED:
                self.refuse(node, f"{printable(dotted, 80)} is not on the list of allowed names")
            return
        if node.attr not in names.ATTRIBUTES:
            self.refuse(node, f"the attribute {printable(node.attr, 60)} is not on the list of allowed ones")
        self.check(node.value)

    def _dotted(self, node: ast.AST) -> str:
        """`torch.float32` for an attribute of a module, of which MONAI's own np is numpy; else nothing."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self.bound or node.id not in names.MODULES:
            return ""
        return ".".join([names.MODULES[node.id], *reversed(parts)])

    def _subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == _REFERENCES:
            identity = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if not isinstance(identity, str):
                self.refuse(node, "a reference that is made while it is evaluated", "reference")
            elif fault := reference_fault(identity):
                self.found.append(Fault(fault.rule, fault.reason, f"@{identity}"))
            return
        self._children(node)

    def _lambda(self, node: ast.Lambda) -> None:
        arguments = node.args
        every = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ]
        count = self._bind(argument.arg for argument in every if argument)
        for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
            self.check(default)
        self.check(node.body)
        del self.bound[len(self.bound) - count :]

    def _call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Name) and called.id in self.bound:
            self.refuse(node, f"a call of the variable {called.id}")
        is_module_function = isinstance(called, ast.Call) and self._dotted(called.func)
        if not is_module_function and not isinstance(called, (ast.Name, ast.Attribute, ast.Lambda)):
            self.refuse(node, "a call of a value that is computed")
        self._callables(node)
        self._children(node)

    def _callables(self, node: ast.Call) -> None:
        """What a call is given to call: no value of the configuration, of which nobody knows what it is."""
        given = [keyword.value for keyword in node.keywords if keyword.arg in ("key", None)]
        if isinstance(node.func, ast.Name) and node.func.id == "partial":
            given += node.args[:1]
        for value in given:
            is_function = isinstance(value, ast.Name) and value.id not in self.bound
            if not (is_function or isinstance(value, ast.Lambda) or self._dotted(value)):
                self.refuse(value, "a value of the configuration as a function to call")


def targets(node: ast.AST) -> Iterator[str]:
    """The variables that a comprehension binds."""
    for generator in getattr(node, "generators", ()):
        yield from (part.id for part in _parts(generator.target) if isinstance(part, ast.Name))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, (ast.Tuple, ast.List)):
        for element in node.elts:
            yield from _parts(element)
