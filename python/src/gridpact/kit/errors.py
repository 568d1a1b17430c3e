"""The one exception of the domain; only transports turn it into a status, a code or a message."""

from __future__ import annotations

from collections.abc import Iterable

from gridpact.contracts.errors import REASONS, Reason, ReasonEntry
from gridpact.kit.violation import ContractError, Violation


class GridpactError(Exception):
    """Something a caller must know of, by a reason of contracts/errors.yaml.

    ``message`` is for people and may be shown to the caller; ``meta`` repeats every variable of
    it. ``violations`` names the fields at fault, if fields are at fault.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Iterable[Violation] = (),
        **meta: object,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.meta = {name: str(value) for name, value in meta.items()}

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def entry(self) -> ReasonEntry:
        """What the registry says of the reason."""
        return REASONS[self.reason]

    @property
    def retry_after_s(self) -> int | None:
        """Whole seconds to wait before the next try, at least 1; None when nothing was said."""
        seconds = self.meta.get("retry_after_s")
        return None if seconds is None else max(1, int(float(seconds)))

    @classmethod
    def invalid(cls, violations: Iterable[Violation]) -> GridpactError:
        """INVALID_ARGUMENT for these violations (at least one)."""
        return cls.of(ContractError.of(list(violations)))

    @classmethod
    def of(cls, error: ContractError) -> GridpactError:
        """The same refusal, as the domain says it."""
        return cls(Reason(error.reason), error.message, violations=error.violations)


def not_found(resource: str, identifier: str) -> GridpactError:
    """NOT_FOUND, the same for what does not exist and for what another organisation owns."""
    message = f"there is no {resource} {identifier}"
    return GridpactError(Reason.NOT_FOUND, message, resource=resource, id=identifier)


def unavailable(message: str, retry_after_s: int = 1) -> GridpactError:
    """UNAVAILABLE: what is needed does not answer; the same request may succeed soon."""
    return GridpactError(Reason.UNAVAILABLE, message, retry_after_s=retry_after_s)
