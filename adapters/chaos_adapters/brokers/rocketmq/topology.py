"""What a RocketMQ cluster consists of (name servers, one group of brokers), and how to start it.

Every port has one address that is right everywhere, as brokers tell theirs to name servers,
controllers, peers and clients alike: 127.0.0.1 and a number that nobody else has.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chaos.spi import JAVA_OPTIONS, Java, Launch, Member, Place, Port, Settings
from chaos_adapters.brokers.properties import property_text
from chaos_adapters.brokers.rocketmq import codes, versions
from chaos_adapters.brokers.rocketmq.remoting import request

CONTROLLER_FORM, SYNC_MASTER, ASYNC_MASTER = "controller", "SYNC_MASTER", "ASYNC_MASTER"
JRAFT, DLEDGER = "jRaft", "DLedger"
CLUSTER, GROUP = "chaos", "rocketmq"
"""Names of the cluster and of its one group of brokers, as RocketMQ calls it the `brokerName`."""

_BROKER_PING = request(codes.GET_BROKER_CONFIG, 1, {})
_NAMESRV_PING = request(codes.GET_BROKER_CLUSTER_INFO, 1, {})
_CONTROLLER_PING = request(codes.CONTROLLER_GET_METADATA_INFO, 1, {})
_RAFT_PING = bytes.fromhex("01 01 0000 01 00000001 01 00007530 0000 0000 00000000")
"""A heartbeat of SOFABolt, version 1 (class RpcCommandEncoder), which its server answers."""
_HANDSHAKE, _LEARNER, _NOBODY = 1, 1, -1
_HA_PING = struct.pack(">ihhq", _HANDSHAKE, 0, _LEARNER, _NOBODY)
"""A slave's first words (class AutoSwitchHAClient): of one without a number, who copies and is
never counted. Masters and slaves alike answer with the epochs that they know."""
REMOTING, FAST, HA = "remoting", "fast", "ha"
NAMESRV, CONTROLLER, RAFT = "namesrv", "controller", "raft"

_BROKER_PORTS = (
    Port(REMOTING, 10911, "everyone", _BROKER_PING, everywhere=True),
    Port(FAST, 10909, "peers", _BROKER_PING, everywhere=True, tied=(REMOTING, -2)),
)
_HA_PORT = Port(HA, 10912, "peers", _HA_PING, everywhere=True)
_NAMESRV_PORT = Port(NAMESRV, 9876, "everyone", _NAMESRV_PING, everywhere=True)
_CONTROLLER_PORT = Port(CONTROLLER, 9878, "everyone", _CONTROLLER_PING, everywhere=True)
_RAFT_PORT = Port(RAFT, 9880, "peers", _RAFT_PING, everywhere=True)

_SMALL: Settings = {
    # RocketMQ's defaults for these assume a machine of its own; none changes what a failure does.
    "mappedFileSizeCommitLog": 64 << 20,
    "mappedFileSizeConsumeQueue": 20 * 50_000,
    "mappedFileSizeTimerLog": 1 << 20,
    "maxIndexNum": 1 << 18,
    "maxHashSlotNum": 1 << 16,
    # A broker polls for these ten times a second and more, whether anybody uses them or not: delays
    # of any length (those by level stay), and pop consumers.
    "timerWheelEnable": False,
    "reviveQueueNum": 1,
    # Above a use of the disk of 75 % old files are deleted, above 85 % those of any age, consumed
    # or not (class DefaultMessageStore): a developer's machine may be there already. With a full
    # disk a broker refuses messages all the same.
    "diskMaxUsedSpaceRatio": 95,
    "cleanFileForciblyEnable": False,
    # Each replica can be asked what it holds; a broker that lags still says so.
    "slaveReadEnable": True,
    # Streams are made by us, so that a typo is an error.
    "autoCreateTopicEnable": False,
}

_BROKER_HEAP = ("-Xms256m", "-Xmx512m", "-XX:MaxDirectMemorySize=512m")
_NAMESRV_HEAP = ("-Xms64m", "-Xmx192m", "-XX:MaxDirectMemorySize=128m")
_START_FAST = (
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    # Else each server makes a key for TLS at its start, which took 28 to 80 s on a busy machine.
    "-Dtls.server.mode=disabled",
)  # fmt: skip
_MODERN_JAVA = (
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)
"""What RocketMQ and its Netty do to Java's insides, and newer Javas have to be asked for."""

_LOGBACK = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p [%t] %c{0} - %m%n</pattern></encoder>
  </appender>
  <logger name="RocketmqTraffic" level="ERROR"/>
  <logger name="RocketmqRocksDB" level="ERROR"/>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""


@dataclass(frozen=True)
class Topology:
    """So many brokers of one group, and so many name servers, with a controller inside each where
    the form is `controller`; else the first broker is master for ever, and the form is its role."""

    brokers: int
    name_servers: int
    form: str = CONTROLLER_FORM
    controllers: str = JRAFT

    @property
    def controlled(self) -> bool:
        """Whether controllers choose the master."""
        return self.form == CONTROLLER_FORM

    @property
    def members(self) -> Sequence[Member]:
        """`namesrv-1` and following, then `rocketmq-1` and following."""
        kinds = {NAMESRV, *([CONTROLLER] if self.controlled else [])}
        ports = (_NAMESRV_PORT, *self._controller_ports())
        # Without controllers nothing can be asked there that does not look like a slave.
        copying = _HA_PORT if self.controlled else replace(_HA_PORT, ping=b"")
        servers = [
            Member(f"{NAMESRV}-{number}", frozenset(kinds), ports)
            for number in range(1, self.name_servers + 1)
        ]
        brokers = [
            Member(f"{GROUP}-{number}", frozenset({"broker"}), (*_BROKER_PORTS, copying))
            for number in range(1, self.brokers + 1)
        ]
        return [*servers, *brokers]

    def _controller_ports(self) -> tuple[Port, ...]:
        """Controllers of the DLedger kind talk to each other where brokers talk to them."""
        if not self.controlled:
            return ()
        return (_CONTROLLER_PORT, *([_RAFT_PORT] if self.controllers == JRAFT else []))

    @property
    def servers(self) -> Sequence[str]:
        """The names of all name servers."""
        return [member.name for member in self.members if NAMESRV in member.roles]


