"""XMP packets: what a new size or a turn makes wrong in them, and the provenance of a result.

A packet is changed where its bytes lie as long as that is enough; else it is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from xml.dom import minidom
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_META = "adobe:ns:meta/"
_GOOGLE = "http://ns.google.com/photos/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SRKIT = "urn:srkit:provenance:1.0/"
_PREFIXES = {"rdf": _RDF, "Iptc4xmpExt": _IPTC, "xmp": _XMP, "srkit": SRKIT}
_DEEPEST = 100  # elements within each other; Python's writer of XML calls itself for each
_EMPTY = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'

# Properties, or whole namespaces, of parts that no longer come with the image, or of old pixels.
_GONE = (
    ("http://ns.adobe.com/hdr-gain-map/1.0/", None, "its gain map was"),
    ("http://ns.apple.com/HDRGainMap/1.0/", None, "its gain map was"),
    (_GOOGLE + "container/", None, ""),
    (_GOOGLE + "camera/", None, "its attached files were"),
    (_GOOGLE + "depthmap/", None, "its depth map was"),
    (_GOOGLE + "image/", None, "its attached files were"),
    (_GOOGLE + "audio/", None, "its attached files were"),
    (_GOOGLE + "panorama/", None, "its panorama's geometry was"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP", "its extended XMP was"),
    (_XMP, "Thumbnails", ""),
    (_EXIF, "SubjectArea", ""),
    (_EXIF, "SubjectLocation", ""),
)
_TURNED = (  # places in the image as it was stored
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions", "its regions were"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo", "its regions were"),
)

# As attributes and as elements, with the usual prefixes only.
_VALUE = rb"""(?:\s*=\s*["']|\s*>\s*)"""
_ORIENTATION = re.compile(rb"(tiff:Orientation" + _VALUE + rb")([2-8])(?=\D)")
_SIZES = tuple(
    re.compile(rb"((?:tiff:Image%s|exif:Pixel%sDimension)" % names + _VALUE + rb")\d+")
    for names in ((b"Width", b"X"), (b"Length", b"Y"))
)
_REGION_SIZES = tuple(re.compile(rb"(stDim:%s" % n + _VALUE + rb")[\d.]+") for n in (b"w", b"h"))

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
    """

    model: str
    sha256: str | None
    version: str
    generated: bool


def orientation(xmp: bytes) -> int:
    """Return the orientation that a packet states, 1 (upright) to 8."""
    stated = _ORIENTATION.search(xmp)
    return int(stated[2]) if stated else 1


def upright(xmp: bytes, turned: bool) -> tuple[bytes, list[str]]:
    """Return a packet for the upright image alone, and a note for each part that was left out.

    Args:
        xmp: As it came.
        turned: Whether the image is turned.
    """
    xmp = _ORIENTATION.sub(rb"\g<1>1", xmp)
    gone = [
        (namespace, name, what)
        for namespace, name, what in _GONE + _TURNED * turned
        if namespace.encode() in xmp and (name or "").encode() in xmp
    ]
    if not gone:
        return xmp, []
    document = _parsed(xmp)
    if document is None:
        return b"", ["its XMP is broken and was left out"]
    root = _root(document)
    lost = [what for namespace, name, what in gone if _removed(root, namespace, name)]
    if not lost:
        return xmp, []
    notes = [f"{what} left out" for what in dict.fromkeys(lost) if what]
    return _packet(document) if _descriptions(root) else b"", notes


def fitted(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Return a packet that states an image's width and height as they are now."""
    patterns = [_SIZES]
    if b"AppliedToDimensions" in xmp:  # of regions, whose places are shares of it
        patterns.append(_REGION_SIZES)
    for pattern in patterns:
        for names, value in zip(pattern, size, strict=True):
            xmp = names.sub(rb"\g<1>%d" % value, xmp)
    return xmp


def stamp(xmp: bytes | None, origin: Origin) -> bytes:
    """State in an XMP packet what made an image.

    Args:
        xmp: The packet that came with the input; one that is not XMP, or that defines entities,
            is replaced.
        origin: What made it.

    Returns:
        The packet, UTF-8. ``Iptc4xmpExt:DigitalSourceType`` is by `Origin.generated`, or what the
        input stated if that is stronger: a fully generated image stays one.
    """
    document = _parsed(xmp or b"") or minidom.parseString(_EMPTY)
    root = _root(document)
    # All descriptions of a packet must be about the same.
    about = next((d.getAttributeNS(_RDF, "about") for d in _descriptions(root)), "")
    stated = _removed(root, _IPTC, "DigitalSourceType")
    _removed(root, _XMP, "CreatorTool")
    _removed(root, SRKIT, None)
    values = {
        "Iptc4xmpExt:DigitalSourceType": max(
            [COMPOSITE if origin.generated else ENHANCED, *stated],
            key=lambda value: _STRENGTH.index(value) if value in _STRENGTH else -1,
        ),
        "xmp:CreatorTool": f"srkit {origin.version}",
        "srkit:Model": origin.model,
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


def _removed(root: minidom.Element, namespace: str, name: str | None) -> list[str]:
    """Remove a property, or all of a namespace, from every description; return its values."""
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
        if not any(isinstance(c, minidom.Element) for c in description.childNodes) and all(
            a.namespaceURI == _XMLNS or (a.namespaceURI, a.localName) == (_RDF, "about")
            for a in (description.attributes or {}).values()
        ):
            root.removeChild(description)
    return [value.strip() for value in values]
