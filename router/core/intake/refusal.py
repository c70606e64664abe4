"""How intake says no: which field, a stable code, and what is wanted; never the value itself."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

_ERRORS_MAX: Final = 100
_NAME_MAX: Final = 100


class FieldError(Struct, frozen=True):
    """One field at fault. `field` is a path whose last part is the field's own name: `fields.phone`.

    Codes: `required` `wrong_type` `invalid` `too_small` `too_large` `too_short` `too_long` `not_allowed` `pattern`
    `unknown_field` `conflict` `duplicate_key` `control_character` `in_future` `unknown`.
    """

    field: str
    code: str
    message: str


class BodyError(Exception):
    """A body that cannot be read: 400 when it is not what it says it is, 422 when a part of it is at fault."""

    def __init__(self, status: int, code: str, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status: Final = status
        self.code: Final = code
        self.detail: Final = detail
        self.errors: Final = tuple(errors)[:_ERRORS_MAX]


class LeadInvalid(Exception):  # noqa: N818  # "lead invalid" is what it says to the one who sent it
    """A body that is read but is no lead of its type (422), or of one its source may not send (403)."""

    def __init__(
        self,
        errors: Iterable[FieldError],
        *,
        status: int = 422,
        code: str = "lead_invalid",
        detail: str = "The lead does not fit its lead type.",
    ) -> None:
        super().__init__(detail)
        self.status: Final = status
        self.code: Final = code
        self.detail: Final = detail
        self.errors: Final = tuple(errors)[:_ERRORS_MAX]


class Wrong(Exception):  # noqa: N818  # inside intake only
    """A value that cannot be read: the code and message of a FieldError whose field the caller knows."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message


def shown_name(name: str) -> str:
    """A name as it may stand in an error: short, and without characters that would disturb a log or a page."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name[: _NAME_MAX + 1])
    return plain if len(plain) <= _NAME_MAX else f"{plain[:_NAME_MAX]}..."
