"""The protos' protovalidate rules, applied to requests.

The committed stubs carry no `buf.validate` options (light clients have no stubs for them), so a request is
read once more by a message class of a private descriptor pool that is made from `protos.binpb`, and the rules
run on that. A stripped message must never reach the validator: it caches what it finds by type name, and
finds no rules.
"""

import re
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from importlib import resources
from typing import Any

import protovalidate
from google.protobuf import descriptor_pb2, duration_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from wanworker.runtime.errors import FieldViolation, InvalidArgumentError

_LONGEST_VALUE = 40
"""Characters of a value that a description repeats."""
_FIELD_OF_THIS = re.compile(r"\bthis\.(\w+)")
"""A field that the CEL expression of a message's rule looks at."""


def validate(message: Message) -> None:
    """Raises InvalidArgumentError with every violation of the rules; does nothing for a type without
    rules."""
    ruled = _with_rules(message)
    if ruled is None:
        return
    violations = tuple(_describe(ruled, found) for found in _validator().collect_violations(ruled))
    if violations:
        raise InvalidArgumentError(_summary(violations), violations=violations)


def _summary(violations: tuple[FieldViolation, ...]) -> str:
    if len(violations) > 1:
        return f"{len(violations)} fields are wrong: {', '.join(found.field or 'the request' for found in violations)}"
    found = violations[0]
    return f"{found.field}: {found.description}" if found.field else found.description


@cache
def _pool() -> DescriptorPool:
    """Descriptors of our protos, rules included."""
    image = resources.files("wanworker.runtime").joinpath("protos.binpb").read_bytes()
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(image).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _validator() -> protovalidate.Validator:
    """One for the process: it compiles a type's rules once."""
    return protovalidate.Validator()


def _with_rules(message: Message) -> Message | None:
    """The same message in the private pool; None if its type is not one of ours."""
    try:
        descriptor = _pool().FindMessageTypeByName(message.DESCRIPTOR.full_name)
    except KeyError:
        return None
    return GetMessageClass(descriptor).FromString(message.SerializeToString())


def _describe(message: Any, violation: protovalidate.Violation) -> FieldViolation:
    found = violation.proto
    elements = found.field.elements if found.field is not None else ()
    target = _target(message.DESCRIPTOR, elements)
    expected = found.message.removeprefix("value ")
    if found.rule_id.startswith("enum.") and isinstance(target, FieldDescriptor) and target.enum_type:
        rejected = violation.rule_value if found.rule_id == "enum.not_in" else ()
        expected = f"must be one of {_names(target.enum_type, rejected)}"
    if found.rule_id == "required":
        given = "nothing"
    elif found.rule is None and isinstance(target, Descriptor):
        given = _given_fields(violation.field_value, target, found.rule_id)
    else:
        given = _shown(violation.field_value, target)
    return FieldViolation(_path(elements), f"{expected}, got {given}", found.rule_id)


def _target(descriptor: Descriptor, elements: Iterable[Any]) -> Descriptor | FieldDescriptor | None:
    """What a field path leads to: a message type, a scalar field, or None for a oneof."""
    target: Descriptor | FieldDescriptor | None = descriptor
    for element in elements:
        if not isinstance(target, Descriptor):
            return None
        field = target.fields_by_name.get(element.field_name)
        target = field.message_type if field is not None and field.message_type is not None else field
    return target


def _path(elements: Iterable[Any]) -> str:
    """A field path as clients write it, for example `spec.fps` or `states[2]`."""
    return ".".join(
        element.field_name + (f"[{element.subscript.value!r}]" if element.subscript is not None else "")
        for element in elements
    )


def _names(enum: EnumDescriptor, rejected: Iterable[int]) -> str:
    return ", ".join(value.name for value in enum.values if value.number not in set(rejected))


def _shown(value: object, target: Descriptor | FieldDescriptor | None) -> str:
    """A value as a person can read it: long ones cut, bytes counted."""
    match value:
        case None:
            return "nothing"
        case bytes():
            return f"{len(value)} bytes"
        case str() if len(value) > _LONGEST_VALUE:
            return f"{value[:_LONGEST_VALUE]!r}… ({len(value)} characters)"
        case str() | bool():
            return repr(value)
        case float():
            return f"{value:g}"
        case int() if isinstance(target, FieldDescriptor) and target.enum_type is not None:
            known = target.enum_type.values_by_number.get(value)
            return known.name if known is not None else str(value)
        case Message() if value.DESCRIPTOR.full_name == duration_pb2.Duration.DESCRIPTOR.full_name:
            return f"{value.seconds + value.nanos / 1e9:g}s"  # type: ignore[attr-defined]
        case Message():
            return f"a {value.DESCRIPTOR.name}"
    return f"{len(value)} items" if isinstance(value, Sized) else repr(value)


def _given_fields(message: Message, descriptor: Descriptor, rule_id: str) -> str:
    """What was given in the fields that a message's rule looks at, for example `width 640 and no height`."""
    names = dict.fromkeys(_FIELD_OF_THIS.findall(_expression(descriptor, rule_id)))
    given = [_given_field(message, descriptor.fields_by_name[name]) for name in names]
    return " and ".join(given) or descriptor.name


def _given_field(message: Message, field: FieldDescriptor) -> str:
    value = getattr(message, field.name)
    given = message.HasField(field.name) if field.has_presence else bool(value)
    if not given:
        return f"no {field.name}"
    return f"{field.name} {_shown(value, field)}"


@cache
def _expression(descriptor: Descriptor, rule_id: str) -> str:
    """The CEL expression of a rule on a whole message. The violation itself does not say."""
    options = GetMessageClass(_pool().FindMessageTypeByName("google.protobuf.MessageOptions")).FromString(
        descriptor.GetOptions().SerializeToString()
    )
    extension: Any = _pool().FindExtensionByName("buf.validate.message")
    rules: Iterator[Any] = iter(options.Extensions[extension].cel)
    return next((rule.expression for rule in rules if rule.id == rule_id), "")
