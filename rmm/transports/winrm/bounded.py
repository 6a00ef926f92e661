"""The one place where XML of an endpoint is parsed: UTF-8, without DTD or entities, bounded in every direction.

Sizes are bounded before (`http.BODY_LIMIT`, `psrp.MESSAGE_LIMIT`); what is counted here is what a small text can blow
up to. Callers get a tree of elements only: comments and processing instructions are dropped.
"""

from __future__ import annotations

from lxml import etree

from rmm.errors import ProtocolError

EXCERPT = 4096  # bytes of what could not be read that an error carries
MOST_MARKUP = 100_000  # `<` and `=` in one text: elements, end tags and attributes; each costs some 200 bytes parsed

# The encoding is ours to say, whatever a declaration says. huge_tree stays off: libxml2 then bounds a text (10 MB), a
# name (50 kB) and the depth (256) by itself.
_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
    attribute_defaults=False, huge_tree=False, remove_comments=True, remove_pis=True,
)  # fmt: skip


def parse(data: bytes, *, depth: int) -> etree._Element:
    """The document element of `data`, with at most `depth` elements inside each other.

    Raises:
        ProtocolError: xml.doctype, xml.malformed, xml.too_large or xml.depth.
    """
    markup = data.count(b"<")
    # In valid UTF-8 a byte search finds a document type however it is hidden; UTF-16 and UTF-32 have zero bytes.
    if b"\0" in data:
        raise ProtocolError("the answer is not UTF-8", code="xml.malformed")
    if b"<!DOCTYPE" in data:  # which entities need as well
        raise ProtocolError("the answer has a document type, which SOAP forbids", code="xml.doctype")
    if len(data) > MOST_MARKUP and markup + data.count(b"=") > MOST_MARKUP:
        raise ProtocolError("the answer has more elements than any that WinRM sends", code="xml.too_large")
    try:
        root = etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        # By number and place: libxml2's text would repeat what the endpoint wrote.
        number = getattr(error, "code", 0)
        place = f"line {error.lineno}, column {error.offset}"
        raise ProtocolError(f"the answer is not XML ({place}: error {number})", code="xml.malformed") from error
    except (ValueError, AssertionError, LookupError) as error:
        raise ProtocolError(f"the answer is not XML ({type(error).__name__})", code="xml.malformed") from error
    # An element needs a start tag and all but the innermost an end tag, so most answers cannot be too deep.
    if markup > 2 * depth:
        _check_depth(root, depth)
    return root


def excerpt(data: bytes) -> str:
    """The beginning of what could not be read, for `TransportError.sample`; whoever shows it scrubs it first."""
    return data[:EXCERPT].decode("utf-8", "replace")


def _check_depth(root: etree._Element, most: int) -> None:
    level = [root]
    for _ in range(most):
        level = [child for element in level for child in element]
        if not level:
            return
    raise ProtocolError("the answer is nested too deeply", code="xml.depth")
