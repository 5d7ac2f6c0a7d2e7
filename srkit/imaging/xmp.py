"""XMP packets: what a new size or a turn makes wrong in them, and the provenance of a result.

Properties are found by their namespaces, as attributes and as elements, at any depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.dom import minidom
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from srkit.imaging import carried
from srkit.imaging.carried import NAMESPACES, Item

EXIF, IPTC, NOTE, TIFF, XMP = (NAMESPACES[n] for n in ("exif", "iptc", "note", "tiff", "xmp"))
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_META = "adobe:ns:meta/"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
SRKIT = "urn:srkit:provenance:1.0/"
_PREFIXES = {"rdf": _RDF, "Iptc4xmpExt": IPTC, "xmp": XMP, "srkit": SRKIT}
_DEEPEST = 100  # elements within each other; Python's writer of XML calls itself for each
_EMPTY = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'
# Widths and heights of the image; the last are those that regions are shares of.
_SIZES = (
    (TIFF, "ImageWidth", "ImageLength"),
    (EXIF, "PixelXDimension", "PixelYDimension"),
    (_DIMENSIONS, "w", "h"),
)

# IPTC's terms for the origin of an image, as C2PA, Google and others read them; see
# <https://cv.iptc.org/newscodes/digitalsourcetype/>. A network's result is a composite.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = SOURCE_TYPES + "algorithmicallyEnhanced"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
# Weakest first: no later step makes an image less artificial.
_STRENGTH = (
    ENHANCED,
    SOURCE_TYPES + "compositeSynthetic",
    COMPOSITE,
    SOURCE_TYPES + "trainedAlgorithmicMedia",
)


@dataclass(frozen=True)
class Origin:
    """What made an image's pixels.

    Attributes:
        model: Its name.
        sha256: Hash of its weights; None for a model without weights.
        version: Version of srkit.
        generated: Whether it adds detail that it learned from other images.
        engine: What computed it, and in which precision.
    """

    model: str
    sha256: str | None
    version: str
    generated: bool
    engine: str = ""


def orientation(xmp: bytes) -> int:
    """Return the orientation that a packet states, 1 (upright) to 8."""
    document = _parsed(xmp) if b"Orientation" in xmp else None
    values = [_value(node) for node in _nodes(document, TIFF, "Orientation")] if document else []
    return next((int(value) for value in values if value in {*"12345678"}), 1)


def upright(xmp: bytes, turned: bool, extended: Sequence[bytes] = ()) -> tuple[bytes, list[Item]]:
    """Return a packet for the upright image alone, and the items that were left out.

    ``extended`` are the segments of a JPEG with its extension. ValueError: it is broken.
    """
    document = _parsed(xmp)
    if document is None:
        raise ValueError("no XMP")
    lost = []
    if _nodes(document, NOTE, "HasExtendedXMP") and not _extend(document, extended):
        lost.append(carried.BY_NAME["extended XMP"])
    for node in _nodes(document, TIFF, "Orientation"):
        _set(node, "1")
    content = xmp + b"".join(extended)
    for item in carried.ITEMS:
        if not any(namespace.encode() in content for namespace, _ in item.xmp):
            continue
        if (turned or not item.turned or _in_pixels(document, item)) and _drop(document, item.xmp):
            lost.append(item)
    _drop(document, carried.LINKS)
    return _packet(document) if _descriptions(_root(document)) else b"", lost


def fitted(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Return a packet that states an image's width and height as they are now."""
    document = _parsed(xmp)
    if document is None:
        return xmp
    for namespace, *names in _SIZES:
        for name, value in zip(names, size, strict=True):
            for node in _nodes(document, namespace, name):
                if namespace != _DIMENSIONS or _is_of_regions(node):
                    _set(node, str(value))
    return _packet(document)


def stamp(xmp: bytes | None, origin: Origin) -> bytes:
    """State in an XMP packet what made an image; one that is not XMP, or has entities, is replaced.

    ``Iptc4xmpExt:DigitalSourceType`` is by `Origin.generated`, or what the input stated if that is
    stronger: a fully generated image stays one.
    """
    document = _parsed(xmp or b"") or minidom.parseString(_EMPTY)
    root = _root(document)
    # All descriptions of a packet must be about the same.
    about = next((d.getAttributeNS(_RDF, "about") for d in _descriptions(root)), "")
    stated = _drop(document, [(IPTC, "DigitalSourceType")])
    _drop(document, [(XMP, "CreatorTool"), (SRKIT, None)])
    values = {
        "Iptc4xmpExt:DigitalSourceType": max(
            [COMPOSITE if origin.generated else ENHANCED, *stated],
            key=lambda value: _STRENGTH.index(value) if value in _STRENGTH else -1,
        ),
        "xmp:CreatorTool": f"srkit {origin.version}",
        "srkit:Model": origin.model,
        "srkit:Engine": origin.engine,
        "srkit:SHA256": origin.sha256 or "",
    }
    description = root.appendChild(document.createElementNS(_RDF, "rdf:Description"))
    for prefix, namespace in _PREFIXES.items():
        description.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
    description.setAttributeNS(_RDF, "rdf:about", about)
    for name, value in values.items():
        if value:
            child = document.createElementNS(_PREFIXES[name.split(":")[0]], name)
            printable = "".join(c if c.isprintable() else "?" for c in value)  # XML has no others
            child.appendChild(document.createTextNode(printable))
            description.appendChild(child)
    return _packet(document)


