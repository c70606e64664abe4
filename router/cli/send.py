"""`lead-router send`: post leads from a file and count what became of them.

One lead goes alone, many go as batches, whose answers come line by line. What is told to come later (429, 503) goes
again with a later batch, as long as patience lasts.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from router.cli import leads
from router.cli import options as shared
from router.cli.client import Daemon, refusal
from router.cli.exits import DONE, NO, UNREACHABLE, CommandError
from router.cli.screen import Progress, columns, print_json

BATCH_LEADS_MAX: Final = 1000
REFUSALS_SHOWN_MAX: Final = 10
_NDJSON: Final = "application/x-ndjson"
_LATER: Final = frozenset({409, 429, 503})
_ABOUT_US: Final = frozenset({401, 403, 404, 405})  # not the lead is refused but whoever sends it


def arguments(parser: argparse.ArgumentParser) -> None:
    """`send FILE|- [--map] [--lead-type] [--async] [--patience S]`."""
    leads.arguments(parser)
    parser.add_argument("--async", dest="respond_async", action="store_true", help="do not wait for the sale")
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait, all in all, when told to come later (429, 503; default: 30)",
    )
    shared.json_output(parser)
    shared.daemon(parser, url=shared.INTAKE_URL)


def run(options: argparse.Namespace) -> int:
    """Send them all; exit 1 when any was refused."""
    numbered = leads.read_leads(options)
    tally = Tally()
    progress = Progress(len(numbered), "leads")
    headers = {"Prefer": "respond-async"} if options.respond_async else {}
    try:
        _send(Daemon(options), numbered, headers, tally, progress, options.patience)
    finally:
        progress.close()
    if options.json:
        print_json(tally.plain())
    else:
        print("\n".join(tally.text()))
    return NO if tally.refusals else DONE


class Tally:
    """What became of the leads: by status, why unsold, and each refusal with its line."""

    def __init__(self) -> None:
        self.sent = 0
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.answers: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []

    def count(self, number: int, answer: dict[str, Any]) -> None:
        """Take one lead's answer: a lead, or a problem."""
        self.sent += 1
        if refused(answer) is None:
            self.statuses[str(answer.get("status"))] += 1
            if answer.get("reason"):
                self.reasons[str(answer["reason"])] += 1
            self.answers.append({"line": number, **answer})
            return
        errors = answer.get("errors") or ({"code": answer.get("code"), "message": answer.get("detail")},)
        for error in errors:
            field = error.get("field")
            self.codes[f"{field}: {error.get('code')}" if field else str(error.get("code"))] += 1
        self.refusals.append({"line": number, "status": refused(answer), "errors": list(errors)})

    def plain(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "sent": self.sent,
            "refused": len(self.refusals),
            "statuses": dict(self.statuses),
            "reasons": dict(self.reasons),
            "refused_by": dict(self.codes),
            "leads": self.answers,
            "refusals": self.refusals,
        }

    def text(self) -> list[str]:
        """For a person."""
        rows = [(status, str(n), self._why(status)) for status, n in self.statuses.most_common()]
        if self.refusals:
            rows.append(("refused", str(len(self.refusals)), "nothing of these was taken"))
        lines = [f"{self.sent} lead{'' if self.sent == 1 else 's'} sent", *columns(rows, indent="  ")]
        if self.sent == len(self.answers) == 1:
            lines.append(f"  lead {self.answers[0].get('lead_id')}")
        lines += columns(((code, str(n)) for code, n in self.codes.most_common()), indent="    ")
        for one in self.refusals[:REFUSALS_SHOWN_MAX]:
            said = "; ".join(
                ": ".join(str(part) for part in (error.get("field"), error.get("message") or error.get("code")) if part)
                for error in one["errors"]
            )
            lines.append(f"  line {one['line']}: {said}")
        if len(self.refusals) > REFUSALS_SHOWN_MAX:
            lines.append(f"  ... and {len(self.refusals) - REFUSALS_SHOWN_MAX} more; --json names them all")
        return lines

    def _why(self, status: str) -> str:
        return ", ".join(f"{reason} {n}" for reason, n in self.reasons.most_common()) if status == "unsold" else ""


def refused(answer: dict[str, Any]) -> int | None:
    """The HTTP status of a refused lead; None for a lead that was taken (its `status` is a word)."""
    status = answer.get("status")
    return status if isinstance(status, int) else None


def _send(
    daemon: Daemon,
    numbered: Sequence[leads.Numbered],
    headers: dict[str, str],
    tally: Tally,
    progress: Progress,
    patience_s: float,
) -> None:
    """Send batch after batch; what is told to come later goes again, as long as patience lasts."""
    waiting = list(numbered)
    while waiting:
        batch, waiting = waiting[:BATCH_LEADS_MAX], waiting[BATCH_LEADS_MAX:]
        later: list[leads.Numbered] = []
        pause_s = 1.0
        for lead, answer in zip(batch, _answers(daemon, batch, headers), strict=True):
            if refused(answer) in _LATER and patience_s > 0:
                later.append(lead)
                pause_s = max(pause_s, float(answer.get("retry_after") or 0))
                continue
            tally.count(lead[0], answer)
            progress.step()
        if later:
            time.sleep(min(pause_s, patience_s))
            patience_s -= pause_s
            waiting = later + waiting


def _answers(daemon: Daemon, batch: Sequence[leads.Numbered], headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    """One answer a lead, in order, as they come. Raises CommandError when the sender is refused, or too few come."""
    if len(batch) == 1:
        yield _answer(daemon, batch[0][1], headers)
        return
    body = b"".join(json.dumps(lead).encode() + b"\n" for _, lead in batch)
    came = 0
    for line in daemon.lines("/v1/leads:batch", body, headers={"Content-Type": _NDJSON, "Accept": _NDJSON, **headers}):
        came += 1
        yield json.loads(line)
    if came != len(batch):
        raise CommandError(
            UNREACHABLE,
            f"the answer broke off after {came} of {len(batch)} leads",
            "What was taken stays taken; give leads an external_id and send the file again: none is taken twice.",
        )


def _answer(daemon: Daemon, lead: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    answer = daemon.call(
        "POST", "/v1/leads", json.dumps(lead).encode(), headers={"Content-Type": "application/json", **headers}
    )
    if answer.status in _ABOUT_US:
        raise refusal(answer)
    found: dict[str, Any] = answer.json()
    return found
