"""Classes of a program: plain ones with methods, dataclasses, named tuples and enumerations."""

import ast

from reward_codegen.errors import NameNotAdmitted, ShapeError, SyntaxNotAdmitted
from reward_codegen.language.graph import Node
from reward_codegen.language.parse import bound_names
from reward_codegen.language.values import (
    NOTHING,
    UNDEFINED,
    Bound,
    Builtin,
    Choice,
    Class,
    DictCell,
    ExceptionType,
    Factory,
    Frame,
    Function,
    Instance,
    Machine,
    Marker,
    ProgramError,
    Type,
    Value,
    kind_of,
)

AUTO = Marker("auto")
METHODS = frozenset({"__init__", "__post_init__", "__call__"})
_ENUMS = frozenset({"Enum", "IntEnum"})


def define(m: Machine, node: ast.ClassDef) -> Value:
    """The class of a definition."""
    bases = [m.eval(base) for base in node.bases]
    if any(isinstance(base, ExceptionType) for base in bases):
        return _exception(node, bases)
    if bases == [Type("TypedDict")]:
        return Type("dict")
    class_ = Class(node.name)
    for base in bases:
        if isinstance(base, Class) and base.kind != "enum":
            _inherit(class_, base)
        elif base == Type("NamedTuple"):
            class_.kind, class_.frozen = "tuple", True
        elif isinstance(base, Type) and base.name in _ENUMS:
            class_.kind, class_.frozen = "enum", True
            class_.equal = base.name == "IntEnum"
        elif base != Type("object"):
            raise NameNotAdmitted(f"{kind_of(base)} as the base of a class is not admitted")
    fields = _body(m, class_, node)
    for decorator in reversed(node.decorator_list):
        value = m.eval(decorator)
        if not isinstance(value, Builtin) or value.name != "dataclass":
            raise NameNotAdmitted("the only decorator of a class that is admitted is dataclass")
        class_.kind = "data"
        value.call(m, (class_,), {})
    if class_.kind in ("data", "tuple"):
        class_.fields = tuple(dict.fromkeys((*class_.fields, *fields)))
        own = {name: class_.members[name] for name in fields if name in class_.members}
        class_.defaults = {**class_.defaults, **own}
    if class_.kind == "enum":
        _enumerate(m, class_)
    return class_


def _inherit(class_: Class, base: Class) -> None:
    class_.bases = (*class_.bases, base)
    class_.fields = base.fields
    class_.defaults = dict(base.defaults)
    class_.kind, class_.equal, class_.frozen = base.kind, base.equal, base.frozen


def _exception(node: ast.ClassDef, bases: list[Value]) -> ExceptionType:
    if len(bases) != 1 or any(not isinstance(s, ast.Pass | ast.Expr) for s in node.body):
        raise SyntaxNotAdmitted("an exception class may have one base and no body")
    return ExceptionType(node.name, (bases[0].name, *bases[0].bases))


def _body(m: Machine, class_: Class, node: ast.ClassDef) -> list[str]:
    """Run the body of a class; returns its annotated names."""
    outer, fields = m.frame, []
    names = bound_names(ast.Module(node.body, []))
    m.frame = Frame(names, outer, False, birth=m.birth(), is_class=True)
    try:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                fields.append(statement.target.id)
                m.block([statement])
            elif isinstance(statement, ast.FunctionDef):
                m.frame.variables[statement.name] = _method(m, statement)
            elif isinstance(statement, ast.Assign | ast.Pass | ast.AugAssign):
                m.block([statement])
            elif not (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            ):
                raise m.located(
                    SyntaxNotAdmitted("a class may hold fields, constants and methods only"),
                    statement,
                )
        class_.members = dict(m.frame.variables)
    finally:
        m.frame = outer
    return fields


def _method(m: Machine, node: ast.FunctionDef) -> Value:
    if node.name.startswith("__") and node.name not in METHODS:
        raise NameNotAdmitted(f"the method {node.name} is not admitted; give it a plain name")
    kinds = []
    for decorator in node.decorator_list:
        named = decorator.id if isinstance(decorator, ast.Name) else ""
        if named not in ("staticmethod", "classmethod", "property"):
            raise m.located(
                NameNotAdmitted(
                    "of the decorators of methods, staticmethod, classmethod and property "
                    "are admitted"
                ),
                decorator,
            )
        kinds.append(named)
    if len(kinds) > 1:
        raise NameNotAdmitted("a method may have one decorator")
    return m.function(node.name, node.args, node.body, node, kinds[0] if kinds else "")


def _enumerate(m: Machine, class_: Class) -> None:
    """Make the members of an enumeration."""
    last = 0
    for name, value in list(class_.members.items()):
        if isinstance(value, Function):
            continue
        if value is AUTO:
            value = last + 1
        if not isinstance(value, int | float | str | tuple):
            raise ShapeError(
                "the members of an enumeration must be known numbers, strings or tuples"
            )
        last = value if isinstance(value, int) else last
        same = [
            member
            for member in class_.members.values()
            if isinstance(member, Instance) and member.content["value"] == value
        ]
        content = {"name": name, "value": value}
        class_.members[name] = same[0] if same else Instance(class_, content, m.birth(), True)


