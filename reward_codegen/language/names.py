"""Every name of a program must mean something admitted, in the code that never runs as well."""

import ast
import difflib

from reward_codegen.errors import NameNotAdmitted, RewardCodeError
from reward_codegen.language import methods, modules, python_table
from reward_codegen.language.parse import Program, bound_names
from reward_codegen.language.values import Module

_INTERPRETER_FUNCTIONS = """
open exec eval compile input globals locals breakpoint exit quit help memoryview bytearray bytes id
"""
_OUTSIDE = "a reward may not touch files, processes, the network or the interpreter; leave it out"
_FORBIDDEN = {
    **dict.fromkeys(_INTERPRETER_FUNCTIONS.split(), _OUTSIDE),
    **dict.fromkeys(
        "getattr setattr delattr hasattr vars dir".split(),
        "attributes are admitted by their written name only, as in `state.shape`",
    ),
    **dict.fromkeys(
        ["super"],
        "call the method of the base by its name, as in `Base.method(self)`",
    ),
}


def check_names(program: Program) -> None:
    """Resolve all names, imports and attributes of a program.

    Raises:
        NameNotAdmitted: one of them is unknown or not admitted.
    """
    _Checker(program).check()


class _Checker:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._module_names = _module_names(program.tree)
        self._modules = _imported_modules(program.tree)
        self._attributes = (
            methods.known_attributes() | modules.member_names() | _own_attributes(program.tree)
        )

    def check(self) -> None:
        pending: list[tuple[ast.AST, tuple[frozenset[str], ...]]] = [
            (self._program.tree, (self._module_names,))
        ]
        while pending:
            node, scopes = pending.pop()
            self._check_node(node, scopes)
            pending.extend(reversed(self._children(node, scopes)))  # in the source's order

    def _children(
        self, node: ast.AST, scopes: tuple[frozenset[str], ...]
    ) -> list[tuple[ast.AST, tuple[frozenset[str], ...]]]:
        """The parts of a node that are evaluated, each with the scopes that it sees."""
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            inner = (*scopes, bound_names(node))
            body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
            outside: list[ast.AST] = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            if isinstance(node, ast.FunctionDef):
                outside += node.decorator_list
            return [(part, inner) for part in body] + [(part, scopes) for part in outside]
        if isinstance(node, ast.ClassDef):
            inner = (*scopes, bound_names(node))
            outside = [*node.bases, *(keyword.value for keyword in node.keywords)]
            outside += node.decorator_list
            return [(part, inner) for part in node.body] + [(part, scopes) for part in outside]
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            targets = frozenset[str]().union(*(bound_names(part) for part in node.generators))
            return [(part, (*scopes, targets)) for part in ast.iter_child_nodes(node)]
        if isinstance(node, ast.AnnAssign):
            return [(part, scopes) for part in (node.target, node.value) if part is not None]
        return [(part, scopes) for part in ast.iter_child_nodes(node)]

    def _check_node(self, node: ast.AST, scopes: tuple[frozenset[str], ...]) -> None:
        try:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    modules.check(alias.name)
            elif isinstance(node, ast.ImportFrom):
                modules.check(str(node.module))
                for alias in node.names:
                    modules.member(str(node.module), alias.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._check_name(node.id, scopes)
            elif isinstance(node, ast.Attribute):
                self._check_attribute(node, scopes)
        except RewardCodeError as error:
            text = self._program.text_of(node)
            raise NameNotAdmitted(
                str(error), line=getattr(node, "lineno", None), text=text
            ) from None

    def _check_name(self, name: str, scopes: tuple[frozenset[str], ...]) -> None:
        if name in ("staticmethod", "classmethod", "property"):
            return  # of methods; elsewhere the interpreter refuses them
        if any(name in scope for scope in scopes) or name in frozenset(python_table.BUILTINS):
            return
        if name in _FORBIDDEN:
            raise NameNotAdmitted(f"{name} is not admitted: {_FORBIDDEN[name]}")
        known = set(frozenset(python_table.BUILTINS)).union(*scopes)
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else "; define or import it"
        raise NameNotAdmitted(f"the name {name} is not defined{hint}")

    def _check_attribute(self, node: ast.Attribute, scopes: tuple[frozenset[str], ...]) -> None:
        module = self._module_of(node.value, scopes)
        if module is not None:
            modules.member(module, node.attr)
        elif node.attr not in self._attributes:
            raise NameNotAdmitted(
                f"the attribute {node.attr} is unknown or not admitted; "
                "use array functions of numpy or jax.numpy"
            )

    def _module_of(self, node: ast.expr, scopes: tuple[frozenset[str], ...]) -> str | None:
        """The module that an expression names, if it does."""
        if isinstance(node, ast.Name):
            shadowed = any(node.id in scope for scope in scopes[1:])
            return None if shadowed else self._modules.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._module_of(node.value, scopes)
            if owner is not None:
                member = modules.member(owner, node.attr)
                return member.name if isinstance(member, Module) else None
        return None


def _module_names(tree: ast.Module) -> frozenset[str]:
    return bound_names(tree)


def _imported_modules(tree: ast.Module) -> dict[str, str]:
    """The top-level names that mean one module and nothing else."""
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                full = f"{statement.module}.{alias.name}"
                if full in modules.MODULES:
                    found[alias.asname or alias.name] = full
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.pop(node.id, None)
    return found


def _own_attributes(tree: ast.Module) -> frozenset[str]:
    """The fields that the program's own classes and named tuples have."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    names.add(part.id)
                elif isinstance(part, ast.FunctionDef):
                    names.add(part.name)
                elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                    names.add(part.attr)
        elif isinstance(node, ast.Call) and _is_namedtuple(node):
            for part in ast.walk(node.args[1]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    names.update(part.value.replace(",", " ").split())
                elif isinstance(part, ast.Name):
                    names.add(part.id)
    return frozenset(names)


def _is_namedtuple(node: ast.Call) -> bool:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "namedtuple" and len(node.args) > 1
