"""Response rules: what holds for which answer, what is refused at load, and that no answer can raise."""

import time
from typing import Any

import pytest

from router.terms.answers import Reading, amount, cleaned, folded, holds_words, link
from router.terms.paths import compile_extraction, compile_path
from router.terms.patterns import PatternError, compile_pattern
from router.terms.responses import compile_rules
from router.terms.schema import ResponseRule
from tests.endpoints import SOLD, answer, error_keys, plan, warning_keys
from tests.factory import read


def reading(body: str | bytes = b"", status: int = 200, **headers: str) -> Reading:
    """An answer as the rules see it."""
    found = answer(body, status, **headers)
    return Reading(found.status, found.headers, found.body)


def holds(when: dict[str, Any], given: Reading) -> bool:
    """Whether a rule with this `when` holds for the answer."""
    rules, problems = compile_rules((read({"when": when, "outcome": "accepted"}, ResponseRule),))
    assert rules is not None, problems
    return rules.match(given) is not None


@pytest.mark.parametrize(
    ("when", "body", "expected"),
    [
        ({"path": "s", "equals": "ok"}, '{"s":"ok"}', True),
        ({"path": "s", "equals": "ok"}, '{"s":" ok "}', True),
        ({"path": "s", "equals": "ok"}, '{"s":"OK"}', False),
        ({"path": "s", "equals": "1"}, '{"s":1}', True),
        ({"path": "s", "equals": 1}, '{"s":"1.0"}', True),
        ({"path": "s", "equals": 1}, '{"s":true}', False),
        ({"path": "s", "equals": True}, '{"s":1}', False),
        ({"path": "s", "equals": True}, '{"s":true}', True),
        ({"path": "s", "equals": True}, '{"s":"True"}', True),
        ({"path": "s", "equals": "true"}, '{"s":true}', True),
        ({"path": "s", "equals": 1}, '{"s":[1]}', False),
        ({"path": "s", "equals": 0}, '{"s":""}', False),
        ({"path": "s", "equals": 0}, '{"s":false}', False),
        ({"path": "s", "equals": 0}, '{"t":0}', False),
        ({"path": "s", "equals": 0.1}, '{"s":0.10}', True),
        ({"path": "s", "one_of": ["a", 2]}, '{"s":"2"}', True),
        ({"path": "s", "one_of": ["a", 2]}, '{"s":"b"}', False),
        ({"path": "s"}, '{"s":0}', True),
        ({"path": "s"}, '{"s":""}', True),
        ({"path": "s"}, '{"s":false}', False),
        ({"path": "s"}, '{"s":null}', False),
        ({"path": "s", "exists": True}, '{"s":false}', True),
        ({"path": "s", "exists": False}, "{}", True),
        ({"path": "s", "exists": False}, '{"s":1}', False),
        ({"path": "s", "exists": False}, "<html>down</html>", False),
        ({"path": "s", "exists": False}, "<html>down", False),
        ({"path": "s", "pattern": "^ok"}, '{"s":"ok, sold"}', True),
        ({"path": "s", "pattern": "^ok"}, '{"s":"not ok"}', False),
        ({"path": "s", "pattern": "^2"}, '{"s":200}', True),
        ({"path": "a.b[0].c", "equals": "x"}, '{"a":{"b":[{"c":"x"}]}}', True),
        ({"path": "a.b", "equals": "x"}, '{"a":"b"}', False),
        ({"path": "length(a) > `1`"}, '{"a":"xy"}', True),
        ({"path": "length(a) > `1`"}, '{"a":"x"}', False),
        ({"path": "length(a) > `1`"}, '{"a":7}', False),
        ({"path": "a[?b > `1`]|[0]"}, '{"a":[{"b":"x"}]}', False),
        ({"xpath": "//s", "equals": 1}, "<r><s> 1 </s></r>", True),
        ({"xpath": "//s", "equals": "b"}, "<r><s>a</s><s>b</s></r>", True),
        ({"xpath": "/r/@s", "equals": "b"}, "<r s='b'/>", True),
        ({"xpath": "count(//s) = 2"}, "<r><s/><s/></r>", True),
        ({"xpath": "count(//s) = 2"}, "<r><s/></r>", False),
        ({"xpath": "//s", "exists": False}, "<r/>", True),
        ({"xpath": "//s", "exists": False}, "{}", False),
        ({"keyword": "valid"}, "invalid", False),
        ({"keyword": "valid"}, "in-valid", True),
        ({"keyword": "valid"}, "validé", False),
        ({"keyword": "valid"}, "valid\u0301", False),
        ({"keyword": "valid"}, "éinvalid, VALID.", True),
        ({"keyword": "valid"}, "valid_lead", False),
        ({"keyword": "Match found"}, "<p>match\n\t FOUND</p>", True),
        ({"keyword": "Match found"}, "match. Found", False),
        ({"keyword": "grüße"}, "GRÜSSE", True),
        ({"keyword": "accepté"}, "accepte\u0301", True),
        ({"keyword": "ok!"}, "ok!x", True),
        ({"status": "2xx"}, "", True),
        ({"status": [201, 200]}, "", True),
        ({"status": 201}, "", False),
        ({"status": 200, "path": "a", "equals": 1, "keyword": "b"}, '{"a":1,"b":2}', True),
        ({"status": 200, "path": "a", "equals": 1, "keyword": "c"}, '{"a":1,"b":2}', False),
        ({"path": "a", "pattern": "x", "exists": True}, '{"a":"xy"}', True),
    ],
)
def test_when(when: dict[str, Any], body: str, expected: bool) -> None:
    """All that is named must hold, each test by the rules the module states."""
    assert holds(when, reading(body)) is expected


