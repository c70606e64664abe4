"""A document of a few kinds of block -> Markdown, or one HTML page that fetches nothing."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from msgspec import Struct


class Heading(Struct, frozen=True):
    """A heading; level 2 and 3, the title is level 1."""

    level: int
    text: str


class Text(Struct, frozen=True):
    """A paragraph. `code` stands between backticks, in every text of a document."""

    text: str


class Bullets(Struct, frozen=True):
    """A list."""

    items: tuple[str, ...]


class Table(Struct, frozen=True):
    """Rows below their heads."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Sample(Struct, frozen=True):
    """Lines as they are sent or typed."""

    text: str
    language: str = ""


Block = Heading | Text | Bullets | Table | Sample


class Document(Struct, frozen=True):
    """A title and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of any sequences."""
    return Table(tuple(heads), tuple(tuple(row) for row in rows))


def bullets(items: Sequence[str]) -> Bullets:
    """A list of any sequence, empty texts left out."""
    return Bullets(tuple(item for item in items if item))


# -- Markdown ------------------------------------------------------------------------------------


def markdown(document: Document) -> str:
    """The document as Markdown."""
    return "\n".join([f"# {document.title}", "", *(line for block in document.blocks for line in (*_lines(block), ""))])


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"{'#' * level} {text}"
        case Text(text):
            yield text
        case Bullets(items):
            yield from (f"* {item}" for item in items)
        case Table(heads, rows):
            yield _row(heads)
            yield "|" + "---|" * len(heads)
            yield from map(_row, rows)
        case Sample(text, language):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
            yield f"{fence}{language}"
            yield text.rstrip("\n")
            yield fence


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


# -- HTML ----------------------------------------------------------------------------------------

_CODE: Final = re.compile(r"`([^`]+)`")
_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2733;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid #d5d9de}h3{font-size:1.05rem}
table{border-collapse:collapse;width:100%;font-size:.92rem;display:block;overflow-x:auto}
th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #e4e7ea}
code,pre{font-family:ui-monospace,monospace;font-size:.88em}
code{background:#f2f4f6;padding:.1em .25em;border-radius:3px}
pre{background:#f2f4f6;padding:.8rem 1rem;overflow-x:auto;border-radius:4px}pre code{padding:0}
@media print{body{margin:0;max-width:none}pre,tr{break-inside:avoid}}
"""


def html(document: Document) -> str:
    """The document as a page of its own."""
    title = escape(document.title)
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n",
            *(f"{part}\n" for block in document.blocks for part in _tags(block)),
            "</body></html>\n",
        ]
    )


def _tags(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            yield f"<p>{_inline(text)}</p>"
        case Bullets(items):
            yield f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        case Table(heads, rows):
            yield f"<table><thead><tr>{''.join(f'<th>{_inline(head)}</th>' for head in heads)}</tr></thead><tbody>"
            for row in rows:
                yield f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>"
            yield "</tbody></table>"
        case Sample(text, _):
            yield f"<pre><code>{escape(text)}</code></pre>"


def _inline(text: str) -> str:
    return _CODE.sub(lambda match: f"<code>{match[1]}</code>", escape(text, quote=False))
