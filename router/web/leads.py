"""A request's body -> a Lead, under the terms in force. What `core.intake` says no to becomes a problem here."""

from collections.abc import Mapping
from typing import Any, Final

from router.core.intake import (
    BodyError,
    IntakeSchema,
    LeadInvalid,
    build_lead,
    compile_schema,
    parse_form,
    parse_json,
)
from router.core.intake.mail import read_email
from router.core.intake.phone import read_phone
from router.core.intake.refusal import FieldError, Wrong
from router.engine import Engine
from router.model.lead import Lead
from router.terms.book import Book
from router.terms.schema import Source
from router.web.problems import Problem

FORM: Final = "application/x-www-form-urlencoded"


class LeadReader:
    """Reads leads by the schemas of the Book in force, which are compiled once a Book."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._book: Book | None = None
        self._schemas: dict[str, IntakeSchema] = {}

    def read(self, source: Source, kind: str, body: bytes) -> Lead:
        """The lead in a body of that content type, with a fresh id. Raises Problem (400, 403, 422)."""
        return self._build(source, parsed(kind, body))

    def read_explained(self, kind: str, body: bytes) -> Lead:
        """The same with the source named in the body as `source_id`. Raises Problem."""
        given = parsed(kind, body)
        source_id = given.pop("source_id", None)
        source = self._engine.book.sources.get(source_id) if isinstance(source_id, str) else None
        if source is None:
            said = ("required", "is missing") if source_id in (None, "") else ("unknown", "is not a source known here")
            raise Problem("invalid", "Say which source the lead is from.", errors=[FieldError("source_id", *said)])
        return self._build(source, given)

    def _build(self, source: Source, given: Mapping[str, Any]) -> Lead:
        engine = self._engine
        try:
            return build_lead(
                given, self._current(), source, lead_id=engine.new_lead_id(), received_at_ns=engine.now_ns()
            )
        except LeadInvalid as error:
            raise Problem(error.code, error.detail, status=error.status, errors=error.errors) from None

    def _current(self) -> dict[str, IntakeSchema]:
        book = self._engine.book
        if book is not self._book:
            country = book.router.defaults.country
            self._schemas = {name: compile_schema(kind, country=country) for name, kind in book.lead_types.items()}
            self._book = book
        return self._schemas


def parsed(kind: str, body: bytes) -> dict[str, Any]:
    """A body of that content type (JSON unless it is a form) as a dictionary. Raises Problem (400, 422)."""
    try:
        return dict(parse_form(body)) if kind == FORM else parse_json(body)
    except BodyError as error:
        raise Problem(error.code, error.detail, status=error.status, errors=error.errors) from None


def search_phone(text: str, country: str) -> str:
    """A phone number in any usual form -> as leads hold it. Raises Problem (400)."""
    try:
        return read_phone(text.strip(), country)
    except Wrong:
        raise Problem("bad_parameter", "`phone` is not a phone number; write a + as %2B.") from None


def search_email(text: str) -> str:
    """An e-mail address -> as leads hold it. Raises Problem (400)."""
    try:
        return read_email(text.strip())
    except Wrong:
        raise Problem("bad_parameter", "`email` is not an e-mail address.") from None
