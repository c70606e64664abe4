"""Problems are RFC 9457, from one table, and say nothing of what was sent."""

import orjson
import pytest

from router.core.intake.refusal import FieldError
from router.web.problems import PROBLEM_JSON, PROBLEMS, Problem


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_code_has_its_status_and_title(code: str) -> None:
    """A problem built from a code alone has all members that RFC 9457 and SPEC want."""
    answer = Problem(code).answer()
    body = orjson.loads(answer.body)  # type: ignore[arg-type]
    status, title = PROBLEMS[code]
    assert answer.status == status
    assert answer.headers["Content-Type"] == PROBLEM_JSON
    named = {"type": f"urn:lead-router:problem:{code}", "title": title, "status": status, "code": code}
    assert body == {**named, "detail": f"{title}."}


def test_detail_errors_and_retry_after_are_said() -> None:
    """What is given beside the code stands in the body; Retry-After in whole seconds in body and header."""
    problem = Problem(
        "source_rate_limited",
        "slower",
        errors=[FieldError("fields.phone", "invalid", "is no number")],
        retry_after_s=1.2,
    )
    answer = problem.answer()
    body = orjson.loads(answer.body)  # type: ignore[arg-type]
    assert body["detail"] == "slower"
    assert body["errors"] == [{"field": "fields.phone", "code": "invalid", "message": "is no number"}]
    assert body["retry_after"] == 2
    assert answer.headers["Retry-After"] == "2"


def test_retry_after_is_never_zero() -> None:
    """A moment is still a second: zero would ask for a storm."""
    assert Problem("overloaded", retry_after_s=0.001).answer().headers["Retry-After"] == "1"


def test_an_engine_code_that_is_not_in_the_table_keeps_its_status() -> None:
    """A code that others add is answered with their status and the title of that status."""
    problem = Problem("something_new", status=409)
    assert problem.status == 409
    assert problem.plain()["title"] in {title for status, title in PROBLEMS.values() if status == 409}


def test_headers_are_given_on() -> None:
    """Headers such as Allow stand in the answer."""
    assert Problem("method_not_allowed", headers={"Allow": "GET"}).answer().headers["Allow"] == "GET"
