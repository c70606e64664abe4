"""The farm without a network: what the transport makes of each act, for simulations in virtual time.

`test_as_the_transport_says` holds it to the real farm behind the real transport.
"""

from collections.abc import Mapping
from typing import Final

from router.demo import manners
from router.demo.courses import Course
from router.demo.farm import Received
from router.demo.memory import Memory
from router.demo.reading import fields_of, postal_code_of, presented
from router.demo.tempers import TEMPERS, Act, Request
from router.demo.voices import VOICES
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_MS, NS_S
from router.transport.client import BODY_MAX
from tests.simulation.clockwork import VirtualLoop

Answer = HttpResponse | TransportFailure
_HEAD_BYTES: Final = 100  # of an answer, about


def answer_of(act: Act, timeout_s: float) -> tuple[float, Answer]:
    """How long an act takes, and what the transport says of it."""
    seconds, answer = _unbounded(act)
    if seconds >= timeout_s:
        return timeout_s, TransportFailure(kind="read_timeout", detail="no whole answer in time")
    return seconds, answer


def _unbounded(act: Act) -> tuple[float, Answer]:
    match act.manner:
        case "answer" | "twice":
            return act.pause_s, _response(act)
        case "drip":
            return len(act.body) * manners.DRIP_S, _response(act)
        case "drip_head":
            return (len(act.body) + _HEAD_BYTES) * manners.DRIP_S, _response(act)
        case "endless":
            return 0.01, _response(act, endless=True)
        case "hang":
            return manners.HANG_S, TransportFailure(kind="connection_lost", detail="the farm has had enough")
        case "reset_before" | "reset_after" | "half":
            return 0.01, TransportFailure(kind="connection_lost", detail="the connection was lost")
        case "endless_head" | "continues" | "raw":
            return 0.01, TransportFailure(kind="bad_answer", detail="the answer is not HTTP")


def _response(act: Act, *, endless: bool = False) -> HttpResponse:
    return HttpResponse(
        status=act.status,
        headers=(*act.headers, ("Content-Type", act.content_type)),
        body=act.body[:BODY_MAX],
        truncated=endless or len(act.body) > BODY_MAX,
    )


class VirtualFarm:
    """Plays all buyers of a `RouterWorld`: each lane is one, with a course of tempers and a memory."""

    def __init__(self, courses_of: Mapping[str, Course] | None = None) -> None:
        """`courses_of`: a buyer's id to its course; without one, `meet` says the temper each time."""
        self.received: list[Received] = []
        self._courses = courses_of or {}
        self._memories: dict[str, Memory] = {}
        self.loop: VirtualLoop

    def script(self, lane: str, request: HttpRequest, _number: int) -> tuple[float, Answer]:
        """As `RouterWorld` asks for it."""
        return self._meet(lane, self._courses[lane], request)

    def meet(self, lane: str, temper: str, request: HttpRequest) -> tuple[float, Answer]:
        """A request that meets a buyer in this temper."""
        return self._meet(lane, Course(temper=temper), request)

    def _meet(self, lane: str, course: Course, request: HttpRequest) -> tuple[float, Answer]:
        memory = self._memories.setdefault(lane, Memory())
        now_ns = round(self.loop.time() * NS_S)
        turn = memory.next_turn(course, now_ns)
        delivery_id = dict(request.headers)["Idempotency-Key"]
        postal_code = postal_code_of(fields_of("json", [], request.body))
        temper = memory.temper(course, postal_code=postal_code, turn=turn, now_ns=now_ns)
        asked = Request(
            postal_code=postal_code,
            voice=VOICES["json"],
            turn=turn,
            seen=memory.met(delivery_id),
            echo=presented([pair for pair in request.headers if pair[0] == "Authorization"], ""),
        )
        act = TEMPERS[temper][1](asked)
        seconds, answer = answer_of(act, request.timeout_ns / NS_S)
        self.received.append(
            Received(
                path=f"/buyer/{temper}/{lane}",
                name=lane,
                temper=temper,
                delivery_id=delivery_id,
                postal_code=postal_code,
                said=act.said,
                status=act.status if isinstance(answer, HttpResponse) else None,
                told=isinstance(answer, HttpResponse),
                read=act.manner != "reset_before",
                at_ms=now_ns // NS_MS,
            )
        )
        return seconds, answer

    def named(self, lane: str) -> list[Received]:
        """What came to one buyer."""
        return [one for one in self.received if one.name == lane]
