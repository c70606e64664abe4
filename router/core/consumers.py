"""What dedup remembers: which leads are of one consumer, and to whom each was sent.

A consumer is told by key sets: the fields that some dedup compares together, such as phone alone, or name and postal
code. A lead has one digest, its mark, for each key set of which it has all fields, and two leads are of one consumer
where they share one. What is asked of the past is one look-up, by mark and by whose deliveries count, and what cannot
count is not listed: neither a postal code that many share nor an e-mail address that thousands of leads bring
(`none@example.com`) makes a decision slower.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final, get_args

from msgspec import Struct, field

from router.model.codes import Outcome
from router.model.lead import Lead, Value
from router.terms.schema import Scope

#: Field names of which all must be the same.
Key = tuple[str, ...]
#: The mark of each key set of which a lead has all fields.
Marks = dict[Key, bytes]
_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

#: More are forgotten with each new lead than come, so that they do not pile up.
_FORGOTTEN_AT_ONCE: Final = 2


class Identity(Struct, frozen=True):
    """What dedup needs remembered: the key sets, for how long (nanoseconds), and by which fold.

    `scopes` are those that somebody asks in; `declined`: somebody counts deliveries that were declined, too. A snapshot
    of another identity is folded anew. One that does not say its fold is of a first, older one.
    """

    keys: tuple[Key, ...] = ()
    keep_ns: int = 0
    fold: int = 1
    scopes: tuple[Scope, ...] = ()
    declined: bool = False


class Sent(Struct):
    """One delivery of a lead as dedup sees it. `steady_ns`: the same instant on the clock that never steps."""

    contract_id: str
    buyer_id: str
    at_ns: int
    outcome: Outcome | None = None  # None while in flight
    steady_ns: int = 0


class Seen(Struct):
    """One lead as dedup sees it. `steady_ns` is `at_ns` on the clock that never steps."""

    lead_type: str
    at_ns: int
    marks: tuple[bytes, ...]
    duplicate: bool = False
    sold: bool = False
    steady_ns: int = 0
    sent: dict[str, Sent] = field(default_factory=dict)  # by delivery id


class Consumers(Struct):
    """The leads that some dedup window may reach, by id and by mark. Lists are of lead ids, in the order they joined.

    `taken` holds those that intake may find, by lead type and mark: all but duplicates. `served` holds, by mark and
    owner, those of which a delivery to that owner counts: in flight, in doubt, accepted, and declined ones where
    somebody counts these.
    """

    seen: dict[str, Seen] = field(default_factory=dict)  # oldest first
    taken: dict[str, dict[bytes, list[str]]] = field(default_factory=dict)
    served: dict[bytes, list[str]] = field(default_factory=dict)

    # -- remembering -----------------------------------------------------------------------------

    def remember(self, identity: Identity, lead: Lead, *, duplicate: bool, at_ns: int, steady_ns: int) -> None:
        """A lead was taken."""
        marks = tuple(marks_of(lead, identity.keys).values())
        self.seen[lead.lead_id] = Seen(lead.lead_type, at_ns, marks, duplicate=duplicate, steady_ns=steady_ns)
        if marks and not duplicate:
            taken = self.taken.setdefault(lead.lead_type, {})
            for mark in marks:
                taken.setdefault(mark, []).append(lead.lead_id)
        self._forget_old(steady_ns - identity.keep_ns)

    def send(self, identity: Identity, lead_id: str, delivery_id: str, sent: Sent) -> None:
        """A delivery of a lead is to go to somebody."""
        seen = self.seen.get(lead_id)
        if seen is None:
            return
        for scope in identity.scopes:
            if not seen.sent or not _counts(identity, seen, scope, sent):
                owner = _owner_of(scope, seen, sent)
                for mark in seen.marks:
                    self.served.setdefault(mark + owner, []).append(lead_id)
        seen.sent[delivery_id] = sent

    def settle(self, identity: Identity, lead_id: str, delivery_id: str, outcome: Outcome) -> None:
        """An outcome of a delivery is known."""
        seen = self.seen.get(lead_id)
        sent = seen.sent.get(delivery_id) if seen is not None else None
        if seen is None or sent is None:
            return
        sent.outcome = outcome
        seen.sold = seen.sold or outcome == "accepted"
        for scope in identity.scopes:
            if not _counts(identity, seen, scope, sent):
                self._leave(seen, scope, sent, lead_id)

    def forget(self, lead_id: str) -> None:
        """Take a lead out (its time is over, or its person is erased)."""
        seen = self.seen.pop(lead_id, None)
        if seen is None:
            return
        if not seen.duplicate:
            taken = self.taken.get(seen.lead_type, {})
            for mark in seen.marks:
                _take_out(taken, mark, lead_id)
        for sent in seen.sent.values():
            for scope in _SCOPES:  # it may have been listed in any
                self._leave(seen, scope, sent, lead_id)

    def _leave(self, seen: Seen, scope: Scope, sent: Sent, lead_id: str) -> None:
        owner = _owner_of(scope, seen, sent)
        for mark in seen.marks:
            _take_out(self.served, mark + owner, lead_id)

    def _forget_old(self, before_ns: int) -> None:
        """What is past its time goes, a little with each lead.

        A process that starts with a wrong clock would otherwise forget everybody at once.
        """
        for _ in range(_FORGOTTEN_AT_ONCE):
            if self.seen[oldest := next(iter(self.seen))].steady_ns >= before_ns:
                break
            self.forget(oldest)

    # -- asking ----------------------------------------------------------------------------------

    def latest(self, lead: Lead, keys: Iterable[Key], marks: Marks, *, sold: bool) -> Iterator[tuple[str, Seen]]:
        """Other leads of its type and consumer that were no duplicates, by key set, the last one first.

        With `sold` those that may have been sold.
        """
        listed, owner = (self.served, _named("lead_type", lead.lead_type)) if sold else (self._taken(lead), b"")
        for lead_id, seen in self._others(listed, lead, keys, marks, owner):
            if not seen.duplicate:
                yield lead_id, seen

    def sent(self, lead: Lead, keys: Iterable[Key], marks: Marks, scope: Scope, whose: str) -> Iterator[Sent]:
        """What may count of the deliveries to somebody of other leads of its consumer, by key set, the last first."""
        owner = _named(scope, whose)
        for _, seen in self._others(self.served, lead, keys, marks, owner):
            for sent in reversed(seen.sent.values()):
                if _owner_of(scope, seen, sent) == owner:
                    yield sent

    def _taken(self, lead: Lead) -> Mapping[bytes, list[str]]:
        return self.taken.get(lead.lead_type, {})

    def _others(
        self, listed: Mapping[bytes, list[str]], lead: Lead, keys: Iterable[Key], marks: Marks, owner: bytes
    ) -> Iterator[tuple[str, Seen]]:
        for key in keys:
            mark = marks.get(key)
            for lead_id in reversed(listed.get(mark + owner, ())) if mark is not None else ():
                if lead_id != lead.lead_id:
                    yield lead_id, self.seen[lead_id]


def _counts(identity: Identity, seen: Seen, scope: Scope, like: Sent) -> bool:
    """Whether any dedup counts what was sent of a lead to the owner that a delivery went to."""
    owner = _owner_of(scope, seen, like)
    for sent in seen.sent.values():
        if (
            sent.outcome in (None, "accepted", "in_doubt") or (identity.declined and sent.outcome != "failed")
        ) and _owner_of(scope, seen, sent) == owner:
            return True
    return False


def _owner_of(scope: Scope, seen: Seen, sent: Sent) -> bytes:
    if scope == "lead_type":
        return _named(scope, seen.lead_type)
    return _named(scope, sent.contract_id if scope == "contract" else sent.buyer_id)


def _named(scope: Scope, whose: str) -> bytes:
    return f"{scope}:{whose}".encode()


def _take_out(listed: dict[bytes, list[str]], where: bytes, lead_id: str) -> None:
    others = listed.get(where)
    if others is not None and lead_id in others:
        others.remove(lead_id)
        if not others:
            del listed[where]


def marks_of(lead: Lead, keys: Iterable[Key]) -> Marks:
    """The lead's mark for each key set of which it has all fields."""
    fields = lead.fields
    found: Marks = {}
    for key in keys:
        values = [fields.get(name) for name in key]
        if None not in values:
            found[key] = mark_of(key, values)
    return found


def mark_of(key: Key, values: Iterable[Value | None]) -> bytes:
    """The digest of the values of a key set. E-mail is compared in lower case, phones as E.164."""
    texts = (value.casefold() if isinstance(value, str) else repr(value) for value in values)
    return blake2b("\0".join((*key, *texts)).encode(), digest_size=16).digest()
