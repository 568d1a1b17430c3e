"""A network while it is gathered from a file, and the `power-flow` submission that it becomes."""

from __future__ import annotations

import re
from typing import Any, Literal

from gridpact.cli.importing.error import ImportFileError
from gridpact.contracts.messages import PowerFlowInput
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import build

Part = Literal["buses", "branches", "generators", "loads", "shunts"]

_NAME = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,118}[^\x00-\x20\x7f])?")
_PLACE = re.compile(r"network\.(\w+)\[(\d+)\]\.?(.*)")


class Draft:
    """Buses, branches and so on in the order in which they are added, each with its source.

    The source is how the file's author knows the item; errors are told by it. ``notes`` says what
    was understood in another way than the file spells it.
    """

    def __init__(self, base_power_mva: float, frequency_hz: float | None = None) -> None:
        self._network: dict[str, Any] = {"base_power_mva": base_power_mva}
        if frequency_hz is not None:
            self._network["frequency_hz"] = frequency_hz
        self._parts: dict[Part, list[dict[str, Any]]] = {
            "buses": [],
            "branches": [],
            "generators": [],
            "loads": [],
            "shunts": [],
        }
        self._sources: dict[tuple[str, int], str] = {}
        self._taken: set[tuple[Part, str]] = set()
        self.notes: list[str] = []

    def add(self, part: Part, source: str, name: str, wanted: object = None, **members: Any) -> str:
        """Adds an item and returns the name it got: the ``wanted`` one if it will do, or ``name``.

        A member that is None is left out.
        """
        fits = isinstance(wanted, str) and _NAME.fullmatch(wanted)
        chosen = wanted if fits and (part, wanted) not in self._taken else name
        assert isinstance(chosen, str)
        count = 1
        while (part, chosen) in self._taken:
            count += 1
            chosen = f"{name} #{count}"
        self._taken.add((part, chosen))
        items = self._parts[part]
        self._sources[part, len(items)] = source
        given = {member: value for member, value in members.items() if value is not None}
        items.append({"name": chosen, **given})
        return chosen

    def submission(self, *, label: str, options: dict[str, Any]) -> dict[str, Any]:
        """The submission, which keeps the contract. Raises ImportFileError."""
        given: dict[str, Any] = {"network": self._network | self._parts}
        if options:
            given["options"] = options
        try:
            build(PowerFlowInput, given)
        except ContractError as error:
            broken = [
                f"{self._place(found.field)} {found.message} ({found.rule})"
                for found in error.violations
            ]
            raise ImportFileError("\n".join(broken)) from error
        submission: dict[str, Any] = {"kind": "power-flow", "input": given}
        if _NAME.fullmatch(label):
            submission["label"] = label
        return submission

    def _place(self, field: str) -> str:
        """A field of the contract, by the source of the item that it belongs to."""
        found = _PLACE.fullmatch(field)
        source = found and self._sources.get((found[1], int(found[2])))
        return f"{source}: {found[3]}" if found and source else field
