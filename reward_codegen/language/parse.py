"""Which Python is admitted; what is not is refused with its line and the reason."""

import ast
import io
import tokenize
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from reward_codegen.budget import MAX_INTEGER_BITS, MAX_NESTING, MAX_SOURCE_CHARACTERS, MAX_TOKENS
from reward_codegen.errors import (
    BudgetExceeded,
    NameNotAdmitted,
    RewardCodeError,
    SyntaxNotAdmitted,
    shorten,
)

_ADMITTED = (
    ast.Module, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Return, ast.Assign,
    ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.With, ast.withitem, ast.Raise,
    ast.Try, ast.Assert, ast.Import, ast.ImportFrom, ast.alias, ast.Nonlocal, ast.Expr, ast.Pass,
    ast.Break, ast.Continue, ast.Delete, ast.ClassDef, ast.Match, ast.match_case, ast.MatchValue,
    ast.MatchSingleton, ast.MatchSequence, ast.MatchStar, ast.MatchMapping, ast.MatchClass,
    ast.MatchAs, ast.MatchOr, ast.BoolOp, ast.NamedExpr,
    ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp, ast.comprehension, ast.Compare, ast.Call, ast.keyword, ast.FormattedValue,
    ast.JoinedStr, ast.Constant, ast.Attribute, ast.Subscript, ast.Starred, ast.Name, ast.List,
    ast.Tuple, ast.Slice, ast.ExceptHandler, ast.expr_context, ast.operator, ast.unaryop,
    ast.boolop, ast.cmpop,
)  # fmt: skip

_REASONS: dict[type[ast.AST], str] = {
    ast.AsyncFunctionDef: "async functions are not admitted; write an ordinary function",
    ast.AsyncFor: "async loops are not admitted; write an ordinary loop",
    ast.AsyncWith: "`async with` is not admitted",
    ast.Await: "`await` is not admitted; write ordinary functions",
    ast.Yield: "generators are not admitted; return a value or a list",
    ast.YieldFrom: "generators are not admitted; return a value or a list",
    ast.Global: "global variables may not change, because a reward must depend on its arguments "
    "only; pass values as arguments",
}


_DUNDERS = frozenset({"__name__", "__init__", "__post_init__", "__call__"})


@dataclass(frozen=True, eq=False)
class Program:
    """An admitted program: its syntax tree and its source."""

    source: str
    tree: ast.Module
    uses_jax: bool
    notes: tuple[str, ...]

    def text_of(self, node: ast.AST) -> str | None:
        """The source text of a syntax node, on one line."""
        if isinstance(node, ast.FunctionDef):
            return f"def {node.name}(...)"
        segment = ast.get_source_segment(self.source, node)
        return None if segment is None else shorten(segment.split("\n")[0])


