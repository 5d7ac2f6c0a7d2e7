"""XMP packets: what of them a new size or a turn makes wrong, and what they promise no more.

A packet is changed where its bytes lie as long as that will do; else it is parsed.
"""

from __future__ import annotations

import re
from xml.dom import minidom
from xml.parsers import expat

from srkit.errors import InputError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMLNS = "http://www.w3.org/2000/xmlns/"
_META = "adobe:ns:meta/"
_GOOGLE = "http://ns.google.com/photos/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_DEEPEST = 100  # elements within each other; Python's writer of XML calls itself for each
_EMPTY = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
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
    ("http://ns.adobe.com/xap/1.0/", "Thumbnails", ""),
    (_EXIF, "SubjectArea", ""),
    (_EXIF, "SubjectLocation", ""),
)
_TURNED = (  # places in the image as it lay
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions", "its regions were"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo", "its regions were"),
)

# As attributes and as elements; what other prefixes stand for is another matter.
_VALUE = rb"""(?:\s*=\s*["']|\s*>\s*)"""
_ORIENTATION = re.compile(rb"(tiff:Orientation" + _VALUE + rb")([2-8])(?=\D)")
_SIZES = tuple(
    re.compile(rb"((?:tiff:Image%s|exif:Pixel%sDimension)" % names + _VALUE + rb")\d+")
    for names in ((b"Width", b"X"), (b"Length", b"Y"))
)
_REGION_SIZES = tuple(re.compile(rb"(stDim:%s" % n + _VALUE + rb")[\d.]+") for n in (b"w", b"h"))


def orientation(xmp: bytes) -> int:
    """Return the orientation that a packet states, 1 (upright) to 8."""
    stated = _ORIENTATION.search(xmp)
    return int(stated[2]) if stated else 1


def upright(xmp: bytes, turned: bool) -> tuple[bytes, list[str]]:
    """Return a packet for the image alone and upright, and what was left out of it.

    Args:
        xmp: As it came.
        turned: Whether the image is turned.
    """
    xmp = _ORIENTATION.sub(rb"\g<1>1", xmp)
    gone = [each for each in _GONE + _TURNED * turned if _may_have(xmp, *each[:2])]
    if not gone:
        return xmp, []
    document = parsed(xmp)
    if document is None:
        return b"", ["its XMP is broken and was left out"]
    root = document.getElementsByTagNameNS(RDF, "RDF")[0]
    lost = [what for namespace, name, what in gone if taken(root, namespace, name)]
    if not lost:
        return xmp, []
    notes = [f"{what} left out" for what in dict.fromkeys(lost) if what]
    return packet(document) if _descriptions(root) else b"", notes


def _may_have(xmp: bytes, namespace: str, name: str | None) -> bool:
    return namespace.encode() in xmp and (name or "").encode() in xmp


def fitted(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Return a packet in which the image's width and height are those given."""
    patterns = [_SIZES]
    if b"AppliedToDimensions" in xmp:  # of regions, whose places are shares of it
        patterns.append(_REGION_SIZES)
    for pattern in patterns:
        for names, value in zip(pattern, size, strict=True):
            xmp = names.sub(rb"\g<1>%d" % value, xmp)
    return xmp


def parsed(xmp: bytes | None) -> minidom.Document | None:
    """Parse a packet from anywhere; None if it is no XMP, defines entities or is too deep."""
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
    content = (xmp or b"").strip(b"\0 \t\r\n")
    try:
        parser.Parse(content, True)
        document = minidom.parseString(content)
    except (expat.ExpatError, InputError, ValueError, LookupError):
        return None
    return document if document.getElementsByTagNameNS(RDF, "RDF") else None


def empty() -> minidom.Document:
    """Return a packet that says nothing."""
    return minidom.parseString(_EMPTY)


def packet(document: minidom.Document) -> bytes:
    """Return a packet as it stands in a file, UTF-8."""
    assert document.documentElement
    return (_BEGIN + document.documentElement.toxml() + _END).encode("utf-8", "replace")


def taken(root: minidom.Element, namespace: str, name: str | None) -> list[str]:
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
        if not any(isinstance(c, minidom.Element) for c in description.childNodes) and all(
            a.namespaceURI == XMLNS or (a.namespaceURI, a.localName) == (RDF, "about")
            for a in (description.attributes or {}).values()
        ):
            root.removeChild(description)
    return [value.strip() for value in values]


def about(root: minidom.Element) -> str:
    """Return what the packet's descriptions are about; all must name the same."""
    return next((d.getAttributeNS(RDF, "about") for d in _descriptions(root)), "")


def _descriptions(root: minidom.Element) -> list[minidom.Element]:
    return [child for child in root.childNodes if isinstance(child, minidom.Element)]
