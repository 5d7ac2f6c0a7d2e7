"""What an image that a network made says of itself: XMP that programs and people can read.

The words are IPTC's, as C2PA, Google and others read them: an image whose network adds content
is a composite with trained algorithmic media, one that was only interpolated or measured by what
it was given is algorithmically enhanced. See `<https://cv.iptc.org/newscodes/digitalsourcetype/>`_.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.dom import minidom

from srkit.imaging import xmp as packets
from srkit.imaging.xmp import RDF, XMLNS, taken

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = SOURCE_TYPES + "algorithmicallyEnhanced"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
# What an input may say already, weakest first; no later step makes an image less artificial.
_STRENGTH = (
    ENHANCED,
    SOURCE_TYPES + "compositeSynthetic",
    COMPOSITE,
    SOURCE_TYPES + "trainedAlgorithmicMedia",
)
SRKIT = "urn:srkit:provenance:1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"


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


def stamp(xmp: bytes | None, origin: Origin) -> bytes:
    """Say in an XMP packet what made an image.

    Args:
        xmp: The packet that came with the input, kept but for what is said anew. One that isn't
            XMP, or that defines entities, is replaced.
        origin: What made it.

    Returns:
        The packet, UTF-8. ``Iptc4xmpExt:DigitalSourceType`` is as `Origin.generated` says, or
        what the input said, if that is stronger: a wholly generated image stays one.
    """
    document = packets.parsed(xmp) or packets.empty()
    root = document.getElementsByTagNameNS(RDF, "RDF")[0]
    about = packets.about(root)
    stated = taken(root, _IPTC, "DigitalSourceType")
    taken(root, _XMP, "CreatorTool")
    taken(root, SRKIT, None)
    meant = COMPOSITE if origin.generated else ENHANCED
    values = {
        "Iptc4xmpExt:DigitalSourceType": max([meant, *stated], key=_strength),
        "xmp:CreatorTool": f"srkit {origin.version}",
        "srkit:Model": origin.model,
        "srkit:SHA256": origin.sha256 or "",
    }
    root.appendChild(_description(document, about, values))
    return packets.packet(document)


def _strength(value: str) -> int:
    return _STRENGTH.index(value) if value in _STRENGTH else -1


def _description(document: minidom.Document, about: str, values: dict[str, str]) -> minidom.Element:
    """Return a description that needs no prefix from around it; empty values are left out."""
    element = document.createElementNS(RDF, "rdf:Description")
    prefixes = {"rdf": RDF, "Iptc4xmpExt": _IPTC, "xmp": _XMP, "srkit": SRKIT}
    for prefix, namespace in prefixes.items():
        element.setAttributeNS(XMLNS, f"xmlns:{prefix}", namespace)
    element.setAttributeNS(RDF, "rdf:about", about)
    for name, value in values.items():
        if value:
            child = document.createElementNS(prefixes[name.split(":")[0]], name)
            printable = "".join(c if c.isprintable() else "?" for c in value)  # XML has no others
            child.appendChild(document.createTextNode(printable))
            element.appendChild(child)
    return element
