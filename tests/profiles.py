"""Colour profiles for tests, made from nothing but numbers (ICC.1:2001-04, version 2)."""

from __future__ import annotations

import functools
import struct

import numpy as np
from PIL import Image, ImageCms

GAIN = 0.6  # a press of these profiles prints ink as the share of it to this power


def _text(name: bytes) -> bytes:
    return b"text\0\0\0\0" + name + b"\0"


def _description(name: bytes) -> bytes:
    body = struct.pack(">I", len(name) + 1) + name + b"\0" + bytes(4 + 4 + 2 + 1 + 67)
    return b"desc\0\0\0\0" + body


def _number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    white = b"XYZ \0\0\0\0" + b"".join(map(_number, (0.9642, 1.0, 0.8249)))
    tags = {
        b"desc": _description(b"for a test"),
        b"cprt": _text(b"CC0"),
        b"wtpt": white,
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0" + kind + space
    header += connection + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    header = header.ljust(68, b"\0") + b"".join(map(_number, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


@functools.cache
def grey() -> bytes:
    """Grey of gamma 1.8."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(1.8 * 256), 0)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


@functools.cache
def wide() -> bytes:
    """RGB of other primaries than sRGB's, of gamma 2.2 (Adobe RGB's, adapted to D50)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    corners = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
    tags = {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    for name, corner in zip((b"r", b"g", b"b"), corners, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(_number, corner))
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def _table(inputs: int, outputs: int, points: int, values: np.ndarray) -> bytes:
    """A table of 8 bits (``mft1``); ``values`` has the last input changing fastest."""
    same = bytes(range(256))
    matrix = b"".join(map(_number, np.eye(3).ravel()))
    head = b"mft1\0\0\0\0" + bytes([inputs, outputs, points, 0]) + matrix
    return head + same * inputs + values.astype(np.uint8).tobytes() + same * outputs


def _grid(points: int, channels: int) -> np.ndarray:
    axes = [np.linspace(0, 255, points).round()] * channels
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, channels)


def _through(values: np.ndarray, given: str, wanted: str) -> np.ndarray:
    profiles = {"RGB": ImageCms.createProfile("sRGB"), "LAB": ImageCms.createProfile("LAB")}
    turn = ImageCms.buildTransform(profiles[given], profiles[wanted], given, wanted)
    # Pillow's bytes have a and b with their sign; a table has them from 0 to 255 around 128.
    signs = {"RGB": np.zeros(3, np.uint8), "LAB": np.array([0, 128, 128], np.uint8)}
    content = values.astype(np.uint8) ^ signs[given]
    made = ImageCms.applyTransform(
        Image.frombytes(given, (len(values), 1), content.tobytes()), turn
    )
    assert made
    return np.frombuffer(made.tobytes(), np.uint8).reshape(-1, 3) ^ signs[wanted]


def light_of(inks: np.ndarray) -> np.ndarray:
    """What a press makes of inks (``N4``, 0 to 255) in sRGB, ``N3``."""
    printed = (inks / 255) ** GAIN
    return 255 * (1 - printed[:, :3]) * (1 - printed[:, 3:])


@functools.cache
def press() -> bytes:
    """CMYK as `light_of` prints it."""
    forth = _through(light_of(_grid(11, 4)).round(), "RGB", "LAB")
    grid = _grid(25, 3)
    light = _through(grid, "LAB", "RGB") / 255
    black = 1 - light.max(1, keepdims=True)
    colours = np.where(black < 1, (1 - light - black) / np.maximum(1 - black, 1e-6), 0)
    back = 255 * np.hstack([colours, black]) ** (1 / GAIN)
    tags = {
        b"A2B0": _table(4, 3, 11, forth),
        b"B2A0": _table(3, 4, 25, back.round()),
    }
    return _profile(b"prtr", b"CMYK", b"Lab ", tags)
