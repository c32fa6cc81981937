"""The contracts between the engine and its plug-ins, and the records that cross them.

A plug-in is a frozen dataclass whose fields are its YAML parameters; nothing needs to be inherited.
There are four kinds, each with an entry-point group of its own:

    Broker    (`chaos.brokers`)    what a cluster of this system consists of, and its clients
    Runtime   (`chaos.runtimes`)   where nodes run: local processes, containers, ...
    Fault     (`chaos.faults`)     plans, injects, heals and measures one kind of failure
    Verifier  (`chaos.verifiers`)  answers one question about the history of a run

Plug-ins import from `chaos` only this module, `chaos.errors` and `chaos.timing`. All times are
nanoseconds on the run's clock (`chaos.timing.now_ns`), all names of nodes are the cluster's own.
"""

from __future__ import annotations

from chaos.spi.broker import (
    Broker as Broker,
)
from chaos.spi.broker import (
    Caveat as Caveat,
)
from chaos.spi.broker import (
    ChecksClients as ChecksClients,
)
from chaos.spi.broker import (
    ChecksUse as ChecksUse,
)
from chaos.spi.broker import (
    ClientsMayCrash as ClientsMayCrash,
)
from chaos.spi.broker import (
    ElectsLeaders as ElectsLeaders,
)
from chaos.spi.broker import (
    GivesUpSilent as GivesUpSilent,
)
from chaos.spi.broker import (
    HandsOut as HandsOut,
)
from chaos.spi.broker import (
    Held as Held,
)
from chaos.spi.broker import (
    KeepsNoPlaces as KeepsNoPlaces,
)
from chaos.spi.broker import (
    MovesReplicas as MovesReplicas,
)
from chaos.spi.broker import (
    PartitionEnd as PartitionEnd,
)
from chaos.spi.broker import (
    Placement as Placement,
)
from chaos.spi.broker import (
    Question as Question,
)
from chaos.spi.broker import (
    Readable as Readable,
)
from chaos.spi.broker import (
    Replicas as Replicas,
)
from chaos.spi.broker import (
    TakesBack as TakesBack,
)
from chaos.spi.broker import (
    TellsItsEnd as TellsItsEnd,
)
from chaos.spi.broker import (
    TellsSettings as TellsSettings,
)
from chaos.spi.broker import (
    Transactions as Transactions,
)
from chaos.spi.broker import (
    Transacts as Transacts,
)
from chaos.spi.broker import (
    Use as Use,
)
from chaos.spi.clients import (
    NUMBER_AT as NUMBER_AT,
)
from chaos.spi.clients import (
    Consumer as Consumer,
)
from chaos.spi.clients import (
    Deliveries as Deliveries,
)
from chaos.spi.clients import (
    HandsBack as HandsBack,
)
from chaos.spi.clients import (
    Numbers as Numbers,
)
from chaos.spi.clients import (
    Outcome as Outcome,
)
from chaos.spi.clients import (
    Producer as Producer,
)
from chaos.spi.clients import (
    SendSink as SendSink,
)
from chaos.spi.clients import (
    SettlesDurably as SettlesDurably,
)
from chaos.spi.clients import (
    TellsItself as TellsItself,
)
from chaos.spi.clients import (
    WaitsForSettling as WaitsForSettling,
)
from chaos.spi.clocks import (
    Clocked as Clocked,
)
from chaos.spi.clocks import (
    Clocks as Clocks,
)
from chaos.spi.clocks import (
    GivesClocks as GivesClocks,
)
from chaos.spi.clocks import (
    Skew as Skew,
)
from chaos.spi.cluster import (
    Address as Address,
)
from chaos.spi.cluster import (
    Client as Client,
)
from chaos.spi.cluster import (
    Cluster as Cluster,
)
from chaos.spi.cluster import (
    Command as Command,
)
from chaos.spi.cluster import (
    CpuUse as CpuUse,
)
from chaos.spi.cluster import (
    Foresees as Foresees,
)
from chaos.spi.cluster import (
    Java as Java,
)
from chaos.spi.cluster import (
    Launch as Launch,
)
from chaos.spi.cluster import (
    Loaded as Loaded,
)
from chaos.spi.cluster import (
    Member as Member,
)
from chaos.spi.cluster import (
    Node as Node,
)
from chaos.spi.cluster import (
    NodeState as NodeState,
)
from chaos.spi.cluster import (
    Place as Place,
)
from chaos.spi.cluster import (
    Port as Port,
)
from chaos.spi.cluster import (
    Rationed as Rationed,
)
from chaos.spi.cluster import (
    Revives as Revives,
)
from chaos.spi.cluster import (
    Runtime as Runtime,
)
from chaos.spi.cluster import (
    Traced as Traced,
)
from chaos.spi.disks import (
    Disk as Disk,
)
from chaos.spi.disks import (
    Disked as Disked,
)
from chaos.spi.disks import (
    GivesDisks as GivesDisks,
)
from chaos.spi.disks import (
    LosesCaches as LosesCaches,
)
from chaos.spi.disks import (
    NeedsDisk as NeedsDisk,
)
from chaos.spi.disks import (
    TellsFiles as TellsFiles,
)
from chaos.spi.disks import (
    TrustsCaches as TrustsCaches,
)
from chaos.spi.disks import (
    Volume as Volume,
)
from chaos.spi.disks import (
    Written as Written,
)
from chaos.spi.fault import (
    OF_THE_STREAM as OF_THE_STREAM,
)
from chaos.spi.fault import (
    WHOLE_NODE as WHOLE_NODE,
)
from chaos.spi.fault import (
    ChecksBroker as ChecksBroker,
)
from chaos.spi.fault import (
    ChecksRuntime as ChecksRuntime,
)
from chaos.spi.fault import (
    Effect as Effect,
)
from chaos.spi.fault import (
    EndsAlone as EndsAlone,
)
from chaos.spi.fault import (
    Fault as Fault,
)
from chaos.spi.fault import (
    HealsByBrokers as HealsByBrokers,
)
from chaos.spi.fault import (
    Injection as Injection,
)
from chaos.spi.fault import (
    Managed as Managed,
)
from chaos.spi.fault import (
    Momentary as Momentary,
)
from chaos.spi.fault import (
    Presence as Presence,
)
from chaos.spi.fault import (
    ReplacesConsumers as ReplacesConsumers,
)
from chaos.spi.fault import (
    Rig as Rig,
)
from chaos.spi.fault import (
    Silences as Silences,
)
from chaos.spi.fault import (
    contested as contested,
)
from chaos.spi.fault import (
    holds_down as holds_down,
)
from chaos.spi.links import (
    BOTH as BOTH,
)
from chaos.spi.links import (
    DOWNSTREAM as DOWNSTREAM,
)
from chaos.spi.links import (
    UPSTREAM as UPSTREAM,
)
from chaos.spi.links import (
    Link as Link,
)
from chaos.spi.links import (
    Losses as Losses,
)
from chaos.spi.links import (
    Lossy as Lossy,
)
from chaos.spi.links import (
    Meshed as Meshed,
)
from chaos.spi.links import (
    Packets as Packets,
)
from chaos.spi.links import (
    Way as Way,
)
from chaos.spi.links import (
    Witness as Witness,
)
from chaos.spi.memory import (
    JAVA_OPTIONS as JAVA_OPTIONS,
)
from chaos.spi.memory import (
    AlarmsForMemory as AlarmsForMemory,
)
from chaos.spi.memory import (
    Memoried as Memoried,
)
from chaos.spi.memory import (
    Memory as Memory,
)
from chaos.spi.memory import (
    Tunable as Tunable,
)
from chaos.spi.memory import (
    UsedUp as UsedUp,
)
from chaos.spi.observing import (
    Group as Group,
)
from chaos.spi.observing import (
    Observer as Observer,
)
from chaos.spi.observing import (
    ObservesGroups as ObservesGroups,
)
from chaos.spi.observing import (
    Paced as Paced,
)
from chaos.spi.observing import (
    View as View,
)
from chaos.spi.verdict import (
    ANOMALY_LIMIT as ANOMALY_LIMIT,
)
from chaos.spi.verdict import (
    Anomaly as Anomaly,
)
from chaos.spi.verdict import (
    Batch as Batch,
)
from chaos.spi.verdict import (
    Column as Column,
)
from chaos.spi.verdict import (
    Facts as Facts,
)
from chaos.spi.verdict import (
    FaultSpan as FaultSpan,
)
from chaos.spi.verdict import (
    Figure as Figure,
)
from chaos.spi.verdict import (
    Finding as Finding,
)
from chaos.spi.verdict import (
    Sighting as Sighting,
)
from chaos.spi.verdict import (
    Stage as Stage,
)
from chaos.spi.verdict import (
    Verdict as Verdict,
)
from chaos.spi.verdict import (
    Verifier as Verifier,
)
from chaos.spi.words import (
    CLIENTS as CLIENTS,
)
from chaos.spi.words import (
    ClientTarget as ClientTarget,
)
from chaos.spi.words import (
    ConsumerTarget as ConsumerTarget,
)
from chaos.spi.words import (
    Handling as Handling,
)
from chaos.spi.words import (
    Json as Json,
)
from chaos.spi.words import (
    Kind as Kind,
)
from chaos.spi.words import (
    ProducerTarget as ProducerTarget,
)
from chaos.spi.words import (
    Settings as Settings,
)
from chaos.spi.words import (
    Target as Target,
)
from chaos.spi.words import (
    TargetMark as TargetMark,
)
from chaos.units import Duration as Duration
from chaos.units import Rate as Rate
from chaos.units import Size as Size
