"""Between the engine's property values and plain Python data."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pulumi.provider.experimental.property_value import PropertyValue, PropertyValueType
from pulumi.runtime import rpc


class _Unknown:
    """An input that is not known yet (at preview only)."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = _Unknown()


def to_python(value: PropertyValue | None) -> Any:
    """Return plain data; whole floats become int (the wire has one number type), unknowns become UNKNOWN."""
    if value is None or value.type == PropertyValueType.NULL:
        return None
    # The SDK reads an unknown input as the text that stands for one on the wire.
    if value.type == PropertyValueType.COMPUTED or value.value == rpc.UNKNOWN:
        return UNKNOWN
    raw = value.value
    if isinstance(raw, Mapping):
        return {key: to_python(item) for key, item in raw.items()}
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return [to_python(item) for item in raw]
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw


def mapping(properties: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Return a resource's properties as plain data."""
    return {name: to_python(value) for name, value in properties.items()}


def from_python(value: Any) -> PropertyValue:
    """Return plain data as a property value."""
    if isinstance(value, Mapping):
        return PropertyValue({str(key): from_python(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return PropertyValue([from_python(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def from_mapping(values: Mapping[str, Any]) -> dict[str, PropertyValue]:
    """Return plain outputs as property values."""
    return {name: from_python(value) for name, value in values.items()}


def unknown() -> PropertyValue:
    """Return an unknown value that can be sent: the SDK has one that it reads and cannot write."""
    return PropertyValue(rpc.UNKNOWN)


def sendable(value: PropertyValue) -> PropertyValue:
    """Return a value with its unknown parts as the SDK can send them."""
    if value.type == PropertyValueType.COMPUTED:
        return unknown()
    raw = value.value
    if isinstance(raw, Mapping):
        return value.with_value({key: sendable(item) for key, item in raw.items()})
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return value.with_value([sendable(item) for item in raw])
    return value


def sendable_mapping(properties: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """Return a resource's properties as the SDK can send them."""
    return {name: sendable(value) for name, value in properties.items()}
