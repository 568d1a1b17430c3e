"""The generated shape of a series behind the port `SeriesContract`."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import ValidationError

from gridpact.contracts import rest
from gridpact.kit.rest import violations_from
from gridpact.kit.violation import Violation
from gridpact.series.domain import SeriesDraft


class GeneratedContract:
    """The SeriesContract of this release."""

    def check_draft(self, draft: SeriesDraft) -> list[Violation]:
        members = {name: value for name, value in asdict(draft).items() if value is not None}
        try:
            rest.SeriesDraft.model_validate(members | {"quantity": draft.quantity.value})
        except ValidationError as error:
            return violations_from(error.errors())
        return []
