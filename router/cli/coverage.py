"""`lead-router coverage`: take a buyer's territory list in; draw who covers what; list what nobody covers."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from router.cli import options as shared
from router.cli import territory
from router.cli.exits import CONFIG, DISK, DONE, USAGE, CommandError
from router.cli.screen import columns, print_json
from router.cli.since import since
from router.ledger.protocol import LedgerError
from router.reports.coverage import (
    Gap,
    Territory,
    buyers_at,
    gaps,
    gaps_summary,
    overlaps,
    states_of,
    summary,
    territories,
)
from router.reports.demand import Demand, demand
from router.reports.map import ALARM, SHADES, WARM, Layer, draw
from router.terms.geography import us
from router.terms.load import load
from router.terms.problems import errors
from router.terms.schema import Terms

_ROWS: Final = 20
_ROWS_JSON: Final = 1000
_STATES: Final = 12
_MANY: Final = len(SHADES) - 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """`coverage import|show|gaps`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    taking = actions.add_parser("import", help="a buyer's territory list as it came -> a list, the TOML and a report")
    territory.arguments(taking)
    taking.set_defaults(action=territory.run, run=run)
    show = actions.add_parser("show", help="draw who covers what: everybody, or some contracts or buyers")
    show.add_argument("ids", nargs="*", metavar="ID", help="contracts or buyers; none: everybody live")
    gap = actions.add_parser("gaps", help="postal codes that nobody or one buyer covers, by the leads from there")
    gap.add_argument("--since", metavar="WHEN", help='leads received since then: "30d" ago or RFC 3339 (default: ever)')
    gap.add_argument(
        "--limit", type=int, metavar="N", help=f"rows shown (default: {_ROWS}; with --json {_ROWS_JSON:,})"
    )
    for action, act in ((show, _show), (gap, _gaps)):
        action.add_argument("--lead-type", metavar="ID", help="this one only")
        action.add_argument("--out", type=Path, metavar="FILE.svg", help="write the map there; - is standard output")
        shared.config_dir(action)
        shared.state_dir(action)
        shared.json_output(action)
        action.set_defaults(action=act, run=run)


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    code: int = options.action(options)
    return code


# -- show ----------------------------------------------------------------------------------------


def _show(options: argparse.Namespace) -> int:
    chosen = _chosen(territories(_terms(options)), options)
    title = f"Coverage: {', '.join(options.ids) or options.lead_type or 'everybody'}"
    buyers = len({one.buyer_id for one in chosen})
    subtitle = f"{_count(len(chosen), 'contract')} of {_count(buyers, 'buyer')}; one dot a postal code"
    written = _write(options, draw(title, subtitle, _layers(chosen)), Path("coverage.svg"))
    if options.json:
        found = {"contracts": summary(chosen), "buyers_at": overlaps(chosen), "map": written}
        print_json(found)
    else:
        _say(options, [*_show_lines(chosen), f"map: {written}"])
    return DONE


def _chosen(covered: Sequence[Territory], options: argparse.Namespace) -> list[Territory]:
    """The contracts asked for: live ones, or those named, whatever their status."""
    unknown = [own for own in options.ids if not any(own in (one.contract_id, one.buyer_id) for one in covered)]
    if unknown:
        raise CommandError(USAGE, f"no contract with coverage, and no buyer with one, is called {unknown[0]}")
    return [
        one
        for one in covered
        if options.lead_type in (None, one.lead_type)
        and (one.contract_id in options.ids or one.buyer_id in options.ids if options.ids else one.live)
    ]


def _layers(chosen: Sequence[Territory]) -> list[Layer]:
    counts = buyers_at(chosen)
    layers = [Layer("nobody", SHADES[0], us().codes.keys() - counts.keys())]
    for buyers in range(1, _MANY + 1):
        codes = [code for code, n in counts.items() if n == buyers or (buyers == _MANY and n > _MANY)]
        if codes:
            label = f"{_MANY} buyers and more" if buyers == _MANY else _count(buyers, "buyer")
            layers.append(Layer(label, SHADES[buyers], codes))
    return layers


def _show_lines(chosen: Sequence[Territory]) -> list[str]:
    head = ("contract", "buyer", "lead type", "codes", "most of them in")
    rows = [
        (
            one.contract_id + ("" if one.live else " (not live)"),
            one.buyer_id,
            one.lead_type,
            "everywhere" if one.coverage.everywhere and not one.coverage.excluded else f"{len(one.codes):,}",
            _states(states_of(one.codes), 6) if one.coverage.country == "US" else one.coverage.country,
        )
        for one in chosen
    ]
    shared_codes = [
        (f"{n} buyers" if n != 1 else "1 buyer", f"{codes:,} codes") for n, codes in overlaps(chosen).items()
    ]
    return [*columns([head, *rows]), "", *columns(shared_codes), ""]


# -- gaps ----------------------------------------------------------------------------------------


