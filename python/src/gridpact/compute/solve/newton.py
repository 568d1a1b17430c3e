"""Newton-Raphson on the power balance of a network: voltages from powers.

The derivatives are those of the complex power S = V·conj(Y·V) in polar coordinates (Zimmerman, *AC
Power Flows, Generalized OPF Costs and their Derivatives using Complex Matrix Notation*, MATPOWER
Technical Note 2, section 4), evaluated at the places where Y is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


COLLAPSED_PU = 0.01
"""With a lower voltage there is no solution: where no power is wanted, 0 V balances as well."""


@dataclass(frozen=True, slots=True)
class Point:
    """Voltages (not negative) and angles (from −π to π) of all buses, and how well they balance.

    ``mismatch_pu`` is ΔP + jΔQ where active and reactive power must balance, and 0 elsewhere.
    ``worst_bus`` has the largest, or the lowest voltage where a collapse is what is wrong.
    """

    voltage_pu: Real
    angle_rad: Real
    mismatch_pu: Complex
    worst_bus: int
    iterations: int
    converged: bool

    @property
    def phasor(self) -> Complex:
        return phasor_of(self.voltage_pu, self.angle_rad)


def phasor_of(magnitude: Real, angle_rad: Real) -> Complex:
    """Complex numbers from magnitudes and angles."""
    direction: Complex = np.exp(1j * angle_rad)
    return direction * magnitude


@dataclass(frozen=True, slots=True)
class Unknowns:
    """Which angles and voltages are to be found, and how the Jacobian is laid out for them."""

    angles: Indices  # of these buses; active power is balanced there
    voltages: Indices  # likewise reactive power
    order: Indices  # entry of the four blocks, one after the other, for each stored value
    rows: NDArray[np.int32]
    column_starts: NDArray[np.int32]


class PowerBalance:
    """The equations of a network with the bus admittance matrix ``admittance_pu``.

    Every place on the diagonal must be stored.
    """

    def __init__(self, admittance_pu: csr_array) -> None:
        self._admittance = admittance_pu
        entries = admittance_pu.tocoo()
        self._rows, self._columns = (np.asarray(part, dtype=np.intp) for part in entries.coords)
        self._values: Complex = np.asarray(entries.data, dtype=np.complex128)
        self._diagonal = np.flatnonzero(self._rows == self._columns)
        self._unknowns: tuple[bytes, Unknowns] | None = None

    def injected_pu(self, phasor: Complex) -> Complex:
        """The complex power that goes from each bus into the network."""
        return phasor * np.conj(self._current(phasor))

    def _current(self, phasor: Complex) -> Complex:
        """What flows from each bus into the network."""
        return np.asarray(self._admittance @ phasor)

    def solve(
        self,
        start: tuple[Real, Real],
        power_pu: Complex,
        *,
        angle_free: Mask,
        voltage_free: Mask,
        tolerance_pu: float,
        max_iterations: int,
    ) -> Point:
        """From ``start`` (voltages, angles) to where ``power_pu`` is fed into each bus.

        Active power is balanced where the angle is free, reactive power where the voltage is.
        """
        unknowns = self._unknowns_of(angle_free, voltage_free)
        count = len(unknowns.angles)
        voltage, angle = start[0].copy(), start[1].copy()
        iterations = 0
        with np.errstate(over="ignore", invalid="ignore"):  # what runs away is found below
            while True:
                phasor = phasor_of(voltage, angle)
                difference = self.injected_pu(phasor) - power_pu
                mismatch = np.where(angle_free, difference.real, 0.0) + 1j * np.where(
                    voltage_free, difference.imag, 0.0
                )
                sizes = np.maximum(np.abs(mismatch.real), np.abs(mismatch.imag))
                worst = int(np.argmax(sizes))  # which takes what is no number for the largest
                balanced = bool(sizes[worst] <= tolerance_pu)
                step = None
                if not balanced and np.isfinite(sizes[worst]) and iterations < max_iterations:
                    step = self._step(phasor, angle, mismatch, unknowns)
                if step is None:
                    # What is given stays so to the last digit.
                    size = np.where(voltage_free, np.abs(phasor), voltage)
                    lowest = int(np.argmin(np.where(voltage_free, size, np.inf)))
                    collapsed = balanced and bool(
                        voltage_free[lowest] and size[lowest] < COLLAPSED_PU
                    )
                    return Point(
                        voltage_pu=size,
                        angle_rad=np.angle(phasor),
                        mismatch_pu=mismatch,
                        worst_bus=lowest if collapsed else worst,
                        iterations=iterations,
                        converged=balanced and not collapsed,
                    )
                angle[unknowns.angles] += step[:count]
                voltage[unknowns.voltages] += step[count:]
                iterations += 1

    def _step(
        self, phasor: Complex, angle: Real, mismatch: Complex, unknowns: Unknowns
    ) -> Real | None:
        """What Newton-Raphson adds to the unknowns; None where the Jacobian is singular."""
        wrong = np.concatenate([mismatch.real[unknowns.angles], mismatch.imag[unknowns.voltages]])
        try:
            return -splu(self._jacobian(phasor, angle, unknowns)).solve(wrong)
        except RuntimeError:  # "Factor is exactly singular"
            return None

    def changes(
        self, point: Point, power_pu: Complex, *, angle_free: Mask, voltage_free: Mask
    ) -> tuple[Real, Real] | None:
        """How voltages and angles change when more power is fed in, linearised at ``point``.

        ``power_pu`` has a row for each bus and a column for each change, as the answers have. None
        where the Jacobian is singular.
        """
        unknowns = self._unknowns_of(angle_free, voltage_free)
        fed = np.concatenate([power_pu.real[unknowns.angles], power_pu.imag[unknowns.voltages]])
        voltage: Real = np.zeros(power_pu.shape)
        angle: Real = np.zeros(power_pu.shape)
        if len(fed):
            try:
                factors = splu(self._jacobian(point.phasor, point.angle_rad, unknowns))
            except RuntimeError:  # "Factor is exactly singular"
                return None
            found = factors.solve(fed)
            angle[unknowns.angles] = found[: len(unknowns.angles)]
            voltage[unknowns.voltages] = found[len(unknowns.angles) :]
        return voltage, angle

    def _jacobian(self, phasor: Complex, angle: Real, unknowns: Unknowns) -> csc_array:
        """How active and reactive powers grow with the unknown angles and voltages."""
        direction = np.exp(1j * angle)  # ∂V/∂|V|, which has no need of V to differ from 0
        current = np.conj(self._current(phasor))
        rows, columns, diagonal = self._rows, self._columns, self._diagonal
        by_voltage = phasor[rows] * np.conj(self._values * direction[columns])
        by_angle = -1j * phasor[rows] * np.conj(self._values * phasor[columns])
        by_voltage[diagonal] += direction * current
        by_angle[diagonal] += 1j * phasor * current
        blocks = (by_angle.real, by_voltage.real, by_angle.imag, by_voltage.imag)
        size = len(unknowns.angles) + len(unknowns.voltages)
        return csc_array(
            (np.concatenate(blocks)[unknowns.order], unknowns.rows, unknowns.column_starts),
            shape=(size, size),
        )

    def _unknowns_of(self, angle_free: Mask, voltage_free: Mask) -> Unknowns:
        """The layout for these free angles and voltages; the last one is kept."""
        key = angle_free.tobytes() + voltage_free.tobytes()
        if self._unknowns is None or self._unknowns[0] != key:
            self._unknowns = (key, self._laid_out(angle_free, voltage_free))
        return self._unknowns[1]

    def _laid_out(self, angle_free: Mask, voltage_free: Mask) -> Unknowns:
        angles, voltages = np.flatnonzero(angle_free), np.flatnonzero(voltage_free)
        place_of_angle = np.full(len(angle_free), -1)
        place_of_angle[angles] = np.arange(len(angles))
        place_of_voltage = np.full(len(voltage_free), -1)
        place_of_voltage[voltages] = np.arange(len(voltages)) + len(angles)
        rows = np.concatenate(
            [places[self._rows] for places in (place_of_angle,) * 2 + (place_of_voltage,) * 2]
        )
        columns = np.concatenate(
            [places[self._columns] for places in (place_of_angle, place_of_voltage) * 2]
        )
        kept = np.flatnonzero((rows >= 0) & (columns >= 0))
        order = kept[np.lexsort((rows[kept], columns[kept]))]
        size = len(angles) + len(voltages)
        starts = np.concatenate([[0], np.bincount(columns[order], minlength=size).cumsum()])
        return Unknowns(
            angles, voltages, order, rows[order].astype(np.int32), starts.astype(np.int32)
        )