def test_headers() -> None:
    """A header is found in any case; its test is put to all its values together."""
    given = Reading(200, (("X-Result", " sold "), ("x-result", "twice")), b"")
    assert holds({"header": "x-RESULT"}, given)
    assert holds({"header": "X-Result", "pattern": "^sold"}, given)
    assert not holds({"header": "X-Other"}, given)
    assert holds({"header": "X-Other", "exists": False}, given)


@pytest.mark.parametrize(
    ("body", "content_type", "kind", "sniffed"),
    [
        ('{"a":1}', "application/json; charset=utf-8", "json", None),
        ('{"a":1}', "text/html", "json", "json"),
        ('\ufeff{"a":1}', "application/vnd.x+json", "json", None),
        ("<a>1</a>", "application/json", "xml", "xml"),
        ("<a>1</a>", "text/xml", "xml", None),
        ("<html><br></html>", "text/html", "text", None),
        ("sold", "application/json", "text", "text"),
        ('{"a":1}', None, "json", "json"),
    ],
)
def test_the_body_is_looked_at(body: str, content_type: str | None, kind: str, sniffed: str | None) -> None:
    """The header does not decide how a body is read; that it lied is recorded."""
    given = reading(body, **({"content_type": content_type} if content_type else {}))
    assert given.sniffed is None, "nobody looked inside yet"
    assert given.kind == kind
    assert given.sniffed == sniffed


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r><s>ok</s></r>",
        b"<?xml version='1.0'?><!DOCTYPE r [<!ENTITY e 'ok'>]><r><s>&e;</s></r>",
        b"<r><s>ok</s>",
        b"<?xml version='1.0' encoding='no-such'?><r><s>ok</s></r>",
        b"<" * 65536,
        b"<a>" * 20000,
        b"[" * 65536,
        b'{"s":' * 10000,
        b"\xff\xfe\x00",
        b"\x00",
        b"1e999999999",
        b'{"s":1e400}',
        b"9" * 60000,
        "é{".encode("utf-16"),
    ],
)
def test_no_answer_raises(body: bytes) -> None:
    """Whatever a buyer sends, rules that look inside find nothing and say so quietly."""
    for charset in ("utf-8", "utf-16", "idna", "punycode", "no-such", "zlib_codec"):
        given = reading(body, content_type=f"text/html; charset={charset}")
        assert not holds({"path": "s", "equals": "ok"}, given)
        assert not holds({"path": "sum(s)", "equals": "ok"}, given)
        assert not holds({"xpath": "//s", "equals": "ok"}, given)
        assert not holds({"keyword": "no such words"}, given)