def _parsed(xmp: bytes) -> minidom.Document | None:
    """Parse a packet; None if it is not XMP, has a document type (entities) or is too deep."""
    content = xmp.strip(b"\0 \t\r\n")
    depth = 0
    try:
        if "<!DOCTYPE" in content.decode():
            return None
        for event, _ in ElementTree.iterparse(BytesIO(content), ("start", "end")):
            depth += 1 if event == "start" else -1
            if depth > _DEEPEST:
                return None
        document = minidom.parseString(content)
    except (ElementTree.ParseError, ExpatError, ValueError, LookupError):
        return None
    return document if document.getElementsByTagNameNS(_RDF, "RDF") else None


def _packet(document: minidom.Document) -> bytes:
    """Return a packet as a file holds it, UTF-8."""
    assert document.documentElement
    return (_BEGIN + document.documentElement.toxml() + _END).encode("utf-8", "replace")


def _root(document: minidom.Document) -> minidom.Element:
    return document.getElementsByTagNameNS(_RDF, "RDF")[0]


def _descriptions(root: minidom.Element) -> list[minidom.Element]:
    return [child for child in root.childNodes if isinstance(child, minidom.Element)]


Node = Any  # minidom's types of attributes and elements have little in common


def _nodes(document: minidom.Document, namespace: str, name: str | None) -> list[Node]:
    """Return the attributes and elements of a name, or of all names of a namespace."""
    nodes: list[Node] = []
    for element in document.getElementsByTagNameNS("*", "*"):
        attributes = list((element.attributes or {}).values())
        nodes += [
            node
            for node in (element, *attributes)
            if node.namespaceURI == namespace and name in (None, node.localName)
        ]
    return nodes


def _value(node: Node) -> str:
    if isinstance(node, minidom.Attr):
        return str(node.value).strip()
    return "".join(child.data for child in node.childNodes if hasattr(child, "data")).strip()


def _set(node: Node, value: str) -> None:
    if isinstance(node, minidom.Attr):
        node.value = value
    else:
        node.childNodes = [node.ownerDocument.createTextNode(value)]


def _is_of_regions(node: Node) -> bool:
    element = node.ownerElement if isinstance(node, minidom.Attr) else node.parentNode
    while element is not None and element.localName != "AppliedToDimensions":
        element = element.parentNode
    return element is not None


def _in_pixels(document: minidom.Document, item: Item) -> bool:
    """Return whether regions count pixels of the old image."""
    return (IPTC, "ImageRegion") in item.xmp and any(
        _value(node) == "pixel" for node in _nodes(document, IPTC, "rbUnit")
    )


def _drop(document: minidom.Document, properties: Iterable[tuple[str, str | None]]) -> list[str]:
    """Remove properties, and descriptions that are empty without them; return their values."""
    nodes = [node for each in properties for node in _nodes(document, *each)]
    for node in nodes:
        if owner := getattr(node, "ownerElement", None):  # of an attribute
            owner.removeAttributeNode(node)
        elif node.parentNode:
            node.parentNode.removeChild(node)
    root = _root(document)
    for description in _descriptions(root):
        attributes = (description.attributes or {}).values()
        if not any(isinstance(child, minidom.Element) for child in description.childNodes) and all(
            a.namespaceURI == _XMLNS or (a.namespaceURI, a.localName) == (_RDF, "about")
            for a in attributes
        ):
            root.removeChild(description)
    return [_value(node) for node in nodes]


def _extend(document: minidom.Document, segments: Sequence[bytes]) -> bool:
    """Put the descriptions of an extension into a packet; return whether it is whole.

    See Adobe's XMP specification, part 3, section 1.1.3.1: behind the name, 32 digits by which the
    packet refers to it, its length, and this segment's place in it.
    """
    name = next(iter(map(_value, _nodes(document, NOTE, "HasExtendedXMP"))), "").encode()
    pieces = sorted(
        (int.from_bytes(each[36:40]), int.from_bytes(each[32:36]), each[40:])
        for each in segments
        if each[:32] == name
    )
    content = b"".join(piece for _, _, piece in pieces)
    extension = _parsed(content) if pieces and len(content) == pieces[0][1] else None
    if extension is None:
        return False
    for description in _descriptions(_root(extension)):
        _root(document).appendChild(document.importNode(description, True))
    return True
