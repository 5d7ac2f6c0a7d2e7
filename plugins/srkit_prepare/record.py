"""What the ledger says of a photo and its faces."""

from __future__ import annotations

from typing_extensions import TypedDict

from srkit.batch.ledger import Row


class FaceRecord(TypedDict):
    """What became of a face; in pixels of the photo.

    Attributes:
        output: The crop's path below the folder of crops; empty if the face was rejected.
        reason: Why it was rejected.
        box: Left, top, right, bottom.
        probability: The detector's.
        landmarks: Both eyes, the nose, both corners of the mouth.
        scale: Pixels of the crop for one of the photo, along a line; None without a crop.
        outside: Share of the crop outside the photo.
    """

    output: str
    reason: str
    box: list[float]
    probability: float
    landmarks: list[tuple[float, float]]
    scale: float | None
    outside: float | None


class Record(TypedDict):
    """What became of a photo.

    Attributes:
        sha256: SHA-256 of its bytes; empty if they can't be read.
        status: ``read``, ``unreadable``, or ``gone``.
        reason: Why it can't be read.
        faces: Its faces, the largest first.
    """

    sha256: str
    status: str
    reason: str
    faces: list[FaceRecord]


class Line(Row, Record):
    """A photo's line in the ledger."""