def parse(source: str) -> Program:
    """Parse and check a program.

    Raises:
        RewardCodeError: the source is no Python, too long or deep, or uses what is not admitted.
    """
    _limit(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        raise _syntax_error(source, error) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise BudgetExceeded(
            f"the source cannot be parsed ({shorten(str(error)) or type(error).__name__}); "
            "write shorter expressions"
        ) from None
    notes = _drop_main_guard(tree)
    _check(source, tree)
    return Program(source, tree, _imports_jax(tree), notes)


def bound_names(node: ast.AST) -> frozenset[str]:
    """The names that a module, function, lambda or comprehension generator makes its own."""
    names: set[str] = set()
    free: set[str] = set()
    pending: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        names.update(argument.arg for argument in _all_arguments(node.args))
        pending.extend(node.body if isinstance(node, ast.FunctionDef) else [node.body])
    elif isinstance(node, ast.comprehension):
        pending.append(node.target)
    elif isinstance(node, ast.Module | ast.ClassDef):
        pending.extend(node.body)
    while pending:
        part = pending.pop()
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
            continue
        if isinstance(part, ast.Lambda):
            continue
        if isinstance(part, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            names.update(
                inner.target.id for inner in ast.walk(part) if isinstance(inner, ast.NamedExpr)
            )
            continue
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
            names.add(part.id)
        elif isinstance(part, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and part.name:
            names.add(part.name)
        elif isinstance(part, ast.MatchMapping) and part.rest:
            names.add(part.rest)
        elif isinstance(part, ast.alias):
            names.add((part.asname or part.name).split(".")[0])
        elif isinstance(part, ast.Nonlocal):
            free.update(part.names)
        pending.extend(ast.iter_child_nodes(part))
    return frozenset(names - free)


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [argument for argument in (arguments.vararg, arguments.kwarg) if argument]


# Size ------------------------------------------------------------------------------------------


def _limit(source: str) -> None:
    """Refuse what would cost too much to parse."""
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise BudgetExceeded(
            f"the source has {len(source):,} characters, more than the "
            f"{MAX_SOURCE_CHARACTERS:,} admitted; write two short functions"
        )
    depth = count = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            count += 1
            if token.type == tokenize.OP and token.string in "([{":
                depth += 1
            elif token.type == tokenize.OP and token.string in ")]}":
                depth -= 1
            elif token.type == tokenize.INDENT:
                depth += 1
            elif token.type == tokenize.DEDENT:
                depth -= 1
            if count > MAX_TOKENS:
                raise BudgetExceeded(
                    f"the source has more than {MAX_TOKENS:,} tokens; write two short functions",
                    line=token.start[0],
                )
            if depth > MAX_NESTING:
                raise BudgetExceeded(
                    f"brackets or blocks nest more than {MAX_NESTING} deep", line=token.start[0]
                )
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser will say what is wrong


def _syntax_error(source: str, error: SyntaxError) -> RewardCodeError:
    lines = source.split("\n")
    line = error.lineno
    text = lines[line - 1] if line is not None and 0 < line <= len(lines) else None
    return SyntaxNotAdmitted(
        f"this is not valid Python ({shorten(error.msg or 'invalid syntax')})",
        line=line,
        text=text,
    )


# Admission -------------------------------------------------------------------------------------


def _check(source: str, tree: ast.Module) -> None:
    pending: list[tuple[ast.AST, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if not isinstance(node, _ADMITTED):
            reason = next((text for kind, text in _REASONS.items() if isinstance(node, kind)), None)
            name = type(node).__name__
            _refuse(source, node, reason or f"{name} is not admitted in reward code")
        if depth > MAX_NESTING:
            raise BudgetExceeded(
                f"expressions or blocks nest more than {MAX_NESTING} deep",
                line=getattr(node, "lineno", None),
            )
        _check_names(source, node)
        _check_special(source, node)
        _check_places(source, node)
        for child in ast.iter_child_nodes(node):
            # The left side of a sum of many terms is as deep as the sum itself.
            same = isinstance(node, ast.BinOp) and child is node.left
            elif_ = isinstance(node, ast.If) and child in node.orelse and len(node.orelse) == 1
            pending.append((child, depth if same or elif_ else depth + 1))


def _refuse(source: str, node: ast.AST, message: str) -> None:
    segment = ast.get_source_segment(source, node) or ""
    text = segment.split("\n")[0] or None
    raise SyntaxNotAdmitted(message, line=getattr(node, "lineno", None), text=text)


def _check_names(source: str, node: ast.AST) -> None:
    for name in _names_in(node):
        line = getattr(node, "lineno", None)
        if name.startswith("__") and name not in _DUNDERS:
            raise NameNotAdmitted(
                "names that begin with two underscores are not admitted", line=line, text=name
            )
        if not name.isascii():
            for character in name:
                if not character.isascii() and not _is_greek(character):
                    raise NameNotAdmitted(
                        f"the character {character!r} ({unicodedata.name(character, 'unnamed')}) "
                        "is not admitted in a name; use plain letters",
                        line=line,
                        text=name,
                    )


def _is_greek(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("GREEK", "SUBSCRIPT", "SUPERSCRIPT"))


def _names_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.arg | ast.keyword):
        return [node.arg] if node.arg else []
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.alias):
        return [] if node.name == "annotations" else [*node.name.split("."), node.asname or ""]
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    if isinstance(node, ast.MatchClass):
        return list(node.kwd_attrs)
    return list(node.names) if isinstance(node, ast.Nonlocal) else []


def _check_special(source: str, node: ast.AST) -> None:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes | complex):
            _refuse(source, node, f"a {type(node.value).__name__} value is not admitted")
        if isinstance(node.value, int) and node.value.bit_length() > MAX_INTEGER_BITS:
            raise BudgetExceeded(
                f"an integer of more than {MAX_INTEGER_BITS:,} bits is too large; use a float",
                line=node.lineno,
            )
    elif isinstance(node, ast.ImportFrom):
        if node.level or any(alias.name == "*" for alias in node.names):
            _refuse(source, node, "import each name from its module by its full name")
    elif isinstance(node, ast.comprehension):
        if node.is_async:
            _refuse(source, node.target, "async comprehensions are not admitted")
    elif isinstance(node, ast.ClassDef):
        _check_class(source, node)
    elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        _check_annotation(source, node.annotation)
    elif isinstance(node, ast.FunctionDef) and node.returns is not None:
        _check_annotation(source, node.returns)


def _check_places(source: str, node: ast.AST) -> None:
    """Refuse what stands where Python's own compiler would not let it stand."""
    if not isinstance(node, ast.Call | ast.Tuple | ast.List | ast.Set):
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.Starred):
                _refuse(source, part, "a starred expression cannot stand here")
    if isinstance(node, ast.Module):
        for part in _same_function(node.body):
            if isinstance(part, ast.Return):
                _refuse(source, part, "`return` is outside of a function")
    if isinstance(node, ast.Module | ast.FunctionDef):
        for part in _same_function(node.body, loops=False):
            if isinstance(part, ast.Break | ast.Continue):
                _refuse(source, part, f"`{type(part).__name__.lower()}` is outside of a loop")


def _same_function(body: list[ast.stmt], *, loops: bool = True) -> Iterator[ast.AST]:
    """The statements of a body, not those of functions in it; of loops' bodies if asked for."""
    pending: list[ast.AST] = [*body]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.expr | ast.FunctionDef | ast.ClassDef):
            continue
        yield part
        if isinstance(part, ast.For | ast.While) and not loops:
            pending.extend(part.orelse)
        else:
            pending.extend(ast.iter_child_nodes(part))