def test_json_in_another_encoding_is_read() -> None:
    """JSON in Windows-1252 or UTF-16 is understood where its header says so."""
    assert holds({"path": "s", "equals": "é"}, reading('{"s":"é"}'.encode("cp1252"), content_type="x; charset=latin1"))
    assert holds({"path": "s", "equals": "é"}, reading('{"s":"é"}'.encode("utf-16"), content_type="x; charset=utf-16"))


@pytest.mark.parametrize(
    ("when", "key"),
    [
        ({}, "when"),
        ({"equals": "x"}, "when.equals"),
        ({"status": 200, "pattern": "x"}, "when.pattern"),
        ({"path": "a", "xpath": "//a"}, "when"),
        ({"path": "a["}, "when.path"),
        ({"path": ""}, "when.path"),
        ({"path": "foo(a)"}, "when.path"),
        ({"path": "a[].length(@, @)"}, "when.path"),
        ({"xpath": "//["}, "when.xpath"),
        ({"xpath": "//s:a"}, "when.xpath"),
        ({"xpath": "document('file:///etc/passwd')"}, "when.xpath"),
        ({"header": "a b"}, "when.header"),
        ({"status": "ok"}, "when.status"),
        ({"status": 99}, "when.status"),
        ({"status": "6xx"}, "when.status"),
        ({"keyword": "  "}, "when.keyword"),
        ({"path": "a", "pattern": "("}, "when.pattern"),
        ({"path": "a", "pattern": "(a+)+$"}, "when.pattern"),
    ],
)
def test_a_rule_that_cannot_work(when: dict[str, Any], key: str) -> None:
    """Each is an error at its key; the good rule before it does not hide it."""
    assert error_keys(responses=[SOLD, {"when": when, "outcome": "rejected"}]) == [f"responses[1].{key}"]


@pytest.mark.parametrize("part", ["price", "reason", "reference", "redirect_url"])
def test_extraction_paths_are_checked(part: str) -> None:
    """A path that cannot be read is named with its key."""
    assert error_keys(responses=[SOLD | {part: "a["}]) == [f"responses[0].{part}"]


@pytest.mark.parametrize(
    "responses",
    [
        [],
        [{"when": {"path": "s", "equals": "no"}, "outcome": "rejected"}],
        [{"when": {"status": "2xx"}, "outcome": "rejected"}, SOLD | {"when": SOLD["when"] | {"status": 200}}],
        [{"when": {"path": "status", "one_of": []}, "outcome": "accepted"}],
        [{"when": {"path": "a", "equals": 1, "one_of": [2]}, "outcome": "accepted"}],
        [{"when": {"path": "a", "equals": 1, "exists": False}, "outcome": "accepted"}],
        [{"when": {"status": []}, "outcome": "accepted"}],
    ],
)
def test_rules_that_can_never_accept(responses: list[dict[str, Any]]) -> None:
    """Nothing could ever be sold: an error, whether no rule accepts or those that do can never decide."""
    assert error_keys(responses=responses) == ["responses"]


