"""The numbers of RocketMQ 5.3.3 for what is asked for and how it went (classes RequestCode and
ResponseCode)."""

from __future__ import annotations

from chaos.spi import Outcome

PULL_MESSAGE = 11
QUERY_CONSUMER_OFFSET = 14
UPDATE_CONSUMER_OFFSET = 15
UPDATE_AND_CREATE_TOPIC = 17
GET_ALL_TOPIC_CONFIG = 21
UPDATE_BROKER_CONFIG = 25
GET_BROKER_CONFIG = 26
GET_BROKER_RUNTIME_INFO = 28
GET_MAX_OFFSET = 30
GET_MIN_OFFSET = 31
HEART_BEAT = 34
UNREGISTER_CLIENT = 35
CONSUMER_SEND_MSG_BACK = 36
END_TRANSACTION = 37
GET_CONSUMER_LIST_BY_GROUP = 38
CHECK_TRANSACTION_STATE = 39
NOTIFY_CONSUMER_IDS_CHANGED = 40
GET_ALL_DELAY_OFFSET = 45
GET_ROUTEINFO_BY_TOPIC = 105
GET_BROKER_CLUSTER_INFO = 106
GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201
DELETE_SUBSCRIPTIONGROUP = 207
DELETE_TOPIC_IN_BROKER = 215
DELETE_TOPIC_IN_NAMESRV = 216
SEND_MESSAGE_V2 = 310
GET_NAMESRV_CONFIG = 319
GET_TOPIC_CONFIG = 351
GET_BROKER_HA_STATUS = 907
CONTROLLER_GET_METADATA_INFO = 1005
CONTROLLER_GET_SYNC_STATE_DATA = 1006
GET_BROKER_EPOCH_CACHE = 1007
GET_CONTROLLER_CONFIG = 1010

SUCCESS = 0
SYSTEM_ERROR = 1
SYSTEM_BUSY = 2
FLUSH_DISK_TIMEOUT = 10
SLAVE_NOT_AVAILABLE = 11
FLUSH_SLAVE_TIMEOUT = 12
MESSAGE_ILLEGAL = 13
SERVICE_NOT_AVAILABLE = 14
NO_PERMISSION = 16
TOPIC_NOT_EXIST = 17
PULL_NOT_FOUND = 19
PULL_RETRY_IMMEDIATELY = 20
PULL_OFFSET_MOVED = 21
QUERY_NOT_FOUND = 22
SUBSCRIPTION_GROUP_NOT_EXIST = 26

NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, int) and value < 30 and name not in (
        "PULL_MESSAGE", "QUERY_CONSUMER_OFFSET", "UPDATE_CONSUMER_OFFSET",
        "UPDATE_AND_CREATE_TOPIC", "GET_ALL_TOPIC_CONFIG", "UPDATE_BROKER_CONFIG",
        "GET_BROKER_CONFIG",
    )
}  # fmt: skip
"""How it went -> as RocketMQ calls it."""

WEAK = frozenset({FLUSH_DISK_TIMEOUT, SLAVE_NOT_AVAILABLE, FLUSH_SLAVE_TIMEOUT})
"""Stored by the master, but not flushed or copied as it should have been (class SendStatus)."""

_REFUSED = frozenset({
    SYSTEM_BUSY, MESSAGE_ILLEGAL, SERVICE_NOT_AVAILABLE, NO_PERMISSION, TOPIC_NOT_EXIST,
})  # fmt: skip
"""The broker tells these before it stores anything (class SendMessageProcessor)."""
_REFUSED_REMARKS = ("in-sync replicas not enough", "create mapped file failed")
"""The system errors of which the same holds; of others, such as UNKNOWN_ERROR, it does not."""


def outcome(code: int, remark: str) -> Outcome:
    """What is known of a send that was answered so."""
    if code == SUCCESS:
        return Outcome.OK
    if code in WEAK:
        return Outcome.WEAK
    surely_not = code in _REFUSED or (code == SYSTEM_ERROR and remark.startswith(_REFUSED_REMARKS))
    return Outcome.REFUSED if surely_not else Outcome.INDETERMINATE
