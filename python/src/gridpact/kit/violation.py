"""What a value breaks: one violation per field and rule, and the error that carries them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

# As many as a problem or an error message may carry.
MAX_VIOLATIONS = 100


class Violation(Struct, frozen=True):
    """One rule that one field breaks (contracts/schemas/violation.yaml).

    ``field`` is a path such as ``batteries[0].name`` and empty for the whole, ``rule`` a stable
    name, ``message`` says what is wrong and what would be right.
    """

    field: str
    rule: str
    message: str


class ContractError(Exception):
    """Bytes or values that a contract refuses.

    ``reason`` is MESSAGE_MALFORMED or MESSAGE_TOO_LARGE when bytes cannot be read at all, and
    INVALID_ARGUMENT when they can and ``violations`` names what is wrong with the value.
    """

    def __init__(self, reason: str, message: str, violations: Iterable[Violation] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)

    @classmethod
    def of(cls, violations: list[Violation]) -> ContractError:
        """The INVALID_ARGUMENT error of a value that breaks these rules (at least one)."""
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        where = f"{first.field} " if first.field else ""
        message = f"{where}{first.message}{more}"
        return cls("INVALID_ARGUMENT", message, violations[:MAX_VIOLATIONS])