def members(class_: Class) -> list[Instance]:
    """The members of an enumeration, in order."""
    found = [v for v in class_.members.values() if isinstance(v, Instance) and v.type is class_]
    return list(dict.fromkeys(found))


def instantiate(
    m: Machine, class_: Class, args: tuple[Value, ...], keywords: dict[str, Value]
) -> Value:
    """`Class(...)`."""
    if class_.kind == "enum":
        if len(args) != 1 or keywords:
            raise ProgramError("TypeError", "an enumeration is called with a value")
        return _member(m, class_, args[0])
    instance = Instance(class_, {}, m.birth(), m.in_module)
    init = class_.find("__init__")
    if init is not UNDEFINED:
        if m.call(init, (instance, *args), keywords) is not None:
            raise ProgramError("TypeError", "__init__ must return None")
        return instance
    if class_.kind == "plain":
        if args or keywords:
            raise ProgramError("TypeError", f"{class_.name} takes no arguments")
        return instance
    instance.content = _fields(m, class_, args, keywords)
    after = class_.find("__post_init__")
    if after is not UNDEFINED and class_.kind == "data":
        m.call(after, (instance,), {})
    return instance


def _member(m: Machine, class_: Class, value: Value) -> Value:
    value = m.look(value)
    result: Value = NOTHING
    found: object = False
    for member in members(class_):
        hit = m.equal(value, member.content["value"])
        if hit is True:
            return member
        if isinstance(hit, Node):
            result = member if result is NOTHING else m.merge(hit, member, result)
            found = m.graph.or_(found, hit)
    missing = m.graph.not_(found)
    if missing is True:
        raise ProgramError("ValueError", f"this is no value of {class_.name}")
    m.fail_where(missing, "ValueError", f"this is no value of {class_.name}")
    return result


def _fields(
    m: Machine, class_: Class, args: tuple[Value, ...], keywords: dict[str, Value]
) -> dict[str, Value]:
    if len(args) > len(class_.fields):
        raise ProgramError(
            "TypeError", f"{class_.name} takes {len(class_.fields)} arguments, not {len(args)}"
        )
    values = dict(zip(class_.fields, args, strict=False))
    for name, value in keywords.items():
        if name not in class_.fields or name in values:
            raise ProgramError("TypeError", f"{class_.name} has an unexpected argument {name!r}")
        values[name] = value
    for name in class_.fields:
        if name in values:
            continue
        default = class_.defaults.get(name, UNDEFINED)
        if default is UNDEFINED:
            raise ProgramError("TypeError", f"{class_.name} misses argument {name!r}")
        made = isinstance(default, Factory)
        values[name] = m.call(default.function, (), {}) if made else default
    return {name: values[name] for name in class_.fields}


def get(m: Machine, owner: Value, name: str) -> Value:
    """An attribute of an object or a class of the program; UNDEFINED if it has none."""
    if isinstance(owner, Class):
        value = owner.find(name)
        if isinstance(value, Function) and value.kind == "classmethod":
            return Bound(owner, value)
        return value
    if name in owner.content:
        value = owner.content[name]
        if value is UNDEFINED:
            raise ProgramError("AttributeError", f"{kind_of(owner)} has no attribute `{name}`")
        if isinstance(value, Choice) and UNDEFINED in (value.then, value.other):
            missing = value.condition if value.then is UNDEFINED else m.graph.not_(value.condition)
            m.fail_where(missing, "AttributeError", f"an object has no attribute `{name}`")
            return m.look(value)
        return value
    value = owner.type.find(name)
    if isinstance(value, Function):
        match value.kind:
            case "staticmethod":
                return value
            case "classmethod":
                return Bound(owner.type, value)
            case "property":
                return m.call(value, (owner,), {})
        return Bound(owner, value)
    return value


def set_attribute(m: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`."""
    owner = m.look(owner)
    if isinstance(owner, Choice):
        m.distribute(owner, lambda part: set_attribute(m, part, name, value))
        return
    if isinstance(owner, Class | Function):
        raise SyntaxNotAdmitted(
            "an attribute of a class or a function may not change, because a reward must depend "
            "on its arguments only"
        )
    if not isinstance(owner, Instance) or owner.type.kind in ("enum", "tuple"):
        raise ProgramError("AttributeError", f"{kind_of(owner)} has no attribute to assign to")
    if owner.type.frozen:
        raise ProgramError("FrozenInstanceError", f"cannot assign to field {name!r}")
    found = owner.type.find(name)
    if isinstance(found, Function) and found.kind == "property":
        raise ProgramError("AttributeError", f"the property {name} has no setter")
    m.write(owner, {**owner.content, name: value})


def as_dict(m: Machine, instance: Instance) -> DictCell:
    """dataclasses.asdict and _asdict."""
    return m.make_dict({
        name: (True, as_dict(m, v) if isinstance(v, Instance) and v.type.kind == "data" else v)
        for name, v in instance.content.items()
    })  # fmt: skip
