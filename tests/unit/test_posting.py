"""Posting specifications: what they show is what intake takes and what render sends, without a secret near them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from lxml import html as lxml_html

from router.cli import main
from router.cli.exits import CONFIG, DONE, USAGE
from router.core.intake import build_lead, compile_schema, parse_form, parse_json
from router.model.lead import Lead
from router.onboarding.posting import Document, buyer_document, html, markdown, source_document
from router.onboarding.posting.document import Bullets, Heading, Sample, Table, Text
from router.terms.load import load
from router.terms.schema import Terms
from router.web.problems import PROBLEMS
from tests import factory

ROOT = Path(__file__).parents[2]
NOW_NS = 1_795_453_200_000_000_000


def terms_of(folder: Path) -> Terms:
    """A configuration that can be read."""
    loaded = load(folder)
    assert loaded.terms is not None
    return loaded.terms


SAMPLE = terms_of(ROOT / "config")
EVERY_WORD = terms_of(ROOT / "tests/cases/config/good/every_word")
SOURCES = [(terms, source) for terms in (SAMPLE, EVERY_WORD) for source in terms.sources.values()]
BUYERS = [(terms, buyer) for terms in (SAMPLE, EVERY_WORD) for buyer in terms.buyers.values()]


def samples(document: Document, language: str) -> list[str]:
    """The samples of a document in one language."""
    return [block.text for block in document.blocks if isinstance(block, Sample) and block.language == language]


def taken(kind: str, data: str, source: Any, terms: Terms) -> Lead:
    """What intake makes of a body."""
    schemas = {one.id: compile_schema(one, country=terms.router.defaults.country) for one in terms.lead_types.values()}
    body = parse_json(data.encode()) if kind == "application/json" else parse_form(data.encode())
    return build_lead(body, schemas, source, lead_id="lead-1", received_at_ns=NOW_NS)


@pytest.mark.parametrize(("terms", "source"), SOURCES, ids=lambda one: getattr(one, "id", ""))
def test_the_examples_of_a_source_are_leads(terms: Terms, source: Any) -> None:
    """Every `curl` of the document is taken by intake, and JSON and form say the same lead."""
    document = source_document(source, terms, url="https://x.example", problems=PROBLEMS)
    leads = []
    for line in samples(document, "sh"):
        words = shlex.split(line.replace("\\\n", " "))
        kind = next(word.removeprefix("Content-Type: ") for word in words if word.startswith("Content-Type: "))
        leads.append(taken(kind, words[words.index("-d") + 1], source, terms))
        assert ("Idempotency-Key: your-id-1" in words) == (source.idempotency == "required")
    assert len(leads) == 2 * len(source.lead_types)
    assert leads[::2] == leads[1::2]


@pytest.mark.parametrize(("terms", "source"), SOURCES, ids=lambda one: getattr(one, "id", ""))
def test_a_source_learns_every_field_and_no_buyer(terms: Terms, source: Any) -> None:
    """Fields with their type, the source's own names, limits and errors; ids and names of buyers nowhere."""
    text = markdown(source_document(source, terms, url="https://x.example", problems=PROBLEMS))
    for name in source.lead_types:
        for field in terms.lead_types[name].fields:
            assert f"`{field}`" in text
    for incoming in source.map:
        if source.map[incoming] in {field for name in source.lead_types for field in terms.lead_types[name].fields}:
            assert f"`{incoming}`" in text
    for buyer in terms.buyers.values():
        assert buyer.id not in text
        assert all(contract.id not in text for contract in buyer.contracts)
    assert "| 422 | `lead_invalid` |" in text


def test_a_source_learns_what_buyers_ask_for() -> None:
    """A field that the lead type does not need and who buys needs is said so, with how many need it."""
    text = markdown(source_document(SAMPLE.sources["acme-web"], SAMPLE, url="u", problems=PROBLEMS))
    assert re.search(r"\| `credit_score` \| integer \| no, but 1 of 6 who buy ask for it \| 300 to 850 \|", text)
    assert "1 of 6 for `solar`: given at most 7d before" in text


# -- buyers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terms", "buyer"), BUYERS, ids=lambda one: getattr(one, "id", ""))
def test_a_buyer_learns_what_it_will_get(terms: Terms, buyer: Any) -> None:
    """Each live contract, each endpoint with a sample request of its own fields, every response rule; no secret."""
    document = buyer_document(buyer, terms)
    text = markdown(document)
    for contract in buyer.contracts:
        assert (f"`{contract.id}`" in text) == (contract.status != "closed")
    for name in {contract.endpoint for contract in buyer.contracts}:
        endpoint = buyer.endpoints[name]
        assert f"Requests to `{name}`" in text
        assert endpoint.url in text
        for rule in endpoint.responses:
            assert f"| {rule.outcome} |" in text
    assert samples(document, "http")
    assert "secret:" not in text