def _check_annotation(source: str, annotation: ast.expr) -> None:
    for part in ast.walk(annotation):
        if isinstance(part, ast.Call | ast.Lambda | ast.NamedExpr | ast.ListComp | ast.Compare):
            _refuse(source, part, "an annotation must be a plain type")


def _check_class(source: str, node: ast.ClassDef) -> None:
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    if any(method.name in ("is_recovered", "calculate_reward") for method in methods):
        _refuse(
            source,
            node,
            "define is_recovered(state) and calculate_reward(state, action) as functions outside "
            "of any class",
        )
    if any(keyword.arg != "total" for keyword in node.keywords):
        _refuse(source, node, "class keywords are not admitted")


def _drop_main_guard(tree: ast.Module) -> tuple[str, ...]:
    """Leave out `if __name__ == "__main__":`, which an import never runs."""
    kept = [statement for statement in tree.body if not _is_main_guard(statement)]
    dropped = len(tree.body) - len(kept)
    tree.body = kept
    return ("the `if __name__ == '__main__'` block was left out",) if dropped else ()


def _is_main_guard(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Compare)
        and isinstance(statement.test.left, ast.Name)
        and statement.test.left.id == "__name__"
        and len(statement.test.ops) == 1
        and isinstance(statement.test.ops[0], ast.Eq)
        and isinstance(statement.test.comparators[0], ast.Constant)
        and statement.test.comparators[0].value == "__main__"
        and not statement.orelse
    )


def _imports_jax(tree: ast.Module) -> bool:
    """Whether a program is written for arrays of JAX: it imports JAX, and NumPy not."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
    return "jax" in modules and "numpy" not in modules