@pytest.mark.parametrize(
    ("first", "second", "is_shadowed"),
    [
        ({"path": "a", "equals": 1}, {"path": "a", "equals": 1}, True),
        ({"path": "a", "equals": 1}, {"path": "a", "equals": 1, "status": 200}, True),
        ({"path": "a", "equals": 1, "status": 200}, {"path": "a", "equals": 1}, False),
        ({"path": "a", "equals": 1, "status": "2xx"}, {"path": "a", "equals": 1, "status": [200, 204]}, True),
        ({"path": "a", "one_of": [1, 2]}, {"path": "a", "equals": 2}, True),
        ({"path": "a", "equals": 2}, {"path": "a", "one_of": [1, 2]}, False),
        ({"path": "a", "equals": 1}, {"path": "a", "equals": True}, False),
        ({"path": "a"}, {"path": "a", "equals": 2}, True),
        ({"path": "a"}, {"path": "a", "equals": False}, False),
        ({"path": "a", "exists": True}, {"path": "a"}, True),
        ({"path": "a"}, {"path": "a", "exists": True}, False),
        ({"path": "a"}, {"path": "b"}, False),
        ({"path": "a", "exists": False}, {"path": "a", "exists": False}, True),
        ({"path": "a", "exists": False}, {"path": "a"}, False),
        ({"path": "a", "pattern": "^o"}, {"path": "a", "equals": "ok"}, True),
        ({"path": "a", "pattern": "^o"}, {"path": "a", "equals": "no"}, False),
        ({"keyword": "match found"}, {"keyword": "No match found"}, True),
        ({"keyword": "No match found"}, {"keyword": "match found"}, False),
        ({"keyword": "valid"}, {"keyword": "invalid"}, False),
        ({"status": "4xx"}, {"keyword": "x", "status": 404}, True),
    ],
)
def test_shadowed_rules(first: dict[str, Any], second: dict[str, Any], is_shadowed: bool) -> None:
    """A rule that an earlier one always beats is warned of at its place; one that can still decide is not."""
    rules = [{"when": first, "outcome": "rejected"}, {"when": second, "outcome": "duplicate"}]
    found = warning_keys(responses=[*rules, SOLD | {"when": {"path": "never.named", "equals": "sold"}}])
    assert ("responses[1]" in found) is is_shadowed


def test_a_status_alone_as_a_sale_is_warned_of() -> None:
    """Most buyers answer 200 to a refusal too."""
    assert warning_keys(responses=[{"when": {"status": "2xx"}, "outcome": "accepted"}]) == ["responses[0].when"]


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+",
        "(a*)*b",
        "(a|ab)*",
        "(?:foo|bar)+",
        r"(\w+\s?)*$",
        "(a{1,30}){1,50}",
        "(?=(a+)+)b",
        ".*.*.*.*x",
        r"(\w+)\1+\1+\1+",
        "a?" * 40 + "b",
        "(",
        "[z-a]",
        "(?P<x>a)(?(x)b|c)",
        "x" * 2000,
    ],
)
def test_patterns_that_could_run_away_are_refused(text: str) -> None:
    """Repeats in repeats, choices in repeats, and what does not compile."""
    with pytest.raises(PatternError):
        compile_pattern(text)


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("(?i)success|sold", "SOLD", True),
        (r"^[A-Z]+-\d+$", "AB-12", True),
        (r"(\d{3}-){2}\d{4}", "512-555-0147", True),
        (r"\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}", "(512) 555-0147", True),
        ("[^@]+@[^@]+", "a@b", True),
        ("a*+b", "aab", True),
        ("(?m)^x", "a\nx", True),
    ],
)
def test_patterns_in_use_pass(text: str, value: str, found: bool) -> None:
    """What operators really write is not refused."""
    assert compile_pattern(text).search(value) is found


def test_a_pattern_sees_no_more_than_it_can_bear() -> None:
    """The more repeats can stand against each other, the less text a pattern is shown."""
    assert compile_pattern("sold").shown == 65_536
    assert compile_pattern("a+b").shown > compile_pattern("a+.*b").shown >= 120


