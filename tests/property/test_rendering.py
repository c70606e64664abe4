"""Whatever a lead holds, a request reads back as exactly that, and nothing in it breaks out of its place."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from router.buyers import form, json_format, query, xml
from router.buyers.classify import classify
from router.buyers.render import render
from router.model.delivery import HttpResponse
from router.terms.xml_names import Root
from tests.endpoints import context, plan

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\r\n<>&'\"")
)
ANY_TEXT = st.text(st.characters())  # half characters (lone surrogates) too
NAMES = st.text(st.sampled_from("abcXYZ_"), min_size=1, max_size=4)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    ),
)


@given(TREES)
def test_json_reads_back(tree: dict[str, Any]) -> None:
    """A JSON body holds exactly what was put in, types included."""
    assert orjson.loads(json_format.encode(tree)) == tree


@given(st.dictionaries(TEXT.filter(bool), TEXT))
def test_forms_and_queries_read_back(tree: dict[str, Any]) -> None:
    """A form and a query hold exactly the pairs that were put in; both are plain ASCII."""
    pairs = list(tree.items())
    assert parse_qsl(form.encode(tree).decode("ascii"), keep_blank_values=True) == pairs
    for url in ("https://a.example/x", "https://a.example/x?y=1", "https://a.example/?"):
        found = query.with_fields(url, tree)
        assert found.isascii()
        assert parse_qsl(urlsplit(found).query, keep_blank_values=True) == [
            *([("y", "1")] if "=1" in url else []),
            *pairs,
        ]


@given(XML_TEXT, XML_TEXT)
def test_xml_reads_back(text: str, attribute: str) -> None:
    """Text and attributes survive any character XML can hold, line ends included."""
    document = xml.encode({"r": {"@a": attribute, "t": text}}, Root("r", False))
    root = etree.fromstring(document)
    assert (root.get("a"), root.findtext("t") or "") == (attribute, text)
    assert [element.tag for element in root.iter()] == ["r", "t"]


@given(ANY_TEXT)
@example("\ud800")
def test_nothing_breaks_a_request(text: str) -> None:
    """Any text at all, half characters included, gives a request in every format; headers stay one line of ASCII."""
    here = context({"notes": text})
    for wire in ("json", "form", "query", "xml", "soap"):
        endpoint = plan(
            format=wire, body={"a": "{{notes}}", "b": {"c": "x{{notes}}"}}, headers={"X-Note": "n {{notes}}"}
        )
        request = render(endpoint, here, {}, now_s=1)
        assert all(value.isascii() and value.isprintable() for _, value in request.headers)
        assert request.url.isascii()
        assert render(endpoint, here, {}, now_s=99).body == request.body
        if wire in ("xml", "soap"):
            etree.fromstring(request.body)
        elif wire == "json":
            orjson.loads(request.body)


ENDPOINTS = [
    plan(
        responses=[
            {"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted", "price": "p", "reason": "r"},
            {"when": {"path": "sort_by(items, &n)[0].n"}, "outcome": "rejected", "reason": "@", "redirect_url": "r"},
            {"when": {"xpath": "//a", "pattern": "^.+x"}, "outcome": "rejected", "reason": "//a", "price": "//a"},
            {"when": {"header": "x", "equals": 1}, "outcome": "failed", "reference": "join(',', x)"},
            {"when": {"keyword": "dup"}, "outcome": "duplicate", "reason": "keys(@)"},
        ]
    )
]
BODIES = (
    st.binary(max_size=200)
    | TREES.map(orjson.dumps)
    | st.text().map(lambda text: f"<r><a>{text}</a></r>".encode("utf-8", "replace"))
    | st.lists(SCALARS).map(lambda items: orjson.dumps({"items": [{"n": one} for one in items], "status": "x"}))
)


@given(
    BODIES,
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(["x", "Retry-After", "Date", "Content-Type"]), ANY_TEXT),
)
def test_no_answer_breaks_classifying(body: bytes, status: int, headers: dict[str, str]) -> None:
    """Any bytes with any status and headers get a verdict whose texts are short and on one line."""
    given_answer = HttpResponse(status=status, headers=tuple(headers.items()), body=body)
    verdict = classify(ENDPOINTS[0], given_answer, after_doubt=False)
    for text in (verdict.reason, verdict.reference):
        assert text is None or (len(text) <= 200 and "\n" not in text and "\r" not in text)
    assert verdict.outcome != "accepted" or b"accepted" in body
