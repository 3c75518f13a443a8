"""Named tuples and dataclasses: types that hold data and do nothing."""

from dataclasses import dataclass

from reward_codegen.arguments import Arguments, Keywords
from reward_codegen.errors import NameNotAdmitted
from reward_codegen.machine import Machine
from reward_codegen.values import Builtin, RecordType, Value


@dataclass(frozen=True, eq=False)
class DataclassDecorator(Builtin):
    """`@dataclass`, with or without its options."""

    frozen: bool = False


def _dataclass(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return DataclassDecorator("dataclass", _dataclass, bool(keywords.get("frozen", False)))


def _field(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if "default" in keywords:
        return keywords["default"]
    if "default_factory" in keywords:
        factory = keywords["default_factory"]
        return Builtin("default_factory", lambda m, a, k: m.invoke(factory, (), {}))
    raise TypeError("field() takes default or default_factory here")


def _namedtuple(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    name, fields = arguments[0], arguments[1]
    names = fields.replace(",", " ").split() if isinstance(fields, str) else machine.items(fields)
    if any(str(field).startswith("_") for field in names):
        raise NameNotAdmitted("the fields of a named tuple may not begin with an underscore")
    defaults: tuple[Value, ...] = ()
    if "defaults" in keywords:
        defaults = machine.items(keywords["defaults"])
    given = dict(zip(tuple(names)[len(names) - len(defaults) :], defaults, strict=True))
    return RecordType(str(name), tuple(str(n) for n in names), given, True)


DATACLASSES_MEMBERS: dict[str, Value] = {
    "dataclass": DataclassDecorator("dataclass", _dataclass),
    "field": Builtin("field", _field),
}
NAMEDTUPLE = Builtin("namedtuple", _namedtuple)