@pytest.mark.parametrize(
    ("value", "minor"),
    [
        (42, 4200),
        (42.5, 4250),
        ("42.5", 4250),
        (42.509, 4250),
        ("42.999", 4299),
        (0.29, 29),
        (1.1, 110),
        (19.99, 1999),
        ("$1,042.50", 104250),
        (" 7 ", 700),
        (0, 0),
        ("0", 0),
        (1e-7, 0),
        (True, None),
        (None, None),
        ("", None),
        ("free", None),
        (-1, None),
        ("-1", None),
        ("42,50", None),
        ("1e3", None),
        ([42], None),
        ({"a": 1}, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        ("1" * 400, None),
        ("٤٢", None),
    ],
)
def test_amounts(value: Any, minor: int | None) -> None:
    """Prices are read exactly and rounded down: the billed price never exceeds what the buyer said."""
    assert amount(value) == minor


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\r\n\x1b[31mb", "a [31mb"),
        (None, None),
        ("", None),
        (7, "7"),
        (7.0, "7"),
        (True, "true"),
        (["a", 1], "a; 1"),
        ({"a": [1]}, '{"a":[1]}'),
        ("x" * 300, "x" * 200),
    ],
)
def test_words_of_a_buyer_are_cleaned(value: Any, text: str | None) -> None:
    """One line, no control characters, 200 characters."""
    assert cleaned(value) == text


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://a.example/x?y=1", True),
        ("HTTP://a.example", True),
        ("javascript:alert(1)", False),
        ("//a.example", False),
        ("https:///x", False),
        ("https://a.example/ x", False),
        ("https://a.example/\nx", False),
        ("https:\\\\a", False),
        (7, False),
        ("https://a.example/" + "x" * 3000, False),
        (None, False),
    ],
)
def test_links(value: Any, taken: bool) -> None:
    """A consumer is only ever sent to an absolute http or https address."""
    assert (link(value) is not None) is taken


def test_plain_paths_agree_with_jmespath() -> None:
    """The short way for `a.b` finds exactly what the expression machinery finds."""
    import jmespath

    for body in (
        '{"a":{"b":1}}',
        '{"a":{"b":null}}',
        '{"a":{"b":[]}}',
        '{"a":[1]}',
        '{"a":"b"}',
        "[]",
        '"a"',
        "{}",
        "null",
        "3",
    ):
        given = reading(body)
        value = jmespath.search("a.b", given.data)
        assert compile_path("a.b")(given) == (() if value is None else (value,))


def test_extractions_choose_their_language_by_how_they_begin() -> None:
    """`/` and `.` begin an XPath, anything else is a JMESPath."""
    assert compile_extraction("//a")(reading("<r><a>x</a></r>")) == ["x"]
    assert compile_extraction("./a")(reading("<r><a>x</a><b><a>y</a></b></r>")) == ["x"]
    assert compile_extraction("a")(reading('{"a":"x"}')) == ("x",)
    assert compile_extraction("a")(reading("<r><a>x</a></r>")) is None


def test_whole_words() -> None:
    """Words are found at the edges and again after a false start."""
    assert holds_words(folded("valid"), "valid")
    assert holds_words(folded("invalid but valid"), "valid")
    assert not holds_words("", "valid")


def test_rules_are_tried_in_order() -> None:
    """The first that holds decides, whatever the status."""
    rules = plan(responses=[{"when": {"keyword": "no"}, "outcome": "rejected"}, SOLD]).rules
    matched = rules.match(reading('{"status":"accepted","no":1}', status=500))
    assert matched is not None
    assert matched.name == "responses[0]"


@pytest.mark.parametrize(
    "text",
    [
        "//a", "/r/a", "//PostResponse/@ok", "//a[@x='1']/b", "//a[.//b='1']", "//a//b",
        "//a | //b | //c", "count(//a) > 3", "//a[position()=2]", "(//a)[1]//b", "string(//a[last()])",
        "//name[.='price']/following-sibling::value[1]", "//a/..", "//a[contains(translate(., 'X', 'x'), '//')]",
        "concat(//a, //b, //c)", "//*[local-name()='x']/text()",
        "2 * count(//a)", "//and/or", "//a[b[@c='1']/d]", "//a[*]", "//a[@* = 'x']", "//a[b and not(c)]",
    ],
)  # fmt: skip
def test_xpaths_in_use_pass(text: str) -> None:
    """What people write to find a value in an answer."""
    assert error_keys(responses=[{"when": {"xpath": text}, "outcome": "accepted"}]) == []


@pytest.mark.parametrize(
    "text",
    [
        "//a[//b]", "//a[/r/b]", "//a[count(//a) > 3]", "//a[. = //c]", "//a[2 * //b]", "//a[b * /r]",
        "//a[b|//c]", "//a[../b]", "//a[b/parent::c]", "//a[ancestor::b]", "//a/following::b", "//a/preceding :: b",
        "//a/following-sibling::b", "//a[following-sibling::b[1]]", "//a//b//c",
        "//a/descendant::b//c", "(//a//b)[1]//c",
        "//a[.//b[.//c]]", "//a[.//b = .//c]", f"//{'a' * 600}",
    ],
)  # fmt: skip
def test_xpaths_that_could_run_for_long_are_refused(text: str) -> None:
    """Each would look at the whole answer again and again; on an answer made for it that takes seconds to minutes."""
    assert error_keys(responses=[SOLD, {"when": {"xpath": text}, "outcome": "rejected"}]) == ["responses[1].when.xpath"]


