"""Amounts as a grove file writes them: CPUs, memory, durations. Each is parsed and printed here alone."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from coppice.groves.errors import shown

CPU_PATTERN = r"^[0-9]{1,9}m$"
MEMORY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,6})?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
DURATION_PATTERN = r"^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"

MIN_MEMORY = 16 * 1024**2
MAX_MEMORY = 1024**5
MIN_CPU = 0.01
MAX_CPU = 4096.0
MAX_DURATION = 366 * 86400

_MEMORY_UNITS = {
    "Ti": 1024**4,
    "Gi": 1024**3,
    "Mi": 1024**2,
    "Ki": 1024,
    "T": 1000**4,
    "G": 1000**3,
    "M": 1000**2,
    "k": 1000,
    "": 1,
}
_DURATION_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class AmountError(ValueError):
    """An amount that cannot be read: `message` says what is wrong, `remedy` what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def parse_cpu(value: Any) -> float:
    """Return a number of CPUs, to a thousandth.

    Args:
        value: 0.5, 2 or "500m" (thousandths).

    Raises:
        AmountError: if it is none of these, or out of range.
    """
    remedy = 'Write a number such as 2 or 0.5, or thousandths such as "500m".'
    if isinstance(value, str) and re.fullmatch(CPU_PATTERN.strip("^$"), value, re.ASCII):
        number = int(value[:-1]) / 1000
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        number = float(value)
    else:
        raise AmountError(f"{shown(value)} is not a number of CPUs", remedy)
    if not MIN_CPU <= number <= MAX_CPU:
        raise AmountError(f"{shown(value)} CPUs is not between {MIN_CPU} and {MAX_CPU:g}", remedy)
    return round(number, 3)


def parse_memory(value: Any) -> int:
    """Return an amount of memory in bytes.

    Args:
        value: bytes as an int, or text with a unit: "512Mi", "1.5Gi", "2G".

    Raises:
        AmountError: if it is none of these, not a whole number of bytes, or out of range.
    """
    remedy = "Write an amount such as 512Mi or 2Gi."
    number: Decimal | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, str) and re.fullmatch(MEMORY_PATTERN.strip("^$"), value, re.ASCII):
        unit = next(unit for unit in _MEMORY_UNITS if value.endswith(unit))
        try:
            number = Decimal(value.removesuffix(unit)) * _MEMORY_UNITS[unit]
        except InvalidOperation:
            number = None
    if number is None or number != number.to_integral_value():
        raise AmountError(f"{shown(value)} is not an amount of memory", remedy)
    if not MIN_MEMORY <= number <= MAX_MEMORY:
        least, most = format_memory(MIN_MEMORY), format_memory(MAX_MEMORY)
        raise AmountError(f"{shown(value)} of memory is not between {least} and {most}", remedy)
    return int(number)


def parse_duration(value: Any) -> int:
    """Return a duration in seconds, at least 1.

    Args:
        value: text with units, largest first: "90s", "2h", "1h30m", "1d".

    Raises:
        AmountError: if it is not such text, zero, or longer than a year.
    """
    remedy = "Write a duration such as 90s, 30m, 2h or 1h30m."
    if isinstance(value, int) and not isinstance(value, bool):
        raise AmountError(f"the duration {shown(value)} has no unit", remedy)
    found = re.fullmatch(DURATION_PATTERN.strip("^$"), value, re.ASCII) if isinstance(value, str) else None
    if found is None or not value:
        raise AmountError(f"{shown(value)} is not a duration", remedy)
    seconds = sum(int(part[:-1]) * _DURATION_UNITS[part[-1]] for part in found.groups() if part)
    if not 1 <= seconds <= MAX_DURATION:
        raise AmountError(f"the duration {shown(value)} is not between 1s and 366d", remedy)
    return seconds


def format_cpu(cpu: float) -> int | float:
    """Return CPUs as the file writes them: a whole number where it is one."""
    return int(cpu) if cpu == int(cpu) else cpu


def format_memory(memory: int) -> str:
    """Return bytes with the largest binary unit that divides them ("1536Mi"), else as digits."""
    unit = next(unit for unit in ("Ti", "Gi", "Mi", "Ki", "") if memory % _MEMORY_UNITS[unit] == 0)
    return f"{memory // _MEMORY_UNITS[unit]}{unit}"


def format_duration(seconds: int) -> str:
    """Return seconds as the file writes them: "2h", "1h30m"."""
    text = ""
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
