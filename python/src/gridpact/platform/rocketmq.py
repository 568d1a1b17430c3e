"""The RocketMQ 5 of the embedded platform: a name server, and a proxy with the broker inside.

Two JVMs with small heaps, everything under one folder, from the Maven artifacts that
scripts/setup-rocketmq fetches. Nothing is taken from or left in the home folder, and both log to
their standard output.

    python -m gridpact.platform.rocketmq [FOLDER]     runs both, alone, until Ctrl-C
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gridpact.broker.port import BrokerUnavailable
from gridpact.broker.rocketmq.administration import Administration
from gridpact.kit.settings import Address
from gridpact.platform.addresses import PortClaims
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent
from gridpact.platform.options import default_state_dir, repository
from gridpact.platform.probes import accepts

NAME_SERVER_READY = re.compile("The Name Server boot success")
BROKER_READY = re.compile("rocketmq-proxy startup successfully")

# Five seconds on an idle machine, half a minute beside ten busy processes.
START_SECONDS = 120.0
STOP_SECONDS = 20.0

# A broker that has run out of memory goes on answering while its timers are dead: messages would
# not be delivered again, and nobody would be told.
BROKER_IS_BROKEN = re.compile("OutOfMemoryError")

# Of a JVM whose work is I/O: one compiler, one collector thread. Netty keeps its buffers outside
# of the heap, and below 1 GiB large bodies exhaust them.
_JVM = (
    "-Djava.net.preferIPv4Stack=true",
    "-Dtls.server.mode=disabled",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=1g",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
)

_LOG_CONFIGURATION = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %p %logger{0} %m%n</pattern></encoder>
  </appender>
  <logger name="RocketmqBrokerWaterMark" level="OFF"/>
  <logger name="RocketmqProxyWatermark" level="OFF"/>
  <logger name="RocketmqTraffic" level="OFF"/>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""

# The last six keep an idle broker from polling its own clocks many times a second.
_BROKER: Mapping[str, object] = {
    "brokerClusterName": "DefaultCluster",
    "brokerName": "broker-a",
    "brokerId": 0,
    "brokerRole": "ASYNC_MASTER",
    # As with Redis: what was answered is in the kernel's hands, and survives a killed broker.
    "flushDiskType": "ASYNC_FLUSH",
    "brokerIP1": "127.0.0.1",
    "brokerIP2": "127.0.0.1",
    "bindAddress": "127.0.0.1",
    "autoCreateTopicEnable": "false",
    "autoCreateSubscriptionGroup": "false",
    # Messages with and without a delay share a topic.
    "enableMixedMessageType": "true",
    # What is delivered and not acknowledged is kept in memory, and after ten seconds in RocksDB:
    # visible again within about a second of its time. The older way needs the timer for that, and
    # two to three seconds.
    "popConsumerKVServiceInit": "true",
    "popConsumerKVServiceEnable": "true",
    "enablePopBufferMerge": "true",
    "mappedFileSizeCommitLog": 64 * 1024 * 1024,
    "mappedFileSizeConsumeQueue": 600_000,
    "maxIndexNum": 20_000,
    "maxHashSlotNum": 5_000,
    "diskMaxUsedSpaceRatio": 95,
    "fileReservedTime": 48,
    "warmMapedFileEnable": "false",
    "transientStorePoolEnable": "false",
    "flushConsumerOffsetInterval": 1_000,
    "transactionMetricFlushInterval": 1_000,
    "timerFlushIntervalMs": 5_000,
    "timerGetMessageThreadNum": 1,
    "timerPutMessageThreadNum": 1,
    "reviveQueueNum": 1,
}

_PROXY: Mapping[str, object] = {
    "rocketMQClusterName": "DefaultCluster",
    "proxyMode": "local",
    "localServeAddr": "127.0.0.1",
    "tlsTestModeEnable": True,
    "minInvisibleTimeMillsForRecv": 1,
    "grpcClientConsumerMinLongPollingTimeoutMillis": 50,
    "longPollingReserveTimeInMillis": 10,
    "grpcShutdownTimeSeconds": 1,
    "enableBatchAck": True,
}


# The names under which the parts claim their addresses, in the order of RocketmqPorts.
ROCKETMQ_LISTENERS = ("rocketmq-names", "rocketmq-broker", "rocketmq", "rocketmq-remoting")


@dataclass(frozen=True, slots=True)
class RocketmqPorts:
    """Where the parts listen.

    names: the name server.
    broker: the broker, for administration; it also takes the ports two below and one above.
    proxy: the gRPC proxy, for messages.
    remoting: the proxy for old clients; nobody here uses it, but it cannot be turned off.
    """

    names: Address
    broker: Address
    proxy: Address
    remoting: Address


@dataclass(frozen=True, slots=True)
class Rocketmq:
    """A RocketMQ in a folder; its commands are to be started with ``environment``."""

    folder: Path
    ports: RocketmqPorts
    java: str
    libraries: Path

    @classmethod
    def find(cls, folder: Path, ports: RocketmqPorts) -> Rocketmq:
        """Looks up Java and the artifacts. Raises PlatformError."""
        return cls(folder, ports, find_java(), find_libraries())

    @property
    def environment(self) -> dict[str, str]:
        return {"ROCKETMQ_HOME": str(self.folder), "NAMESRV_ADDR": str(self.ports.names)}

    def prepare(self) -> None:
        """Writes the configuration; what the broker has stored stays."""
        names, broker = self.ports.names, self.ports.broker
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write("logback.xml", _LOG_CONFIGURATION)
        self._write_properties(
            "namesrv.conf",
            {
                "bindAddress": names.host,
                "listenPort": names.port,
                "kvConfigPath": self.folder / "names" / "kvConfig.json",
                "configStorePath": self.folder / "namesrv.conf",
            },
        )
        self._write_properties(
            "broker.conf",
            {
                **_BROKER,
                "namesrvAddr": names,
                "listenPort": broker.port,
                "haListenPort": broker.port + 1,
                "storePathRootDir": self.store,
                "storePathCommitLog": self.store / "commitlog",
            },
        )
        proxy = {
            **_PROXY,
            "namesrvAddr": str(names),
            "grpcServerPort": self.ports.proxy.port,
            "remotingListenPort": self.ports.remoting.port,
            "brokerConfigPath": str(self.folder / "broker.conf"),
        }
        self._write("rmq-proxy.json", msgspec.json.encode(proxy).decode())

    @property
    def store(self) -> Path:
        """Everything the broker keeps."""
        return self.folder / "store"

    async def is_ready(self) -> bool:
        """Whether topics can be made and messages sent; a probe of gridpact.platform.probes."""
        try:
            await Administration([self.ports.names]).brokers()
        except BrokerUnavailable:
            return False
        return await accepts(self.ports.proxy)

    def name_server_command(self) -> tuple[str, ...]:
        configuration = str(self.folder / "namesrv.conf")
        main = "org.apache.rocketmq.namesrv.NamesrvStartup"
        return (*self._java("16m", "64m"), main, "-c", configuration)

    def broker_command(self) -> tuple[str, ...]:
        return (
            *self._java("64m", "256m"),
            "org.apache.rocketmq.proxy.ProxyStartup",
            *("-pm", "local"),
            *("-pc", str(self.folder / "rmq-proxy.json")),
            *("-bc", str(self.folder / "broker.conf")),
            *("-n", str(self.ports.names)),
        )

    def _java(self, least_heap: str, most_heap: str) -> tuple[str, ...]:
        return (
            self.java,
            f"-Xms{least_heap}",
            f"-Xmx{most_heap}",
            *_JVM,
            f"-Duser.home={self.folder / 'home'}",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Drmq.logback.configurationFile={self.folder / 'logback.xml'}",
            *("-cp", f"{self.libraries}/*"),
        )

    def _write_properties(self, name: str, properties: Mapping[str, object]) -> None:
        self._write(name, "".join(f"{key}={value}\n" for key, value in properties.items()))

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


def find_java() -> str:
    """The Java to run with. Raises PlatformError."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise PlatformError("RocketMQ needs Java 11 or later: run scripts/setup-rocketmq")
    return java


