"""WebDataset shards as a stream of images, for sets that outgrow a disk.

Shards are shuffled anew each epoch and dealt out to workers; each worker reads its own in order
and shuffles samples in a buffer. All of that follows from the seed and the number of workers, so a
resumed run reads up to its place again, without decoding what it passes.
"""

from __future__ import annotations

import glob
import random
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import torch
import webdataset.shardlists

from srkit import InputError, seeds
from srkit_webdataset.tars import is_local, read

BUFFER = 1000  # samples that a worker shuffles among each other
BUFFER_BYTES = 256 << 20  # of them, encoded; large images are shuffled among fewer
_SHARDS, _SAMPLES = 11, 12  # purposes of the seed

Sample = tuple[int, str, bytes | None]  # epoch, name, encoded image


class Shards:
    """The images of tar archives.

    Args:
        pattern: Files and URLs, with braces as in ``{000..009}``, and ``*`` in local paths.

    Raises:
        InputError: There are no such files.
    """

    def __init__(self, pattern: str) -> None:
        self.urls = expand(pattern)

    @property
    def shards(self) -> int:
        """Number of archives."""
        return len(self.urls)

    def identity(self) -> Sequence[str]:
        """Return the URLs of all shards."""
        return self.urls

    def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
        for url in self.urls:
            yield from read(url)

    def samples(self, seed: int, part: int, parts: int, skip: int) -> Iterator[Sample]:
        """Yield a worker's samples, epoch after epoch, but for the first ``skip``.

        Raises:
            InputError: A shard can't be read, or there is nothing in any of them.
        """
        sizes: dict[str, int] = {}
        for epoch in count():
            order = _random(seed, _SHARDS, epoch)
            places = {url: order.random() for url in self.urls}
            urls = sorted(self.urls, key=places.__getitem__)[part::parts]
            if all(url in sizes for url in urls):  # an epoch that is over needn't be read again
                total = sum(sizes[url] for url in urls)
                # Another epoch may deal this worker shards that aren't empty.
                if not any(sizes.values()) and len(sizes) == len(self.urls):
                    raise InputError(f"no images in {', '.join(self.urls[:3])}")
                if total <= skip:
                    skip -= total
                    continue
            for name, encoded in _shuffled(urls, _random(seed, _SAMPLES, epoch, part), sizes):
                if skip:
                    skip -= 1
                else:
                    yield epoch, name, encoded


def expand(pattern: str) -> list[str]:
    """Return the URLs a pattern stands for.

    Raises:
        InputError: There are no such files.
    """
    try:
        urls = webdataset.shardlists.expand_urls(pattern)
    except (ValueError, AssertionError) as error:  # braces; ${x} that isn't in the environment
        raise InputError(f"{pattern}: {error}") from error
    shards: list[str] = []
    for url in urls:
        if not is_local(url):
            shards.append(url)
            continue
        # Path.glob knows no absolute patterns; a name may have brackets of its own.
        files = [url] if Path(url).is_file() else sorted(glob.glob(url))  # noqa: PTH207
        if not files:
            raise InputError(f"no shard at '{url}'")
        shards += files
    return list(dict.fromkeys(shards))


def _random(seed: int, *keys: int) -> random.Random:
    return random.Random(int(seeds.derive(torch.tensor([seed]), *keys)))


def _shuffled(
    urls: list[str], generator: random.Random, sizes: dict[str, int]
) -> Iterator[tuple[str, bytes | None]]:
    """Yield an epoch's samples from a buffer, at random; note how many each shard has."""
    buffer: list[tuple[str, bytes | None]] = []
    held = 0
    for url in urls:
        size = 0
        for sample in read(url):
            size += 1
            buffer.append(sample)
            held += len(sample[1] or b"")
            while len(buffer) > BUFFER or held > BUFFER_BYTES:
                drawn = _drawn(buffer, generator)
                held -= len(drawn[1] or b"")
                yield drawn
        sizes[url] = size
    while buffer:
        yield _drawn(buffer, generator)


def _drawn(
    buffer: list[tuple[str, bytes | None]], generator: random.Random
) -> tuple[str, bytes | None]:
    place = int(generator.random() * len(buffer))  # random() is what Python keeps as it is
    buffer[place], buffer[-1] = buffer[-1], buffer[place]
    return buffer.pop()