def is_broker(name: str) -> bool:
    """Whether a node of this name stores messages."""
    return name.startswith(f"{GROUP}-")


def namesrv_properties(
    place: Place, topology: Topology, settings: Settings
) -> Mapping[str, object]:
    """The configuration of a name server and of the controller in it."""
    listen = place.listen
    found: dict[str, object] = {
        "listenPort": listen[NAMESRV].port, "bindAddress": listen[NAMESRV].host,
    }  # fmt: skip
    if topology.controlled:
        found |= {
            "enableControllerInNamesrv": True,
            "controllerType": topology.controllers,
            "controllerStorePath": f"{place.data_dir}/controller",
            **(_jraft if topology.controllers == JRAFT else _dledger)(place, topology.servers),
        }
    return {**found, **settings}


def _jraft(place: Place, servers: Sequence[str]) -> Mapping[str, object]:
    return {
        "jRaftGroupId": "jRaft-Controller",
        "jRaftServerId": place.reach[place.member.name][RAFT],
        "jRaftInitConf": ",".join(str(place.reach[name][RAFT]) for name in servers),
        "jRaftControllerRPCAddr": ",".join(str(place.reach[name][CONTROLLER]) for name in servers),
    }


def _dledger(place: Place, servers: Sequence[str]) -> Mapping[str, object]:
    """A peer is written `number-host:port`, so a number may have no hyphen."""
    numbers = {name: f"n{name.rpartition('-')[2]}" for name in servers}
    return {
        "controllerDLegerGroup": "DLedger-Controller",
        "controllerDLegerSelfId": numbers[place.member.name],
        "controllerDLegerPeers": ";".join(
            f"{numbers[name]}-{place.reach[name][CONTROLLER]}" for name in servers
        ),
        "mappedFileSize": 16 << 20,  # of its log; the default is 1 GiB
    }


def broker_properties(place: Place, topology: Topology, settings: Settings) -> Mapping[str, object]:
    """The configuration of a broker; the experiment's `settings` have the last word."""
    listen, reach, name = place.listen, place.reach, place.member.name
    return {
        "brokerClusterName": CLUSTER,
        "brokerName": GROUP,
        "namesrvAddr": ";".join(str(reach[server][NAMESRV]) for server in topology.servers),
        "listenPort": listen[REMOTING].port,
        "bindAddress": listen[REMOTING].host,
        "haListenPort": listen[HA].port,
        "brokerIP1": reach[name][REMOTING].host,
        "brokerIP2": reach[name][HA].host,
        "storePathRootDir": f"{place.data_dir}/store",
        "storePathCommitLog": f"{place.data_dir}/store/commitlog",
        **_role(place, topology),
        **_SMALL,
        **settings,
    }


def _role(place: Place, topology: Topology) -> Mapping[str, object]:
    if topology.controlled:
        return {
            "enableControllerMode": True,
            "controllerAddr": ";".join(
                str(place.reach[server][CONTROLLER]) for server in topology.servers
            ),
            "brokerId": -1,  # the controller gives out the numbers
            "brokerRole": "SLAVE",
        }
    number = int(place.member.name.rpartition("-")[2])
    return {"brokerId": number - 1, "brokerRole": topology.form if number == 1 else "SLAVE"}


def launch(
    place: Place, topology: Topology, version: str, settings: Settings, controllers: Settings
) -> Launch:
    """The configuration for either runtime, and the Java program for plain processes."""
    if is_broker(place.member.name):
        properties = broker_properties(place, topology, settings)
        main, heap = "org.apache.rocketmq.broker.BrokerStartup", _BROKER_HEAP
        told = f"# listenPort - 2, which slaves use as well: {place.listen[FAST].port}\n"
    else:
        properties = namesrv_properties(place, topology, controllers)
        main, heap, told = "org.apache.rocketmq.namesrv.NamesrvStartup", _NAMESRV_HEAP, ""
    logback = f"-Drmq.logback.configurationFile={place.config_dir}/logback.xml"
    # Java 8, which the official image has, knows no such file and ignores it.
    more = ("-XX:+IgnoreUnrecognizedVMOptions",
            f"-XX:VMOptionsFile={place.config_dir}/{JAVA_OPTIONS}")  # fmt: skip
    own = (*_START_FAST, f"-Duser.home={place.data_dir}", logback, *more)
    return Launch(
        files={
            "rocketmq.conf": told + property_text(properties),
            "logback.xml": _LOGBACK,
            JAVA_OPTIONS: "",
        },
        environment={"JAVA_OPT_EXT": " ".join((*heap, *own)), "MAIN": main},
        program=Java(
            str(versions.lock(version)), main, ("-c", f"{place.config_dir}/rocketmq.conf"),
            (*heap, *own, *_MODERN_JAVA, f"-Drocketmq.home.dir={place.config_dir}"),
        ),
    )  # fmt: skip
