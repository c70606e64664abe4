"""Posting specifications from the terms themselves: what a source must send, what a buyer will receive.

They cannot drift from what is enforced, because nothing in them is written twice: fields, limits and rules are read off
the terms, and the sample requests are rendered by the very code that renders real ones.

    example      a made-up lead that fits a lead type
    for_source   lead types and a source -> `Document`
    for_buyer    a buyer's contracts and endpoints -> `Document`
    document     `Document` -> Markdown or HTML
"""

from router.onboarding.posting.document import Document, html, markdown
from router.onboarding.posting.for_buyer import buyer_document
from router.onboarding.posting.for_source import source_document

__all__ = ["Document", "buyer_document", "html", "markdown", "source_document"]
