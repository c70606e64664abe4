"""The JSON shapes of the API, for the OpenAPI document. What routes name as `body` and in `answers` stands here."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from router.alerts import Kind

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
INTEGER: Final[Schema] = {"type": "integer"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
MAYBE_INSTANT: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
MONEY: Final[Schema] = {"type": "string", "description": "decimal text", "examples": ["12.00"]}
MAYBE_MONEY: Final[Schema] = {"type": ["string", "null"], "description": "decimal text"}
COUNTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "integer"}}


def _object(properties: Mapping[str, Schema], required: tuple[str, ...] = (), says: str = "") -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    if says:
        schema["description"] = says
    return schema


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_CONSENT: Final = _object(
    {
        "given_at": INSTANT,
        "text": TEXT,
        "url": TEXT,
        "ip": TEXT,
        "trustedform_cert_url": TEXT,
        "jornaya_lead_id": TEXT,
        "sellers": _list(TEXT),
    }
)
_LEAD: Final[dict[str, Schema]] = {
    "lead_type": TEXT,
    "external_id": {
        "type": "string",
        "description": "the source's own id; without an Idempotency-Key, the same one within 7 days is the same lead",
    },
    "submitted_at": INSTANT,
    "test": BOOLEAN,
    "fields": {"type": "object", "additionalProperties": True},
    "consent": _CONSENT,
}
_LEAD_EXAMPLE: Final = {
    "lead_type": "solar",
    "external_id": "a-1",
    "submitted_at": "2026-11-23T17:00:00Z",
    "fields": {"first_name": "Ana", "phone": "(512) 555-0147", "email": "ana@example.com", "postal_code": "78701"},
}
_REFUSAL: Final = _object({"contract_id": TEXT, "code": TEXT, "expected": TEXT, "actual": TEXT})
_ATTEMPT: Final = _object(
    {
        "at": INSTANT,
        "took_ms": {"type": "number"},
        "request_sha256": TEXT,
        "status": {"type": ["integer", "null"]},
        "outcome": TEXT,
        "detail": MAYBE_TEXT,
    }
)
_TRACED: Final = _object(
    {
        "delivery_id": TEXT,
        "contract_id": TEXT,
        "buyer_id": TEXT,
        "outcome": {"type": ["string", "null"], "description": "null while it is being sent"},
        "state": {"type": "string", "enum": ["in_flight", "in_doubt", "settled"]},
        "reason": MAYBE_TEXT,
        "price": MAYBE_MONEY,
        "terms_version": TEXT,
        "allowed_by": _list(_object({"rule": TEXT, "expected": TEXT, "actual": TEXT})),
        "attempts": _list(_ATTEMPT),
        "contradicted": _list(_object({"at": INSTANT, "outcome": TEXT, "by": TEXT})),
    }
)
_CAP: Final = _object(
    {
        "id": TEXT,
        "per": TEXT,
        "window": TEXT,
        "limit": {"type": ["integer", "string"]},
        "used": {"type": ["integer", "string"], "description": "confirmed"},
        "held": {"type": ["integer", "string"], "description": "reserved or in doubt"},
        "resets_at": MAYBE_INSTANT,
    }
)
_LIMITS: Final = {
    "type": "object",
    "additionalProperties": {"type": ["integer", "string"]},
    "description": "a cap's id -> leads, or decimal text where it is one of spend",
}
_OVERRIDE: Final = _object(
    {
        "reason": TEXT,
        "by": TEXT,
        "until": INSTANT,
        "caps": _LIMITS,
        "guards": {"type": "string", "enum": ["on", "off"]},
    },
    ("reason", "by", "until", "caps", "guards"),
)
_GUARD: Final = _object(
    {
        "metric": TEXT,
        "state": {"type": "string", "enum": ["closed", "tripped", "probing", "throttled"]},
        "value": {"type": ["number", "null"], "description": "a share; of latency_p95 milliseconds"},
        "sample": INTEGER,
        "until": MAYBE_INSTANT,
        "deliveries": _list(TEXT),
    },
    ("metric", "state", "value", "sample", "until"),
)
_FINDING: Final = _object({"severity": TEXT, "file": TEXT, "key": TEXT, "message": TEXT, "mend": TEXT})
_CHANGE: Final = _object(
    {
        "subject": {
            **TEXT,
            "description": "router, lead_type:ID, source:ID, buyer:ID, endpoint:BUYER/NAME, contract:ID",
        },
        "key": {**TEXT, "description": "empty where the whole subject is new or gone"},
        "before": MAYBE_TEXT,
        "after": MAYBE_TEXT,
        "words": TEXT,
        "numbers": {**COUNTS, "description": "codes, codes_added, codes_removed of coverage"},
    },
    ("subject", "key", "words"),
)
_REPLAY: Final = _object(
    {
        "leads": INTEGER,
        "moved": {**INTEGER, "description": "leads that others would have got"},
        "bounded": {**BOOLEAN, "description": "only the latest ones were looked at"},
        "contracts": _list(
            _object(
                {
                    "contract_id": TEXT,
                    "leads_before": INTEGER,
                    "leads_after": INTEGER,
                    "revenue_before": MONEY,
                    "revenue_after": MONEY,
                }
            )
        ),
    },
    says="the last day's leads, sold under both terms by everybody accepting",
)
_DIFFERENCE: Final[dict[str, Schema]] = {
    "version": TEXT,
    "changes": _list(_CHANGE),
    "more_changes": INTEGER,
    "replay": _REPLAY,
}
_STATUS: Final[Schema] = {
    "type": "string",
    "enum": ["routing", "queued", "sold", "unsold", "duplicate", "in_doubt", "expired", "erased"],
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Lead": {
        **_object(
            _LEAD,
            ("lead_type",),
            "A lead. A flat body without `fields` is taken as well: every key that is not reserved is a field, "
            "`consent_*`, `xxTrustedFormCertUrl` and `universal_leadid` are understood.",
        ),
        "examples": [_LEAD_EXAMPLE],
    },
    "ExplainLead": {
        **_object({**_LEAD, "source_id": TEXT}, ("lead_type", "source_id"), "A lead, and the source it is from"),
        "examples": [{"source_id": "acme-web", **_LEAD_EXAMPLE}],
    },
    "LeadAnswer": _object(
        {
            "lead_id": TEXT,
            "status": _STATUS,
            "copies": INTEGER,
            "payout": MONEY,
            "reason": {
                "type": ["string", "null"],
                "description": "of unsold: no_coverage, no_eligible_contract, all_declined or deadline",
            },
            "redirect_url": MAYBE_TEXT,
        },
        ("lead_id", "status", "copies", "payout", "reason", "redirect_url"),
    ),
    "FoundLeads": _object(
        {
            "leads": _list(
                _object(
                    {
                        "lead_id": TEXT,
                        "source_id": TEXT,
                        "lead_type": TEXT,
                        "received_at": INSTANT,
                        "status": _STATUS,
                        "external_id": MAYBE_TEXT,
                    }
                )
            ),
            "next_cursor": {"type": ["string", "null"], "description": "give it as `cursor` for the next page"},
        },
        ("leads", "next_cursor"),
    ),
    "Decision": _object(
        {
            "terms_version": TEXT,
            "decided_at": INSTANT,
            "refusals": _list(_REFUSAL),
            "ranking": _list(TEXT),
            "winners": _list(TEXT),
            "duplicate_of": {**MAYBE_TEXT, "description": "explain alone: the lead that makes it a duplicate"},
        },
        ("terms_version", "decided_at", "refusals", "ranking", "winners"),
    ),
    "Trace": _object(
        {
            "lead_id": TEXT,
            "status": _STATUS,
            "source_id": TEXT,
            "decisions": _list(_ref("Decision")),
            "deliveries": _list(_TRACED),
        },
        ("lead_id", "status", "source_id", "decisions", "deliveries"),
    ),
    "Contract": _object(
        {
            "contract_id": TEXT,
            "buyer_id": TEXT,
            "status": TEXT,
            "paused": BOOLEAN,
            "caps": _list(_CAP),
            "ramp": {"type": ["object", "null"]},
            "resuming": {
                "type": ["object", "null"],
                "description": "on its way back from a pause: the share of leads it gets, until when, by whom",
            },
            "overrides": {**_list(_OVERRIDE), "description": "what somebody set for a while, its buyer's included"},
            "guards": _list(_GUARD),
            "breaker": _GUARD,
            "in_flight": INTEGER,
            "endpoint": {
                **_object(
                    {"name": TEXT, "version": TEXT, "certified": BOOLEAN, "last_test": {"type": ["object", "null"]}}
                ),
                "description": "whether it is certified as it is now, and how the last test went",
            },
            "in_doubt": {
                **_list(_object({"delivery_id": TEXT, "lead_id": TEXT, "since": INSTANT})),
                "description": "the oldest deliveries in doubt: resolve them",
            },
        },
        ("contract_id", "buyer_id", "status", "paused", "caps", "in_flight"),
    ),
    "Contracts": _object({"contracts": _list(_ref("Contract"))}, ("contracts",)),
    "Alerts": _object(
        {
            "alerts": _list(
                _object(
                    {
                        "id": {**TEXT, "description": "the same as long as the same trouble lasts"},
                        "kind": {**TEXT, "enum": list(get_args(Kind))},
                        "subject": {**TEXT, "description": "contract:ID, buyer:ID, endpoint:BUYER/NAME or router"},
                        "since": INSTANT,
                        "message": {**TEXT, "description": "what happened"},
                        "mend": {**TEXT, "description": "what to do"},
                    },
                    ("id", "kind", "subject", "since", "message", "mend"),
                )
            )
        },
        ("alerts",),
    ),
    "Deliveries": _object(
        {
            "deliveries": _list(
                _object(
                    {
                        "delivery_id": TEXT,
                        "contract_id": TEXT,
                        "sent_at": INSTANT,
                        "outcome": {"type": ["string", "null"], "description": "null while it is being sent"},
                        "reason": MAYBE_TEXT,
                        "price": MAYBE_MONEY,
                        "reference": MAYBE_TEXT,
                    }
                )
            ),
        },
        ("deliveries",),
    ),
    "Pause": _object(
        {
            "reason": TEXT,
            "until": {**INSTANT, "description": "without it: until resumed"},
            "ramp": {**TEXT, "description": "such as 30m: from `until` on leads come back over so long"},
        }
    ),
    "Paused": _object({"paused": BOOLEAN, "reason": TEXT, "until": MAYBE_INSTANT, "ramp": TEXT}, ("paused",)),
    "Resume": _object({"ramp": {**TEXT, "description": "such as 30m: leads come back over so long, not at once"}}),
    "Resumed": _object(
        {
            "paused": BOOLEAN,
            "resumed": {**BOOLEAN, "description": "false: there was no pause"},
            "ramp": TEXT,
        },
        ("paused",),
    ),
    "Override": _object(
        {
            "reason": TEXT,
            "until": {**INSTANT, "description": "from then on the terms hold as they stand"},
            "caps": _LIMITS,
            "guards": {"type": "string", "enum": ["on", "off"], "description": "off: guards turn nobody away"},
        },
        ("reason", "until"),
    ),
    "Overridden": _OVERRIDE,
    "Restored": _object({"restored": {**BOOLEAN, "description": "false: nothing was set"}}, ("restored",)),
    "Resolve": _object({"outcome": {"type": "string", "enum": ["accepted", "rejected"]}}, ("outcome",)),
    "Resolved": _object({"delivery_id": TEXT, "outcome": TEXT}, ("delivery_id", "outcome")),
    "Deposit": _object(
        {"amount": MONEY, "reference": {**TEXT, "description": "tells one payment from another"}},
        ("amount", "reference"),
    ),
    "Deposited": _object(
        {"buyer": TEXT, "amount": MONEY, "reference": TEXT, "balance": MONEY},
        ("buyer", "amount", "reference", "balance"),
    ),
    "Suppression": _object(
        {
            "phone": {**TEXT, "description": "in any usual form; this or `email`, or both"},
            "email": TEXT,
        }
    ),
    "Suppressed": _object({"suppressed": {**_list(TEXT), "description": "by what: `phone`, `email`"}}, ("suppressed",)),
    "Health": _object({"status": TEXT}, ("status",)),
    "Readiness": _object({"ready": BOOLEAN, "reasons": _list(TEXT), "terms_version": TEXT}, ("ready", "reasons")),
    "Status": _object(
        {
            "ready": BOOLEAN,
            "reasons": _list(TEXT),
            "terms": _ref("Terms"),
            "now": _object({"open_leads": COUNTS, "in_flight": INTEGER, "in_doubt": INTEGER, "waiting": INTEGER}),
            "since_start": _object({"leads": COUNTS, "deliveries": COUNTS}),
            "ledger": {"type": "object"},
            "alerts": {**COUNTS, "description": "open ones by kind"},
            "paused": _list({"type": "object"}),
            "overridden": _list({"type": "object"}),
            "book": COUNTS,
        },
        ("ready", "reasons", "terms", "now", "since_start"),
    ),
    "Report": _object({"report": TEXT, "since": INSTANT, "until": INSTANT}, ("report", "since", "until")),
    "Terms": _object({"version": TEXT, "loaded_at": INSTANT}, ("version", "loaded_at")),
    "TermsPieces": _object(
        {"version": TEXT, "pieces": {"type": "object", "additionalProperties": {"type": "object"}}},
        ("version", "pieces"),
        "Pieces by their addresses: the title page under the version, which names index pages, which name the rest",
    ),
    "Findings": _object(
        {
            "ok": BOOLEAN,
            "version": TEXT,
            "problems": _list(_FINDING),
            "difference": {**_object(_DIFFERENCE), "description": "with `diff=1`, where a reload would pass"},
        },
        ("ok", "problems"),
    ),
    "Buyer": {
        "type": "object",
        "description": "A buyer's record: the words of buyers/*.toml (docs/reference/config.md) as JSON. "
        "`id` may be left out; it is the one in the address.",
        "properties": {
            "id": TEXT,
            "name": TEXT,
            "endpoints": {"type": "object", "additionalProperties": {"type": "object"}},
            "contracts": _list({"type": "object"}),
        },
        "required": ["name"],
        "additionalProperties": True,
    },
    "Certify": _object(
        {
            "endpoint": {**TEXT, "description": "this one alone"},
            "fields": {
                "type": "object",
                "description": "values of the test lead, such as the postal code a sandbox wants",
                "additionalProperties": True,
            },
        }
    ),
    "Certification": _object(
        {
            "buyer_id": TEXT,
            "certified": {**BOOLEAN, "description": "every endpoint passed"},
            "endpoints": _list(
                _object(
                    {
                        "endpoint": TEXT,
                        "version": {**TEXT, "description": "of the endpoint's content: a change wants another test"},
                        "certified": BOOLEAN,
                        "tested": {**BOOLEAN, "description": "something was posted, and the result recorded"},
                        "at": INSTANT,
                        "contracts": _list(TEXT),
                        "steps": _list(
                            _object(
                                {
                                    "step": TEXT,
                                    "ok": {"type": ["boolean", "null"], "description": "null: it only tells"},
                                    "detail": TEXT,
                                    "mend": TEXT,
                                }
                            )
                        ),
                    }
                )
            ),
        },
        ("buyer_id", "certified", "endpoints"),
    ),
    "Placed": _object(
        {
            "buyer_id": TEXT,
            "dry_run": BOOLEAN,
            "created": BOOLEAN,
            **_DIFFERENCE,
            "problems": {**_list(_FINDING), "description": "warnings"},
        },
        ("buyer_id", "dry_run", "created", "version", "changes", "problems"),
    ),
}
