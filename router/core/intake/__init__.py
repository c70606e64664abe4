"""From the bytes a source sent to a Lead: `parse_json` or `parse_form`, then `build_lead`.

Either all of a lead is understood, or every field at fault is named at once; nothing is guessed and nothing half
taken. What is refused is never repeated in the refusal.
"""

from router.core.intake.body import parse_form, parse_json
from router.core.intake.lead import IntakeSchema, build_lead, compile_schema
from router.core.intake.refusal import BodyError, FieldError, LeadInvalid

__all__ = [
    "BodyError",
    "FieldError",
    "IntakeSchema",
    "LeadInvalid",
    "build_lead",
    "compile_schema",
    "parse_form",
    "parse_json",
]