def test_the_sample_request_is_a_rendered_one() -> None:
    """Bodies as the format writes them, with ids and headers of a delivery, and auth only in words."""
    text = markdown(buyer_document(SAMPLE.buyers["brightroof"], SAMPLE))
    assert '"FirstName": "Test"' in text
    assert re.search(r'"Phone": "\d{3}55501\d\d"', text)
    assert '"Zip": "73301"' in text
    assert "X-Partner: acme" in text
    assert "`Authorization: Bearer …` with the token you gave us" in text
    assert "Authorization: Bearer s" not in text
    assert "| status 2xx, and path `status` is `accepted` | accepted | reference at `id` |" in text
    assert "10 a day, 10 more every 1d, up to 50; a step is left out while you take less than 80%" in text


def test_a_buyer_learns_when_it_gets_fewer_leads() -> None:
    """Guards stand in the contract's terms in words."""
    guards = [
        {"metric": "acceptance_rate", "over": 20, "min_sample": 20, "trip": 0.5, "recover": 0.65, "action": "pause"},
        {
            "metric": "latency_p95",
            "over": "1h",
            "min_sample": 20,
            "trip": "2s",
            "action": "throttle",
            "throttle_to": 0.25,
        },
    ]
    terms = factory.terms(factory.buyer("b", factory.contract("b-1", sla={"guards": guards})))
    text = markdown(buyer_document(terms.buyers["b"], terms))
    assert "acceptance rate below 50% over the last 20 answers: you get none, and after 10m 3 to try" in text
    assert "latency p95 above 2s over 1h: you get 25% of your leads, and after 10m 3 to try" in text


def test_terms_with_errors_show_no_request() -> None:
    """A contract whose endpoint is not there gives its terms and says why no request is shown."""
    terms = factory.terms(factory.buyer("b", factory.contract("b-1", endpoint="gone")))
    text = markdown(buyer_document(terms.buyers["b"], terms))
    assert "`b-1`" in text
    assert "`lead-router check` says which" in text


# -- forms ---------------------------------------------------------------------------------------

DOCUMENT = Document(
    "A <title> & more",
    (
        Heading(2, "Part `a|b`"),
        Text("Text with `code <x>` & signs"),
        Bullets(("one", "two")),
        Table(("a", "b"), (("x|y", "<b>"),)),
        Sample("```\n<tag>\n", "xml"),
    ),
)


def test_markdown_keeps_tables_and_fences_whole() -> None:
    """A stroke in a cell is escaped, a fence is longer than any in the sample."""
    text = markdown(DOCUMENT)
    assert "| x\\|y | <b> |" in text
    assert "````xml\n```\n<tag>\n````" in text


def test_html_is_a_page_of_its_own() -> None:
    """Everything is escaped, and nothing is fetched."""
    page = html(DOCUMENT)
    tree = lxml_html.fromstring(page)
    assert tree.findtext(".//title") == "A <title> & more"
    assert [one.text for one in tree.iterfind(".//code")] == ["a|b", "code <x>", "```\n<tag>\n"]
    assert tree.findtext(".//td[2]") == "<b>"
    assert not re.search(r"<(?:script|link|img|iframe)|url\(|@import", page)


# -- the command ---------------------------------------------------------------------------------


def test_export_writes_either_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markdown on standard output, HTML by the name of the file, JSON around either."""
    words = ["--config", str(ROOT / "config"), "--state", str(tmp_path)]
    assert main(["export", "spec-source", "quoteline", *words, "--public-url", "https://in.example/"]) == DONE
    said = capsys.readouterr().out
    assert said.startswith("# Posting leads: quoteline")
    assert "`POST https://in.example/v1/leads`" in said
    page = tmp_path / "spec.html"
    assert main(["export", "spec-buyer", "shieldauto", *words, "--out", str(page)]) == DONE
    assert page.read_text("utf-8").startswith("<!doctype html>")
    capsys.readouterr()
    assert main(["export", "spec-buyer", "shieldauto", *words, "--format", "html", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["text"][:15]) == ("html", "<!doctype html>")


def test_export_of_nobody_is_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that is not there is named with those that are; a configuration that cannot be read is 78."""
    assert main(["export", "spec-source", "nobody", "--config", str(ROOT / "config")]) == USAGE
    assert "acme-web" in capsys.readouterr().err
    assert main(["export", "spec-buyer", "x", "--config", str(tmp_path)]) == CONFIG
