"""ONVIF events over pull points (ver10/events/wsdl; WS-BaseNotification for renewal and end)."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from xml.sax.saxutils import escape

from msgspec import Struct

from simulators.camera.soap import Request, SoapFault
from simulators.camera.state import CameraState

SUBSCRIPTION_PATH = "/onvif/subscription/"

SLOTS = 6
"""Subscriptions at a time: real cameras have 4 to 8."""

QUEUE_LIMIT = 100
DEFAULT_TERM_S = 60.0
LONGEST_TERM_S = 3600.0
LONGEST_PULL_S = 60.0

_DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_TEV_ACTION = "http://www.onvif.org/ver10/events/wsdl"
_WSNT_ACTION = "http://docs.oasis-open.org/wsn/bw-2"
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


class Topic(StrEnum):
    """What a simulated camera can tell; each is a state that is on or off."""

    MOTION = "tns1:RuleEngine/CellMotionDetector/Motion"
    TAMPER = "tns1:RuleEngine/TamperDetector/Tamper"
    SIGNAL_LOSS = "tns1:VideoSource/SignalLoss"
    DIGITAL_INPUT = "tns1:Device/Trigger/DigitalInput"
    STORAGE_FAILURE = "tns1:Device/HardwareFailure/StorageFailure"


_ITEMS = {
    Topic.MOTION: ((("VideoSourceConfigurationToken", "VideoSourceToken"),), "IsMotion"),
    Topic.TAMPER: ((("VideoSourceConfigurationToken", "VideoSourceToken"),), "IsTamper"),
    Topic.SIGNAL_LOSS: ((("Source", "VideoSource_1"),), "State"),
    Topic.DIGITAL_INPUT: ((("InputToken", "Input_1"),), "LogicalState"),
    Topic.STORAGE_FAILURE: ((("Token", "Disk_1"),), "Failed"),
}
"""The source items of each topic, and the name of its data item."""


class _Subscription:
    def __init__(self, term_s: float) -> None:
        self.messages: deque[str] = deque(maxlen=QUEUE_LIMIT)
        self.arrived = asyncio.Event()
        self.ends_at = 0.0
        self.prolong(term_s)

    def prolong(self, term_s: float) -> None:
        self.ends_at = asyncio.get_running_loop().time() + term_s

    def put(self, message: str) -> None:
        self.messages.append(message)
        self.arrived.set()


class Answer(Struct, frozen=True, kw_only=True):
    body: str
    action: str


class EventService:
    """The pull points of one camera and the present state of every topic."""

    def __init__(self, state: CameraState) -> None:
        self._state = state
        self._present = dict.fromkeys(Topic, False)
        self._subscriptions: dict[str, _Subscription] = {}
        self._made = 0

    @property
    def subscriptions(self) -> int:
        """How many pull points are open."""
        self._forget_ended()
        return len(self._subscriptions)

    def tell(self, topic: Topic, active: bool) -> None:
        """A topic changes: every open pull point gets the message."""
        self._present[topic] = active
        message = self._message(topic, "Changed")
        for subscription in self._subscriptions.values():
            subscription.put(message)

    def forget(self) -> None:
        """As after a power cut: no subscription is known any more."""
        self._subscriptions.clear()

    async def answer(self, request: Request, path: str) -> Answer:
        """Raises SoapFault."""
        self._forget_ended()
        match request.name:
            case "GetEventProperties":
                return self._properties()
            case "CreatePullPointSubscription":
                return self._create(request)
            case "PullMessages":
                return await self._pull(request, path)
            case "Renew":
                return self._renew(request, path)
            case "Unsubscribe":
                self._found(path)
                del self._subscriptions[path.removeprefix(SUBSCRIPTION_PATH)]
                return Answer(
                    body="<wsnt:UnsubscribeResponse/>",
                    action=f"{_WSNT_ACTION}/SubscriptionManager/UnsubscribeResponse",
                )
            case "SetSynchronizationPoint":
                subscription = self._found(path)
                for topic in Topic:
                    subscription.put(self._message(topic, "Initialized"))
                return Answer(
                    body="<tev:SetSynchronizationPointResponse/>",
                    action=f"{_TEV_ACTION}/PullPointSubscription/SetSynchronizationPointResponse",
                )
        raise SoapFault("ter:ActionNotSupported", "Not supported", code="Receiver", http=500)

    def _properties(self) -> Answer:
        tree: dict[str, dict[str, set[str]]] = {}
        for topic in Topic:
            root, group, leaf = f"{topic}/".split("/")[:3]
            tree.setdefault(root, {}).setdefault(group, set()).add(leaf)
        inside = ""
        for root, groups in tree.items():
            inside += f"<{root}>"
            for group, leaves in groups.items():
                if leaves == {""}:
                    inside += f'<{group} wstop:topic="true"/>'
                    continue
                topics = "".join(f'<{leaf} wstop:topic="true"/>' for leaf in sorted(leaves))
                inside += f"<{group}>{topics}</{group}>"
            inside += f"</{root}>"
        return Answer(
            body="<tev:GetEventPropertiesResponse>"
            "<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml"
            "</tev:TopicNamespaceLocation><wsnt:FixedTopicSet>true</wsnt:FixedTopicSet>"
            f"<wstop:TopicSet>{inside}</wstop:TopicSet>"
            f"<wsnt:TopicExpressionDialect>{_DIALECT}</wsnt:TopicExpressionDialect>"
            "<tev:MessageContentFilterDialect>http://www.onvif.org/ver10/tev/"
            "messageContentFilter/ItemFilter</tev:MessageContentFilterDialect>"
            "<tev:MessageContentSchemaLocation>http://www.onvif.org/onvif/ver10/schema/onvif.xsd"
            "</tev:MessageContentSchemaLocation></tev:GetEventPropertiesResponse>",
            action=f"{_TEV_ACTION}/EventPortType/GetEventPropertiesResponse",
        )

    def _create(self, request: Request) -> Answer:
        if len(self._subscriptions) >= SLOTS:
            raise SoapFault(
                "ter:InvalidArgVal/ter:MaxSubscriptions", "No slot is free", code="Receiver"
            )
        term_s = self._term_s(request.text("tev:InitialTerminationTime"))
        self._made += 1
        subscription = _Subscription(term_s)
        self._subscriptions[str(self._made)] = subscription
        for topic in Topic:
            subscription.put(self._message(topic, "Initialized"))
        address = f"http://{self._state.onvif_address}{SUBSCRIPTION_PATH}{self._made}"
        return Answer(
            body="<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
            f"<wsa5:Address>{address}</wsa5:Address></tev:SubscriptionReference>"
            f"{self._times('wsnt', term_s)}</tev:CreatePullPointSubscriptionResponse>",
            action=f"{_TEV_ACTION}/EventPortType/CreatePullPointSubscriptionResponse",
        )

    async def _pull(self, request: Request, path: str) -> Answer:
        subscription = self._found(path)
        limit = request.text("tev:MessageLimit", "1")
        if not limit.isdigit() or int(limit) < 1:
            raise SoapFault("ter:InvalidArgVal", "MessageLimit")
        patience_s = min(_duration_s(request.text("tev:Timeout", "PT1S")), LONGEST_PULL_S)
        try:
            async with asyncio.timeout(patience_s):
                while not subscription.messages:
                    subscription.arrived.clear()
                    await subscription.arrived.wait()
        except TimeoutError:
            pass  # an empty answer is the normal end of a quiet pull
        count = min(int(limit), len(subscription.messages))
        messages = "".join(subscription.messages.popleft() for _ in range(count))
        loop = asyncio.get_running_loop()
        return Answer(
            body="<tev:PullMessagesResponse>"
            f"{self._times('tev', subscription.ends_at - loop.time())}{messages}"
            "</tev:PullMessagesResponse>",
            action=f"{_TEV_ACTION}/PullPointSubscription/PullMessagesResponse",
        )

    def _renew(self, request: Request, path: str) -> Answer:
        subscription = self._found(path)
        term_s = self._term_s(request.text("wsnt:TerminationTime"))
        subscription.prolong(term_s)
        now = self._state.now()
        return Answer(
            body="<wsnt:RenewResponse><wsnt:TerminationTime>"
            f"{_utc(now + timedelta(seconds=term_s))}</wsnt:TerminationTime>"
            f"<wsnt:CurrentTime>{_utc(now)}</wsnt:CurrentTime></wsnt:RenewResponse>",
            action=f"{_WSNT_ACTION}/SubscriptionManager/RenewResponse",
        )

    def _found(self, path: str) -> _Subscription:
        subscription = self._subscriptions.get(path.removeprefix(SUBSCRIPTION_PATH))
        if subscription is None:
            raise SoapFault("wsnt:ResourceUnknownFault", "There is no such subscription")
        return subscription

    def _forget_ended(self) -> None:
        now = asyncio.get_running_loop().time()
        self._subscriptions = {
            name: one for name, one in self._subscriptions.items() if one.ends_at > now
        }

    def _term_s(self, asked: str) -> float:
        """Seconds from now: what was asked as a duration or as a moment of the camera's clock."""
        if not asked:
            return DEFAULT_TERM_S
        if asked.startswith("P"):
            term_s = _duration_s(asked)
        else:
            try:
                moment = datetime.fromisoformat(asked)
            except ValueError:
                raise SoapFault("ter:InvalidArgVal", "TerminationTime") from None
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            term_s = (moment - self._state.now()).total_seconds()
        if term_s <= 0:
            raise SoapFault("wsnt:UnacceptableTerminationTimeFault", "In the past")
        return min(term_s, LONGEST_TERM_S)

    def _times(self, prefix: str, term_s: float) -> str:
        now = self._state.now()
        return (
            f"<{prefix}:CurrentTime>{_utc(now)}</{prefix}:CurrentTime>"
            f"<{prefix}:TerminationTime>{_utc(now + timedelta(seconds=term_s))}"
            f"</{prefix}:TerminationTime>"
        )

    def _message(self, topic: Topic, operation: str) -> str:
        sources, data = _ITEMS[topic]
        items = "".join(
            f'<tt:SimpleItem Name="{name}" Value="{escape(value)}"/>' for name, value in sources
        )
        value = "true" if self._present[topic] else "false"
        return (
            "<wsnt:NotificationMessage>"
            f'<wsnt:Topic Dialect="{_DIALECT}">{topic}</wsnt:Topic><wsnt:Message>'
            f'<tt:Message UtcTime="{_utc(self._state.now())}" PropertyOperation="{operation}">'
            f"<tt:Source>{items}</tt:Source>"
            f'<tt:Data><tt:SimpleItem Name="{data}" Value="{value}"/></tt:Data>'
            "</tt:Message></wsnt:Message></wsnt:NotificationMessage>"
        )


def _duration_s(text: str) -> float:
    """Seconds of an XML Schema duration without years and months. Raises SoapFault."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SoapFault("ter:InvalidArgVal", "not a duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
