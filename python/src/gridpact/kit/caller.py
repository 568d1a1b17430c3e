"""Who calls: set once where a request enters the process, read wherever rights matter."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError


class Role(IntEnum):
    """What a person may do; each role may do what the smaller ones may."""

    VIEWER = 1
    OPERATOR = 2
    ENGINEER = 3
    ADMIN = 4
    # A process of the platform: outside the order, never a person.
    SERVICE = 5

    @property
    def word(self) -> str:
        """The role as contracts and tokens spell it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role that a token or a row names; ValueError for any other word."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"{word} is no role") from None


class Access(IntEnum):
    """Who may call an operation."""

    PUBLIC = 0
    VIEWER = Role.VIEWER
    OPERATOR = Role.OPERATOR
    ENGINEER = Role.ENGINEER
    ADMIN = Role.ADMIN
    SERVICE = Role.SERVICE


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a verified access token belongs to. A service has no organisation (empty)."""

    user_id: str
    organisation_id: str
    role: Role
    session_id: str

    def require(self, access: Access) -> None:
        """Returns when this caller may call an operation of that access; ROLE_INSUFFICIENT if not.

        Services and people do not stand in for one another: a service may call what is public or
        for services, a person never what is for services.
        """
        if access is Access.PUBLIC:
            return
        if self.role is Role.SERVICE or access is Access.SERVICE:
            allowed = int(self.role) == int(access)
        else:
            allowed = int(self.role) >= int(access)
        if not allowed:
            needed = access.name.lower()
            words = f"this needs the role {needed}; yours is {self.role.word}"
            raise GridpactError(Reason.ROLE_INSUFFICIENT, words, required_role=needed)


# The verified caller and their token, as they came in; the token goes along with calls going out.
current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
current_token: ContextVar[str | None] = ContextVar("current_token", default=None)


def caller() -> Caller:
    """The caller of the request being served; TOKEN_MISSING outside of an authenticated request."""
    known = current_caller.get()
    if known is None:
        raise GridpactError(Reason.TOKEN_MISSING, "this needs an access token")
    return known
