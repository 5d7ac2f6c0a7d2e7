"""What a picture that a network made says of itself: XMP that programs and people can read.

The words are IPTC's, as C2PA, Google and others read them: a picture whose network adds content
is a composite with trained algorithmic media, one that was only interpolated or measured by what
it was given is algorithmically enhanced. See `<https://cv.iptc.org/newscodes/digitalsourcetype/>`_.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.dom import minidom
from xml.parsers import expat

from srkit.errors import InputError

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = SOURCE_TYPES + "algorithmicallyEnhanced"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
# What an input may say already, weakest first; no later step makes a picture less artificial.
_STRENGTH = (
    ENHANCED,
    SOURCE_TYPES + "compositeSynthetic",
    COMPOSITE,
    SOURCE_TYPES + "trainedAlgorithmicMedia",
)

_META = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
SRKIT = "urn:srkit:provenance:1.0/"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_DEEPEST = 100  # elements within each other; Python's writer of XML calls itself for each
_EMPTY = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'


@dataclass(frozen=True)
class Origin:
    """What made a picture's pixels.

    Attributes:
        model: Its name.
        sha256: Of its weights; None for a model without weights.
        version: Of srkit.
        generated: Whether it adds detail that it learned from other pictures.
    """

    model: str
    sha256: str | None
    version: str
    generated: bool


def stamp(xmp: bytes | None, origin: Origin) -> bytes:
    """Say in an XMP packet what made a picture.

    Args:
        xmp: The packet that came with the input, kept but for what is said anew. One that isn't
            XMP, or that defines entities, is replaced.
        origin: What made it.

    Returns:
        The packet, UTF-8. ``Iptc4xmpExt:DigitalSourceType`` is as `Origin.generated` says, or
        what the input said, if that is stronger: a wholly generated picture stays one.
    """
    document = _parsed(xmp) if xmp else None
    root = _rdf(document) if document else None
    if document is None or root is None:
        document = minidom.parseString(_EMPTY)
        root = _rdf(document)
        assert root
    about = _about(root)
    said = _taken(root, _IPTC, "DigitalSourceType")
    _taken(root, _XMP, "CreatorTool")
    _taken(root, SRKIT, None)
    meant = COMPOSITE if origin.generated else ENHANCED
    values = {
        "Iptc4xmpExt:DigitalSourceType": max([meant, *said], key=_strength),
        "xmp:CreatorTool": f"srkit {origin.version}",
        "srkit:Model": origin.model,
        "srkit:SHA256": origin.sha256 or "",
    }
    root.appendChild(_description(document, about, values))
    text = (document.documentElement or root).toxml()
    return (_BEGIN + text + _END).encode("utf-8", "replace")


def source_type(xmp: bytes) -> str | None:
    """Return the ``DigitalSourceType`` that a packet states, or None."""
    document = _parsed(xmp)
    root = _rdf(document) if document else None
    return next(iter(_taken(root, _IPTC, "DigitalSourceType")), None) if root else None


def _strength(value: str) -> int:
    return _STRENGTH.index(value) if value in _STRENGTH else -1


def _parsed(xmp: bytes) -> minidom.Document | None:
    """Parse a packet from anywhere; None if it is no XML, defines entities or is too deep."""
    depth = 0

    def refuse(*_: object) -> None:
        raise InputError("XMP has no document type")

    def enter(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            refuse()

    def leave(*_: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse  # where entities are defined
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    packet = xmp.strip(b"\0 \t\r\n")
    try:
        parser.Parse(packet, True)
        return minidom.parseString(packet)
    except (expat.ExpatError, InputError, ValueError, LookupError):
        return None


def _rdf(document: minidom.Document) -> minidom.Element | None:
    return next(iter(document.getElementsByTagNameNS(_RDF, "RDF")), None)


def _taken(root: minidom.Element, namespace: str, name: str | None) -> list[str]:
    """Take a property, or all of a namespace, out of every description; return its values."""
    values = []
    for description in _descriptions(root):
        for attribute in list((description.attributes or {}).values()):
            if attribute.namespaceURI == namespace and name in (None, attribute.localName):
                values.append(attribute.value)
                description.removeAttributeNode(attribute)
        for child in list(description.childNodes):
            if child.namespaceURI == namespace and name in (None, child.localName):
                values.append("".join(n.data for n in child.childNodes if hasattr(n, "data")))
                description.removeChild(child)
        if not description.childNodes and all(
            a.namespaceURI == _XMLNS or (a.namespaceURI, a.localName) == (_RDF, "about")
            for a in (description.attributes or {}).values()
        ):
            root.removeChild(description)
    return [value.strip() for value in values]


def _descriptions(root: minidom.Element) -> list[minidom.Element]:
    return [child for child in root.childNodes if isinstance(child, minidom.Element)]


def _about(root: minidom.Element) -> str:
    """Return what the packet's descriptions are about; all must name the same."""
    return next((d.getAttributeNS(_RDF, "about") for d in _descriptions(root)), "")


def _description(document: minidom.Document, about: str, values: dict[str, str]) -> minidom.Element:
    """Return a description that needs no prefix from around it; empty values are left out."""
    made = document.createElementNS(_RDF, "rdf:Description")
    prefixes = {"rdf": _RDF, "Iptc4xmpExt": _IPTC, "xmp": _XMP, "srkit": SRKIT}
    for prefix, namespace in prefixes.items():
        made.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
    made.setAttributeNS(_RDF, "rdf:about", about)
    for name, value in values.items():
        if value:
            child = document.createElementNS(prefixes[name.split(":")[0]], name)
            printable = "".join(c if c.isprintable() else "?" for c in value)  # XML has no others
            child.appendChild(document.createTextNode(printable))
            made.appendChild(child)
    return made