def _gaps(options: argparse.Namespace) -> int:
    terms = _terms(options)
    kinds = [options.lead_type] if options.lead_type else sorted(terms.lead_types)
    if options.lead_type and options.lead_type not in terms.lead_types:
        raise CommandError(
            USAGE, f"there is no lead type {options.lead_type}", f"There are {', '.join(terms.lead_types)}."
        )
    try:
        seen = demand(options.state, since_ns=since(options.since))
    except LedgerError as error:
        raise CommandError(DISK, str(error), error.hint) from None
    found = gaps(territories(terms), seen.spots if seen else {}, kinds)
    written = _write(options, _gap_map(found, kinds), None)
    counts = {kind: seen.of_type[kind] if seen else 0 for kind in kinds}
    if options.json:
        tables = {kind: gaps_summary(found[kind], counts[kind], rows_max=options.limit or _ROWS_JSON) for kind in kinds}
        print_json({"lead_types": tables, "ledger": _ledger(seen), "map": written})
        return DONE
    lines = [line for kind in kinds for line in _gap_lines(kind, found[kind], counts[kind], options.limit or _ROWS)]
    lines += [_weighed(seen), *([f"map: {written}"] if written else [])]
    _say(options, lines)
    return DONE


def _ledger(seen: Demand | None) -> dict[str, int] | None:
    if seen is None:
        return None
    return {"leads": seen.total, "without_postal_code": seen.unknown, "forgotten": seen.forgotten}


def _weighed(seen: Demand | None) -> str:
    if seen is None:
        return "not weighed: there is no ledger here (--state names another)"
    forgotten = (
        f"; {seen.forgotten} more were forgotten since, and nobody knows from where they came" if seen.forgotten else ""
    )
    return f"weighed by {_count(seen.total - seen.forgotten, 'lead')}{forgotten}"


def _gap_lines(kind: str, found: Sequence[Gap], leads: int, rows_max: int) -> list[str]:
    table = gaps_summary(found, leads)
    lines = [
        f"{kind}: {table['none']:,} postal codes that nobody covers, {table['leads_none']:,} of {leads:,} leads",
        f"{' ' * len(kind)}  {table['one']:,} that one buyer covers, {table['leads_one']:,} leads",
    ]
    states = list(table["states"].items())[:_STATES]
    if states:
        head = ("state", "nobody", "leads", "one buyer", "leads")
        rows = [
            (name or "abroad", *(f"{at[key]:,}" for key in ("none", "leads_none", "one", "leads_one")))
            for name, at in states
        ]
        lines += ["", *columns([head, *rows], indent="  ")]
        if len(table["states"]) > _STATES:
            lines.append(f"  and {len(table['states']) - _STATES} more states")
    weighty = [gap for gap in found if gap.leads][:rows_max]
    if weighty:
        rows_of = [
            (gap.postal_code, f"{gap.city}, {gap.state}".strip(", "), f"{gap.leads:,}", gap.buyer_id or "nobody")
            for gap in weighty
        ]
        lines += ["", *columns([("code", "place", "leads", "covered by"), *rows_of], indent="  ")]
        more = sum(bool(gap.leads) for gap in found) - len(weighty)
        if more:
            lines.append(f"  and {more} more codes that leads came from (--limit shows them)")
    return [*lines, ""]


def _gap_map(found: dict[str, list[Gap]], kinds: Sequence[str]) -> str:
    """Codes by the worst of the lead types shown, and the leads that nobody could have had."""
    every = [gap for kind in kinds for gap in found[kind]]
    none = {gap.postal_code for gap in every if gap.buyers == 0}
    one = {gap.postal_code for gap in every} - none
    lost: dict[str, int] = {}
    for gap in every:
        if gap.buyers == 0 and gap.leads:
            lost[gap.postal_code] = lost.get(gap.postal_code, 0) + gap.leads
    layers = [
        Layer("two buyers and more", SHADES[0], us().codes.keys() - none - one),
        Layer("one buyer", WARM, one),
        Layer("nobody", "#e3a39d", none),
    ]
    if lost:
        layers.append(Layer("leads came from where nobody is, by number", ALARM, lost, lost))
    subtitle = f"{', '.join(kinds)}; one dot a postal code, circles by the leads that came from there"
    return draw("Coverage gaps", subtitle, layers)


# -- both ----------------------------------------------------------------------------------------


def _terms(options: argparse.Namespace) -> Terms:
    loaded = load(options.config, options.state if options.state.is_dir() else None)
    if loaded.terms is None:
        first = errors(loaded.problems)[0]
        raise CommandError(CONFIG, first.line(), "`lead-router check` shows everything that is wrong.")
    return loaded.terms


def _write(options: argparse.Namespace, svg: str, default: Path | None) -> str | None:
    """Write the map, if there is a place for it; where it went."""
    path: Path | None = options.out or default
    if path is None:
        return None
    if str(path) == "-":
        if options.json:
            raise CommandError(USAGE, "--out - and --json both want standard output", "Name a file for the map.")
        print(svg, end="")
        return "-"
    try:
        path.write_text(svg, "utf-8")
    except OSError as error:
        raise CommandError(DISK, f"{path}: {error.strerror or error}") from None
    return str(path)


def _say(options: argparse.Namespace, lines: Iterable[str]) -> None:
    """Text goes to standard error where the map takes standard output."""
    stream = sys.stderr if str(options.out) == "-" else sys.stdout
    print("\n".join(lines), file=stream)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _states(states: Sequence[tuple[str, int]], most: int) -> str:
    shown = ", ".join(f"{state} {n:,}" for state, n in states[:most])
    return f"{shown}, ..." if len(states) > most else shown