def find_libraries() -> Path:
    """Where scripts/setup-rocketmq has put the artifacts. Raises PlatformError."""
    root = repository()
    folder = None if root is None else root / ".tools" / "rocketmq" / "lib"
    if folder is None or not folder.is_dir():
        raise PlatformError("RocketMQ is missing: run scripts/setup-rocketmq in a clone")
    return folder


class RocketmqServer:
    """A RocketMQ of its own, outside of any platform; it ends with this process.

    For who needs nothing but the broker: tests, benchmarks, `make rocketmq`.
    """

    def __init__(self, folder: Path) -> None:
        """Chooses free ports. Raises PlatformError without Java or the artifacts."""
        self._claims = PortClaims()
        addresses = self._claims.claim(ROCKETMQ_LISTENERS)
        ports = RocketmqPorts(*(addresses[name] for name in ROCKETMQ_LISTENERS))
        self.rocketmq = Rocketmq.find(folder, ports)
        self.log = folder / "rocketmq.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        """Returns when topics can be made and messages sent. Raises PlatformError."""
        self.rocketmq.prepare()
        self._processes = [
            self._start(self.rocketmq.name_server_command()),
            self._start(self.rocketmq.broker_command()),
        ]
        deadline = time.monotonic() + START_SECONDS
        while not await self.rocketmq.is_ready():
            if time.monotonic() > deadline or any(it.poll() is not None for it in self._processes):
                self.kill()
                raise PlatformError(f"RocketMQ did not start; {self.log} says why")
            # Nothing announces that it serves; asking again is all there is.
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Ends it in order: what is in memory goes to the disk."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self.kill()

    def kill(self) -> None:
        """Ends it by SIGKILL. What it had answered is in the kernel's hands."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def empty(self) -> None:
        """Removes what the broker has stored; it must not run."""
        shutil.rmtree(self.rocketmq.store, ignore_errors=True)

    def close(self) -> None:
        """Lets the ports go."""
        self.kill()
        self._claims.close()

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                dies_with_parent(tuple(command), signal.SIGKILL),
                env={**os.environ, **self.rocketmq.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_state_dir() / "rocketmq-alone"
    began = time.monotonic()
    try:
        server = RocketmqServer(folder.absolute())
        asyncio.run(server.start())
    except PlatformError as error:
        print(f"rocketmq: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    ports = server.rocketmq.ports
    print(
        f"RocketMQ is ready after {time.monotonic() - began:.1f} s, state in {folder}", flush=True
    )
    print(f"GRIDPACT_ROCKETMQ_ENDPOINTS={ports.proxy}")
    print(f"GRIDPACT_ROCKETMQ_NAME_SERVERS={ports.names}", flush=True)
    stopping = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    signal.sigwait(stopping)
    server.stop()
    print("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
