"""The two functions that every reward program defines."""

import ast
import difflib

from reward_codegen.errors import NameNotAdmitted, ShapeError, SyntaxNotAdmitted

PARAMETERS = {"is_recovered": ("state",), "calculate_reward": ("state", "action")}
REQUIRED = tuple(PARAMETERS)


def check_signatures(tree: ast.Module) -> None:
    """Refuse a program that does not define the two functions as they will be called.

    Raises:
        RewardCodeError: one is missing, async, a method, or takes other arguments; the message
            says which, and which function of another name may have been meant.
    """
    functions = {part.name: part for part in tree.body if isinstance(part, ast.FunctionDef)}
    for name, parameters in PARAMETERS.items():
        wanted = f"{name}({', '.join(parameters)})"
        if name in functions:
            if not functions[name].decorator_list:  # else the call will show
                _check_arguments(functions[name], wanted, len(parameters))
        elif not _is_assigned(tree, name):
            _explain_missing(tree, name, wanted)


def _is_assigned(tree: ast.Module, name: str) -> bool:
    """Whether the name is bound at the top level otherwise, as in `is_recovered = check`."""
    pending: list[ast.AST] = [*tree.body]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            if isinstance(part, ast.FunctionDef) and part.name == name:
                return True  # in an `if` or a `try`
            continue
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.id == name:
            return True
        pending.extend(ast.iter_child_nodes(part))
    return False


def _explain_missing(tree: ast.Module, name: str, wanted: str) -> None:
    for part in tree.body:
        if isinstance(part, ast.AsyncFunctionDef) and part.name == name:
            raise SyntaxNotAdmitted(
                f"an async function cannot be called as a reward; write `def {wanted}:`",
                line=part.lineno,
                text=f"async def {name}",
            )
        if isinstance(part, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name == name
            for inner in part.body
        ):
            raise SyntaxNotAdmitted(
                f"{name} is a method of this class; define is_recovered(state) and "
                "calculate_reward(state, action) as functions outside of any class",
                line=part.lineno,
                text=f"class {part.name}",
            )
    others = {
        part.name: part.lineno
        for part in tree.body
        if isinstance(part, ast.FunctionDef) and part.name not in PARAMETERS
    }
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.4)
    hint = f"; the nearest is {near[0]} in line {others[near[0]]}" if near else ""
    raise NameNotAdmitted(
        f"the function {name} is not defined at the top level of the source{hint}; define {wanted}"
    )


def _check_arguments(function: ast.FunctionDef, wanted: str, count: int) -> None:
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    required = len(positional) - len(spec.defaults)
    enough = len(positional) >= count or spec.vararg is not None
    if required > count or not enough or None in spec.kw_defaults:
        names = [part.arg for part in positional]
        names += [f"*, {part.arg}" for part in spec.kwonlyargs]
        raise ShapeError(
            f"the function takes ({', '.join(names)}); it must be {wanted}",
            line=function.lineno,
            text=f"def {function.name}",
        )
