"""The demo's parts: people whose leads are what they say, buyers whom the sample's rules understand, sums that bite."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from router.buyers.classify import classify
from router.core.intake import BodyError, LeadInvalid, build_lead, compile_schema, parse_form, parse_json
from router.demo.farm import Received
from router.demo.people import Crowd, Kind, Person, places
from router.demo.sample import sample_config
from router.demo.stage import CAST, Stage, set_stage
from router.demo.tally import Fate, Tally, discrepancies
from router.demo.voices import VOICES, Said
from router.model.delivery import HttpResponse
from router.model.lead import Lead
from router.terms.book import Book
from router.terms.check import check
from router.terms.compile import compile_book
from router.terms.load import load
from router.terms.problems import errors
from router.terms.secrets import Secrets

NOW_NS = 1_795_500_000 * 10**9
FARM = "http://127.0.0.1:9900"


@pytest.fixture(scope="module")
def book() -> Book:
    """The sample, compiled."""
    loaded = load(sample_config())
    assert loaded.terms is not None
    return compile_book(loaded.terms)


@pytest.fixture(scope="module")
def crowd(book: Book) -> Crowd:
    """Everybody who might come."""
    return Crowd(book, places())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage set for a farm."""
    return set_stage(tmp_path_factory.mktemp("stage"), FARM)


def taken(book: Book, person: Person) -> Lead:
    """What intake makes of a person's request. Raises LeadInvalid or BodyError."""
    parsed = parse_form(person.body) if "form" in person.content_type else parse_json(person.body)
    schemas = {name: compile_schema(terms, country="US") for name, terms in book.lead_types.items()}
    return build_lead(parsed, schemas, book.sources[person.source_id], lead_id="L", received_at_ns=NOW_NS)


# -- people ----------------------------------------------------------------------------------------


def test_the_same_people_come_every_time(book: Book, crowd: Crowd) -> None:
    """No chance: another crowd over the same terms sends the same bytes."""
    again = Crowd(book, places())
    assert [crowd.person(n, NOW_NS) for n in range(60)] == [again.person(n, NOW_NS) for n in range(60)]


def test_good_people_are_leads_and_bad_ones_are_not(book: Book, crowd: Crowd) -> None:
    """Every kind is what it says: good ones pass intake, masked and short codes and missing fields do not."""
    spoiled: set[Kind] = {"masked_code", "short_code", "missing_field"}
    kinds = Counter()
    for number in range(300):
        person = crowd.person(number, NOW_NS)
        kinds[person.kind] += 1
        if person.kind in spoiled:
            with pytest.raises((LeadInvalid, BodyError)):
                taken(book, person)
        else:
            lead = taken(book, person)
            assert (lead.consent is None) == (person.kind == "no_consent")
    assert kinds["good"] > 180
    assert set(kinds) == {"good", "no_consent", "out_of_coverage", "again", *spoiled}


def test_who_comes_again_is_the_same_person(book: Book, crowd: Crowd) -> None:
    """A repeat has the phone of an earlier lead and an external id and key of its own."""
    people = [crowd.person(number, NOW_NS) for number in range(100)]
    again = next(person for person in people if person.kind == "again")
    first = next(person for person in people if person.number == again.number - 7)
    assert taken(book, again).fields["phone"] == taken(book, first).fields["phone"]
    assert taken(book, again).external_id != taken(book, first).external_id
    assert again.key != first.key


def test_everybody_else_has_a_phone_of_their_own(book: Book, crowd: Crowd) -> None:
    """Among 300 leads nobody is taken for somebody else by accident."""
    good = [taken(book, person) for person in (crowd.person(n, NOW_NS) for n in range(300)) if person.kind == "good"]
    phones = Counter(str(lead.fields["phone"]) for lead in good)
    assert [n for n in phones.values() if n > 1] == []


def test_every_live_contract_has_people(book: Book, crowd: Crowd) -> None:
    """The crowd lives where the sample's contracts buy: each is covered by some of the first 300."""
    leads = [taken(book, person) for person in (crowd.person(n, NOW_NS) for n in range(300)) if person.kind == "good"]
    for plan in book.contracts.values():
        covered = [
            lead for lead in leads if lead.lead_type == plan.lead_type and plan.coverage.allows(str(lead.postal_code))
        ]
        assert covered, plan.id


# -- buyers ----------------------------------------------------------------------------------------


def test_every_endpoint_of_the_sample_has_its_part(book: Book) -> None:
    """The cast names exactly the endpoints there are, with voices there are."""
    assert set(CAST) == {f"{buyer.id}/{name}" for buyer in book.buyers.values() for name in buyer.endpoints}
    assert {voice for _, voice in CAST.values()} <= set(VOICES)


