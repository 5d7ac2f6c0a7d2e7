"""Documents that are broken in many ways, the same ones for a seed; see `test_drill_foreign`."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Trap:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


# In the place of any value: of other types, beyond what fits, and what steers terminals or paths.
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 1, 2, 3, 10**6, 10**9, 2**63, 10**30, -(2**70)),
    *(0.5, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan")),
    *("", " ", "x", "x" * 10_000, "0", "\x1b[2J\x07\n\rsrkit: done", "../../../etc/passwd"),
    *("/dev/zero", "a\0b", "\u202e\u2028", "\ud800", "%s{0}$(id)", "hf://a/b", "inception-gan"),
    *([], {}, [[]], [None], {"": {}}, [1, "a", None], {"name": 5}, [0] * 1000),
]


class Documents:
    """Mutants of JSON or TOML."""

    def __init__(self, seed: int, dump: Callable[[Any], str]) -> None:
        self.draw = random.Random(seed)
        self.dump = dump

    def mutant(self, values: Any) -> bytes:
        """Return another document each time: one third of them are broken as text."""
        if self.draw.random() < 0.35:
            return self._torn(self.dump(values).encode())
        values = copy.deepcopy(values)
        for _ in range(self.draw.choice([1, 1, 1, 2, 4])):
            values = self._changed(values)
        try:
            return self.dump(values).encode("utf-8", "surrogatepass")
        except (
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ):  # TOML has no null, nor a table of a list
            return self._torn(str(values).encode("utf-8", "surrogatepass"))

    def _changed(self, values: Any) -> Any:
        """Change one value somewhere."""
        places = list(_places(values))
        if not places:
            return self.draw.choice(HOSTILE)
        table, key = self.draw.choice(places)
        kind = self.draw.randrange(6)
        if kind == 0:
            del table[key]
        elif kind == 1 and isinstance(table, dict):
            table[self.draw.choice(["", "x" * 5000, "\x1b[31m", "__class__", "..", "name"])] = 1
        elif kind == 2:
            table[key] = _nested(self.draw.choice([40, 70, 300]))
        elif kind == 3:
            _, other = self.draw.choice(places), self.draw.choice(places)
            table[key] = copy.deepcopy(other[0][other[1]])
        else:
            table[key] = self.draw.choice(HOSTILE)
        return values

    def _torn(self, text: bytes) -> bytes:
        place = self.draw.randrange(len(text) + 1)
        digits = b"9" * self.draw.choice([30, 400, 6000])
        end = place + self.draw.randint(1, 40)
        return self.draw.choice(
            [
                text[:place],
                text[:place] + b"[" * 60_000 + text[place:],
                text[:place] + digits + text[place:],
                text[:place] + self.draw.randbytes(8) + text[place:],
                text[:place] + b"\0" + text[place:],
                text[:place] + text[end:],
                text[:place] * 2 + text[place:],
                b"\xef\xbb\xbf" + text,
                text.decode(errors="replace").encode("utf-16"),
                b"",
                b"\n" * 5000,
                b"null",
                b"[" * 100_000 + b"]" * 100_000,
                b"a" + b".a" * 50_000 + b"=1",
                self.draw.randbytes(300),
            ]
        )


def _places(values: Any) -> Any:
    """Yield (table or list, key) of every value."""
    if isinstance(values, dict | list):
        for key in values if isinstance(values, dict) else range(len(values)):
            yield values, key
            yield from _places(values[key])


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def as_json(values: Any) -> str:
    return json.dumps(values)
