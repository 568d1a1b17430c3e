"""A worker process: one task after another from its standard input, the answers to its output.

It computes in the foreground and is killed to cancel. Run by `gridpact.compute.serve.pool` only;
its argument is how much memory it may use, in MiB.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

from msgspec import UNSET

from gridpact.compute.kinds import computations
from gridpact.compute.model.progress import Progress as Report
from gridpact.compute.serve.frames import HEADER, Tag, frame, read_header
from gridpact.compute.serve.memory import OUT_OF_MEMORY_EXIT, limit_memory, private_mib
from gridpact.compute.solve.deadline import out_of_time, stopped_in
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.channels import BODY_BYTES, KINDS, LIMITS, ZSTD_THRESHOLD_BYTES
from gridpact.contracts.errors import REASONS, Reason
from gridpact.contracts.messages import Error, Progress, Result, TaskMessage
from gridpact.kit.compression import Encoding, compress, decompress
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log, configure_logging
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import decode, encode

log = Log(__name__)

QUIET_SECONDS = 0.1  # at most ten reports a second; what is done sooner needs none

QUICK_SECONDS = 0.002
MOST_UNSEEN = 32

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves until standard input ends."""
    _die_with_parent()
    with os.fdopen(os.dup(0), "rb") as tasks, os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        # What libraries print must not end up between frames; HiGHS greets once, in the warm-up.
        configure_logging("compute-worker", os.environ.get("GRIDPACT_LOG_LEVEL", "info"))
        memory_mib = int(sys.argv[1])
        limit_memory(memory_mib)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        computer = Computer()
        computer.warm_up()
        os.dup2(2, 1)
        answers.write(frame(Tag.READY))
        unseen_count = 0
        while (task := _next_task(tasks)) is not None:
            began = time.monotonic()
            answers.write(frame(Tag.LAST, computer.answer(task, answers.write)))
            unseen_count += 1
            # Nobody takes much memory in no time, and to look costs as much as a quick task.
            if time.monotonic() - began > QUICK_SECONDS or unseen_count == MOST_UNSEEN:
                unseen_count = 0
                if 2 * private_mib(os.getpid()) > memory_mib:
                    computer.relieve_memory()


def _next_task(tasks: BinaryIO) -> TaskMessage | None:
    header = tasks.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    _, size = read_header(header)
    return decode(TaskMessage, tasks.read(size), LIMITS)


class Computer:
    """Answers tasks, one after the other; keeps the models that kinds may build on."""

    def __init__(self) -> None:
        self._models = WarmModels()
        self._computations = computations(self._models)

    def answer(self, task: TaskMessage, write: Callable[[bytes], object]) -> bytes:
        """The last message of a task: its result, or the error that it ended with."""
        left_s = task.remaining_ms / 1000
        self._models.affinity_key = None if task.affinity_key is UNSET else task.affinity_key
        with stopped_in(left_s) as deadline:
            try:
                return self._result(task, _Reports(task, write).report)
            except GridpactError as error:
                if error.reason is Reason.TASK_TIMEOUT and deadline.cut_short:
                    # No time limit of the input ended the task, but its own.
                    error = GridpactError(error.reason, out_of_time(left_s), timeout_s=left_s)
                return encode(_error(task, error))
            except ContractError as error:
                return encode(_error(task, GridpactError.of(error)))
            except MemoryError:
                # Whatever is half done goes with the process; the front says why.
                os._exit(OUT_OF_MEMORY_EXIT)
            except Exception:
                log.exception("task-crashed", task_id=task.task_id, kind=task.kind)
                return encode(
                    _error(task, GridpactError(Reason.INTERNAL, "the computation crashed"))
                )

    def relieve_memory(self) -> None:
        """After a task that needed much: what is kept for later ones goes first."""
        self._models.clear()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    def warm_up(self) -> None:
        """Computes every rehearsal, from bytes to bytes, so that no task is the first."""
        for kind, computation in self._computations.items():
            inputs = computation.rehearsals()
            if not inputs:
                raise AssertionError(f"the kind {kind} has no rehearsal")
            for wanted in inputs:
                task = TaskMessage(
                    task_id="00000000-0000-7000-8000-000000000000",
                    kind=kind,
                    attempt=1,
                    fencing_token=1,
                    remaining_ms=60_000,
                    encoding="identity",
                    body=encode(wanted),
                )
                self._result(task, _unheard)

    def _result(self, task: TaskMessage, report: Report) -> bytes:
        started = time.perf_counter()
        if task.kind not in self._computations:
            words = f"this node does not know the kind {task.kind}"
            raise GridpactError(Reason.KIND_UNKNOWN, words, kind=task.kind)
        body = decompress(task.encoding, task.body, LIMITS.decoded_bytes)
        wanted = decode(KINDS[task.kind].input, body, LIMITS)
        encoding, packed = packed_result(
            encode(self._computations[task.kind].compute(wanted, report))
        )
        return encode(
            Result(
                task_id=task.task_id,
                fencing_token=task.fencing_token,
                encoding=encoding,
                solve_ms=(time.perf_counter() - started) * 1000,
                body=packed,
            )
        )


def packed_result(result: bytes) -> tuple[Encoding, bytes]:
    """The body of a result; RESULT_TOO_LARGE where no message carries it."""
    if len(result) > LIMITS.decoded_bytes:
        raise _too_large(len(result), LIMITS.decoded_bytes)
    encoding, packed = compress(result, ZSTD_THRESHOLD_BYTES)
    if len(packed) > BODY_BYTES:
        raise _too_large(len(packed), BODY_BYTES)
    return encoding, packed


def _too_large(size: int, limit_bytes: int) -> GridpactError:
    words = f"the result has {size} bytes, at most {limit_bytes} can be sent"
    words += "; ask for fewer slots or a shorter report"
    return GridpactError(Reason.RESULT_TOO_LARGE, words, limit_bytes=limit_bytes)


def _error(task: TaskMessage, error: GridpactError) -> Error:
    return Error(
        task_id=task.task_id,
        fencing_token=task.fencing_token,
        reason=error.reason,
        message=error.message,
        retryable=REASONS[error.reason].retryable,
        violations=list(error.violations[:100]),
    )


class _Reports:
    """Passes progress on, but not more often than it may be sent."""

    def __init__(self, task: TaskMessage, write: Callable[[bytes], object]) -> None:
        self._task = task
        self._write = write
        self._last = time.monotonic()

    def report(
        self,
        fraction: float,
        stage: str,
        *,
        objective: float | None = None,
        bound: float | None = None,
        relative_gap: float | None = None,
    ) -> None:
        now = time.monotonic()
        if now - self._last < QUIET_SECONDS:
            return
        self._last = now
        message = Progress(
            task_id=self._task.task_id,
            fencing_token=self._task.fencing_token,
            fraction=fraction,
            stage=stage,
            objective=UNSET if objective is None else objective,
            bound=UNSET if bound is None else bound,
            relative_gap=UNSET if relative_gap is None else relative_gap,
        )
        self._write(frame(Tag.PROGRESS, encode(message)))


def _unheard(*_: object, **__: object) -> None:
    """Takes the reports of the warm-up."""


def _die_with_parent() -> None:
    """However the front ends, its workers end with it."""
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the front died while its worker started")


if __name__ == "__main__":
    main()
