-- The ledger. Facts are append-only and hash-chained; what may have to be forgotten stands beside them, never in them.
-- Every key that the hot path inserts is a sequence number or a time-ordered id: pages fill from left to right.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- `body` is the fact as JSON; `digest` the salted digest of the lead beside a Received; `hash` covers everything else
-- in the row and the hash of the row before. `lead_id` is filled for the facts of a lead's deliveries too.
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    lead_id TEXT,
    digest BLOB,
    body BLOB NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX facts_by_lead ON facts (lead_id) WHERE lead_id IS NOT NULL;

-- One narrow row a lead, for search and for repeats; `seq` is that of its Received. The columns from `external_id`
-- to `email` are cleared when the person is forgotten, and `erased_at_ns` says when that was.
CREATE TABLE leads (
    seq INTEGER PRIMARY KEY,
    lead_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    lead_type TEXT NOT NULL,
    received_at_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    erased_at_ns INTEGER,
    external_id TEXT,
    idem_key TEXT,
    body_sha256 BLOB,
    phone TEXT,
    email TEXT
);

-- The lead itself as JSON and the salt of its digest; the row goes when the person is forgotten.
CREATE TABLE lead_bodies (
    seq INTEGER PRIMARY KEY,
    salt BLOB NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE deliveries (
    delivery_id TEXT PRIMARY KEY,
    lead_id TEXT NOT NULL,
    contract_id TEXT NOT NULL,
    buyer_id TEXT NOT NULL
) WITHOUT ROWID;

-- Where a decision put a contract's standing refusal in words: the last one at or before a decision is its own.
CREATE TABLE said (
    contract_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (contract_id, mode, seq)
) WITHOUT ROWID;

-- What a source was answered, byte for byte, for repeats with the same Idempotency-Key. `seq` as in leads.
CREATE TABLE answers (
    seq INTEGER PRIMARY KEY,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- Terms by content address; `body` is zlib-compressed, `sha256` of the uncompressed bytes.
CREATE TABLE terms (
    version TEXT PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;

-- Losses that an operator accepted with --accept-loss: up to where the anchor knew facts, and from where we went on.
CREATE TABLE losses (
    at_ns INTEGER NOT NULL,
    anchor_seq INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    what TEXT NOT NULL
);
