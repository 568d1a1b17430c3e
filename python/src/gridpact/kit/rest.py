"""REST bodies: the bases of the generated models, and validation errors as violations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gridpact.kit.rules import Rule
from gridpact.kit.shapes import is_instant, number
from gridpact.kit.violation import MAX_VIOLATIONS, Violation


class AnswerModel(BaseModel):
    """Base of what the API answers. An absent member is None and left out of the JSON."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    def to_json(self) -> bytes:
        """The body of a response."""
        return self.model_dump_json(exclude_none=True).encode()


class StrictModel(AnswerModel):
    """Base of what the API is sent: no unknown member, no null, and every rule of ``x-rules``."""

    __rules__: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, value: Any) -> Any:
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            found = [
                Violation(name, "type", "must be left out rather than null")
                for name, member in members.items()
                if member is None
            ]
            if found:
                raise _broken(found)
        return value

    @model_validator(mode="after")
    def _check_rules(self) -> StrictModel:
        found = [violation for rule in self.__rules__ for violation in rule.check(self)]
        if found:
            raise _broken(found)
        return self


def _broken(found: list[Violation]) -> PydanticCustomError:
    rows = [(violation.field, violation.rule, violation.message) for violation in found]
    return PydanticCustomError("violations", "breaks the contract", {"violations": rows})


def _whole(value: object) -> object:
    # JSON Schema knows one kind of number: 51.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole), Field(strict=True)]


def one_of(*choices: int) -> AfterValidator:
    """Accepts these numbers only."""

    def check(value: int) -> int:
        if value not in choices:
            words = f"must be one of {', '.join(map(str, choices))}; it is {value}"
            raise PydanticCustomError("enum", "{words}", {"words": words})
        return value

    return AfterValidator(check)


def _existing_time(value: str) -> str:
    if not is_instant(value):
        raise PydanticCustomError("format", "must be a time that exists")
    return value


ExistingTime = AfterValidator(_existing_time)


def tag_by(member: str) -> Callable[[Any], str | None]:
    """What tells the members of a union apart; ``violations_from`` knows such tags in a path."""

    def tag_of(value: Any) -> str | None:
        if isinstance(value, Mapping):
            tag = cast("Mapping[str, object]", value).get(member)
        else:
            tag = getattr(value, member, None)
        return f"<{tag}>" if isinstance(tag, str) else None

    tag_of.__name__ = member  # pydantic's errors name a discriminator by its function
    return tag_of


_RULES: Mapping[str, str] = {
    "missing": "required",
    "extra_forbidden": "unknown-field",
    "greater_than_equal": "minimum",
    "greater_than": "exclusive-minimum",
    "less_than_equal": "maximum",
    "less_than": "exclusive-maximum",
    "string_too_short": "min-length",
    "string_too_long": "max-length",
    "string_pattern_mismatch": "pattern",
    "too_short": "min-items",
    "too_long": "max-items",
    "literal_error": "enum",
    "union_tag_invalid": "discriminator",
    "union_tag_not_found": "discriminator",
    "enum": "enum",
    "format": "format",
}

_BOUNDS: Mapping[str, str] = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "lt": "less than",
}

_PARTS = ("body", "query", "path", "header", "cookie")


def violations_from(errors: Iterable[Mapping[str, Any]]) -> list[Violation]:
    """The violations of pydantic's (or FastAPI's) list of errors, at most 100.

    The leading ``body``, ``query`` … of FastAPI is left out of the field.
    """
    found: list[Violation] = []
    for error in errors:
        place = list(error["loc"])
        if place and place[0] in _PARTS:
            del place[0]
        field = _path(place)
        if error["type"] == "violations":
            found.extend(
                Violation(_join(field, name), rule, message)
                for name, rule, message in error["ctx"]["violations"]
            )
        elif error["type"] == "extra_forbidden":
            words = "is not a member here; remove it or correct its name"
            found.append(Violation(field, "unknown-field", words))
        else:
            rule = _RULES.get(error["type"], "type")
            if rule == "discriminator" and isinstance(error["input"], dict):
                field = _join(field, error["ctx"]["discriminator"].removesuffix("()"))
            found.append(Violation(field, rule, _message(rule, error)))
    # A path longer than the contract allows can only come of a member that the caller made up.
    return [
        Violation(violation.field[:256], violation.rule, violation.message[:1024])
        for violation in found[:MAX_VIOLATIONS]
    ]


def _path(place: list[str | int]) -> str:
    field = ""
    for i, step in enumerate(place):
        if isinstance(step, int):
            field += f"[{step}]"
        elif not (step.startswith("<") and step.endswith(">")) or i == len(place) - 1 != 0:
            field = _join(field, step)
    return field


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field and name else field or name


def _message(rule: str, error: Mapping[str, Any]) -> str:
    if rule == "required":
        return "is required"
    if rule == "discriminator":
        context = error.get("ctx", {})
        expected = re.sub("[<>']", "", str(context.get("expected_tags", "")))
        if not expected:
            return "must say which form this has"
        return f"must be one of {expected}; it is {str(context['tag'])[1:-1]}"
    for bound, words in _BOUNDS.items():
        limit = error.get("ctx", {}).get(bound)
        if limit is not None and isinstance(error["input"], int | float):
            return f"must be {words} {number(limit)}; it is {number(error['input'])}"
    text = str(error["msg"])
    for lead in ("Input should be ", "String should ", "Value should ", "List should "):
        if text.startswith(lead):
            verb = "must be " if lead.startswith("Input") else "must "
            return verb + text.removeprefix(lead)
    return text