@pytest.mark.parametrize("said", ["accepted", "rejected", "duplicate"])
@pytest.mark.parametrize("part", CAST)
def test_every_buyer_is_understood(book: Book, part: str, said: Said) -> None:
    """What a buyer says in its voice is read as just that by the sample's rules (a duplicate may be a no)."""
    buyer, _, name = part.partition("/")
    plan = next(plan for plan in book.contracts.values() if (plan.buyer_id, plan.endpoint.name) == (buyer, name))
    spoken = VOICES[CAST[part][1]](said, "score too low")
    headers = (("Content-Type", spoken.content_type), *spoken.headers)
    answer = HttpResponse(status=spoken.status, headers=headers, body=spoken.body)
    outcome = classify(plan.endpoint, answer, after_doubt=False).outcome
    assert outcome in ({said} if said != "duplicate" else {"duplicate", "rejected"})


def test_the_stage_is_the_sample_pointed_at_the_farm(book: Book, stage: Stage) -> None:
    """Terms stay; every address is the farm's, every secret can be read, tokens are those that were made."""
    loaded = load(stage.config_dir)
    assert loaded.terms is not None
    assert not errors(loaded.problems + check(loaded.terms))
    assert not Secrets(stage.config_dir).missing(loaded.terms, strict=True)
    played = compile_book(loaded.terms)
    assert played.contracts.keys() == book.contracts.keys()
    assert all(plan.endpoint.url.startswith(FARM) for plan in played.contracts.values())
    assert [plan.terms for plan in played.contracts.values()] == [plan.terms for plan in book.contracts.values()]
    assert stage.source_tokens.keys() == book.sources.keys()
    assert set(stage.cast) == set(book.buyers)


# -- sums ------------------------------------------------------------------------------------------


def fate(status: str, copies: int = 0) -> Fate:
    """A lead that was taken."""
    answer = {"lead_id": f"L{status}", "status": status, "copies": copies, "reason": None}
    return Fate(kind="good", http=201, answer=answer, took_s=0.1)


def received(delivery_id: str, said: Said = "accepted", *, told: bool = True) -> Received:
    """A request as a buyer remembers it."""
    return Received(
        path="/", name="b", temper="accept", delivery_id=delivery_id, postal_code="", said=said, status=200, told=told
    )


def tally(*fates: Fate, sent: int | None = None) -> Tally:
    """A count of these leads."""
    found = Tally()
    for number, one in enumerate(fates):
        found.note(number, one)
    found.sent = len(fates) if sent is None else sent
    return found


REFUSED = Fate(kind="masked_code", http=422, answer={"status": 422, "errors": [{"field": "f", "code": "c"}]}, took_s=0)


def test_counts() -> None:
    """Statuses, refusals and copies are counted by lead; a later look replaces the earlier."""
    found = tally(fate("sold", 1), fate("routing"), REFUSED)
    found.note(1, fate("sold", 2))
    assert found.statuses() == {"sold": 2, "refused": 1}
    assert found.refused_by() == {"f: c": 1}
    assert found.copies() == 3


def test_what_adds_up_is_fine() -> None:
    """One sold and told, one whose answer was lost and is in doubt, one refused."""
    outcomes = {"d1": "accepted", "d2": "in_doubt"}
    found = tally(fate("sold", 1), fate("in_doubt"), REFUSED)
    assert discrepancies(found, [received("d1"), received("d2", told=False)], outcomes) == []


@pytest.mark.parametrize(
    ("found", "requests", "outcomes", "words"),
    [
        (tally(fate("sold", 0), sent=2), [], {}, "2 leads were sent, 1 have a status"),
        (tally(fate("routing")), [], {}, "still routing"),
        (tally(fate("sold", 2)), [received("d")], {"d": "accepted"}, "2 sold copies, the deliveries of 1"),
        (tally(fate("sold", 1)), [received("d", "rejected")], {"d": "accepted"}, "no buyer said so"),
        (tally(fate("unsold")), [received("d")], {"d": "rejected"}, "not booked so"),
        (tally(fate("unsold")), [received("d", "rejected")], {}, "does not know of them"),
    ],
)
def test_what_does_not_add_up_is_said(
    found: Tally, requests: list[Received], outcomes: Mapping[str, str], words: str
) -> None:
    """A lost lead, one without end, and each way in which buyers and daemon can disagree."""
    assert any(words in line for line in discrepancies(found, requests, outcomes))


def test_the_sample_is_the_top_of_the_checkout() -> None:
    """One path serves a checkout and an installed package."""
    assert (sample_config() / "router.toml").read_bytes() == (Path("config") / "router.toml").read_bytes()
