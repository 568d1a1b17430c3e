"""The faults, as docs/reliability.md numbers them: what happens, what must hold, who fires it."""

from __future__ import annotations

from bench.faults.injections import crowds, kills, messages, network, sizes, stalls
from bench.faults.scene import Fault

# The message itself must come back, long before the sweeper takes it for lost: half a minute after
# the end of its lease, or of its publication.
_BEFORE_THE_SWEEPER_S = 28.0

FAULTS = (
    Fault(
        1,
        "services killed between commit and publication",
        "the outbox publishes",
        kills.services_between_commit_and_publish,
    ),
    Fault(
        2,
        "api killed before its reply, request repeated",
        "one task",
        kills.api_before_its_reply,
        delivers_once=True,
    ),
    Fault(
        3,
        "service killed in a call",
        "503, no half of a task",
        kills.service_in_a_call,
    ),
    Fault(
        4,
        "bridge killed between send and acknowledgement",
        "delivered again, one effect",
        kills.bridge_between_send_and_acknowledgement,
        on_both_brokers=True,
        heals_s=_BEFORE_THE_SWEEPER_S,
    ),
    Fault(
        5,
        "worker killed at work",
        "reassigned within the lease",
        kills.worker_at_work,
        on_both_brokers=True,
    ),
    Fault(
        6,
        "worker killed after its result, before the acknowledgement",
        "one result",
        kills.worker_after_its_result,
        on_both_brokers=True,
    ),
    Fault(
        7,
        "holder of a lease stopped beyond it, then continued",
        "the stale attempt is refused",
        stalls.lease_holder_beyond_its_lease,
    ),
    Fault(
        8,
        "bridge, then broker stopped and continued",
        "queues are bounded, work goes on",
        stalls.bridge_or_broker_stands_still,
        rate=20.0,
    ),
    Fault(
        9,
        "broker killed",
        "the outbox repairs the gap",
        kills.broker_killed,
        on_both_brokers=True,
    ),
    Fault(
        10,
        "FLUSHALL of Redis",
        "nothing that matters lived only there",
        stalls.redis_forgets_everything,
        rate=5.0,
    ),
    Fault(
        11,
        "consumer dead with a message",
        "claimed by another; a long task is not",
        stalls.consumer_dies_with_a_message,
        heals_s=_BEFORE_THE_SWEEPER_S,
    ),
    Fault(
        12,
        "PostgreSQL killed in a transaction",
        "the pools heal",
        kills.database_in_a_transaction,
    ),
    Fault(
        13,
        "tables locked",
        "503 with Retry-After",
        stalls.tables_are_locked,
        delivers_once=True,
    ),
    Fault(
        14,
        "disk full",
        "503, reads work; recovers by itself",
        stalls.disk_is_full,
        fills_disk=True,
        rate=20.0,
    ),
    Fault(
        15,
        "blackhole between bridge and node",
        "noticed within the silence that is allowed",
        network.blackhole,
    ),
    Fault(
        16,
        "one-way cut between bridge and node",
        "one owner of a task",
        network.one_way_cut,
    ),
    Fault(
        17,
        "latency, low bandwidth, slow worker",
        "heartbeats hold the lease: delivered once",
        network.slow_network_and_slow_worker,
        rate=1.0,
        delivers_once=True,
    ),
    Fault(
        18,
        "single bytes, truncated frames, resets",
        "no part of a task is taken for one",
        network.broken_streams,
        rate=5.0,
    ),
    Fault(
        19,
        "node stops reading",
        "the bridge's buffers are bounded",
        network.node_stops_reading,
    ),
    Fault(
        20,
        "poison: an unreadable message, a task that kills its workers",
        "exactly the maximum of attempts; dead letter; the others are served",
        messages.poison,
        on_both_brokers=True,
        rate=3.0,
    ),
    Fault(
        21,
        "ten duplicates at once; cancel against result",
        "one winner",
        messages.contradictory_wishes,
        delivers_once=True,
    ),
    Fault(
        22,
        "500 nodes come back at once",
        "spread by jitter; p99 recovers",
        crowds.nodes_come_back_at_once,
        rate=3.0,
        with_plans=False,
    ),
    Fault(
        23,
        "clock of the database set by an hour, and back",
        "leases lose nobody's work",
        stalls.clock_is_set,
    ),
    Fault(
        24,
        "every size limit and one beyond; bombs of Zstandard and MsgPack",
        "an error by name, one attempt",
        sizes.limits_and_bombs,
        rate=3.0,
        delivers_once=True,
    ),
    Fault(
        25,
        "three times overload, every process told to stop",
        "goodput at least 90 % of the peak, at most 1.1 attempts a task",
        crowds.overload_and_rolling_stops,
        rate=1.0,
        within_s=240.0,
    ),
)
