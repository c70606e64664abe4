"""The names that mean something of their own in a flat lead; a source's `map` may lead to them as well as to fields."""

from collections.abc import Mapping
from typing import Final

#: Flat name -> key of `consent`. The last lines are what the certificates' own scripts put into a form.
FLAT_NAMES: Final[Mapping[str, str]] = {
    "consent_given_at": "given_at",
    "consent_text": "text",
    "consent_url": "url",
    "consent_ip": "ip",
    "consent_trustedform_cert_url": "trustedform_cert_url",
    "consent_jornaya_lead_id": "jornaya_lead_id",
    "consent_sellers": "sellers",
    "trustedform_cert_url": "trustedform_cert_url",
    "jornaya_lead_id": "jornaya_lead_id",
    "xxTrustedFormCertUrl": "trustedform_cert_url",
    "universal_leadid": "jornaya_lead_id",
    "leadid_token": "jornaya_lead_id",
    "jornaya_leadid": "jornaya_lead_id",
}
#: What else of a lead stands beside its fields in a flat body.
BESIDE_FIELDS: Final = frozenset({"lead_type", "external_id", "submitted_at", "test"})