@pytest.mark.parametrize("text", [f"a{'[]' * 4}", f"[?a == '{'x' * 500}']", "[].[@, @][].[@, @][].[@, @][]"])
def test_jmespaths_that_could_run_for_long_are_refused(text: str) -> None:
    """Each flattening may double a list."""
    assert error_keys(responses=[SOLD, {"when": {"path": text}, "outcome": "rejected"}]) == ["responses[1].when.path"]


def test_xml_larger_than_an_answer_is_text() -> None:
    """Too many elements, or too deep ones: no XPath looks into it, and no rule about an absence holds."""
    assert reading(f"<r>{'<a/>' * 400}</r>").kind == "xml"
    assert reading(f"<r>{'<a/>' * 1000}</r>").kind == "text"
    assert reading(f"{'<a>' * 32}1{'</a>' * 32}").kind == "xml"
    assert reading(f"{'<a>' * 33}1{'</a>' * 33}").kind == "text"
    rules = plan(responses=[SOLD, {"when": {"xpath": "//b", "exists": False}, "outcome": "rejected"}]).rules
    assert rules.match(reading(f"<r>{'<a/>' * 400}</r>")) is not None
    assert rules.match(reading(f"<r>{'<a/>' * 1000}</r>")) is None


def test_json_larger_than_an_answer_is_not_computed_over() -> None:
    """A plain path is looked up in any answer; one that computes says nothing of a list of thousands."""
    small, large = reading('{"a": 1, "b": 2}'), reading(f'{{"a": 1, "l": [{"0," * 1000}0]}}')
    plain = plan(responses=[{"when": {"path": "a", "equals": 1}, "outcome": "accepted"}]).rules
    assert plain.match(small) is not None
    assert plain.match(large) is not None
    for when in ({"path": "length(@) > `0`"}, {"path": "c || d", "exists": False}):
        computed = plan(responses=[{"when": when, "outcome": "accepted"}]).rules
        assert computed.match(small) is not None
        assert computed.match(large) is None


def test_the_worst_answers_do_not_take_long() -> None:
    """Answers made for the costliest things rules may say; seconds would mean that a buyer can stop the process."""
    chain, comb = f"{'<a>' * 31}{'x' * 900}{'</a>' * 31}", "<a>1</a>"
    for _ in range(29):
        comb = f"<a>{comb}{'<a>2</a>' * 15}</a>"
    xml = [f"<r>{chain * 15}</r>", f"<r>{'<a>1</a>' * 490}</r>", f"<r>{comb}</r>"]
    xpaths = ["//*//*", "//*[.//*[contains(., 'q')]]", "//a//a/following-sibling::a[1]", "//a = //a/a"]
    json = [f"[{'[],' * 900}1]", f"[{','.join(['{}'] * 900)}]"]
    paths = ["map(&length(@), @)", "[?contains(to_string(@), 'x')]", "[].[@, @][].[@, @][]", "sort_by(@, &a)"]
    began = time.process_time()
    for bodies, kind, texts in ((xml, "xpath", xpaths), (json, "path", paths)):
        for text in texts:
            rules = plan(responses=[SOLD, {"when": {kind: text, "equals": "never"}, "outcome": "rejected"}]).rules
            for body in bodies:
                assert rules.match(reading(body)) is None
    for text in ("^(x*)(x*)y", "a.*b", r"x{0,16}x{0,16}y"):
        for letter in "xa":
            assert not compile_pattern(text).search(letter * 65_536)
    for body in ("xaccepted" * 7000, "é" * 32_000):
        assert not holds_words(folded(body), "accepted")
    assert time.process_time() - began < 5
