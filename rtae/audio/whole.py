"""Whether a file is all there: what its container promises against the bytes that follow.

libsndfile corrects the length of a cut wav, aiff or ogg when it opens one, and says nothing. So the headers are read
here: of the chunk with the audio its place and size, and in ogg the last page, which says that it is the last. An mp3
and a flac state their length in samples, which `AudioReader` compares with what it decodes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_CHUNKS = 1000  # before the audio; more is a damaged file
SLACK = 64  # bytes; some programs count a header into the size of its content, and so little is never heard
PAGE_BYTES = 65_307  # the longest page of an ogg
LAST_PAGE = 4  # the flag in its header
ID3_BYTES = 10
MP3_BYTES = 4096  # in which the first frame of an mp3 lies
LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")


@dataclass(frozen=True)
class Chunks:
    """How a container lays out its chunks: the place of the first one, and of each its name and size.

    header: their format for `struct`; audio: the name of the chunk with the sound; align: chunks start at multiples of
    so many bytes; inclusive: the size counts the header as well.
    """

    first: int
    header: str
    audio: bytes
    align: int = 2
    inclusive: bool = False


CONTAINERS = {
    b"RIFF": Chunks(12, "<4sI", b"data"),
    b"RIFX": Chunks(12, ">4sI", b"data"),
    b"RF64": Chunks(12, "<4sI", b"data"),
    b"BW64": Chunks(12, "<4sI", b"data"),
    b"FORM": Chunks(12, ">4sI", b"SSND"),
    b"caff": Chunks(8, ">4sQ", b"data", align=1),
    b"riff": Chunks(40, "<16sQ", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", align=8, inclusive=True),
}


def cut_short(path: Path) -> bool:
    """Whether an audio file ends before its container says; False where it does not say, or cannot be read."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            kind = file.read(4)
            check = OTHERS.get(kind)
            if check is not None:
                return check(file, length)
            return kind in CONTAINERS and chunk_is_cut(file, length, CONTAINERS[kind])
    except OSError:
        return False


def chunk_is_cut(file: BinaryIO, length: int, layout: Chunks) -> bool:
    """Whether the chunk with the audio claims more bytes than follow."""
    place, size_of_header, large = layout.first, struct.calcsize(layout.header), 0
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        header = file.read(size_of_header)
        if len(header) < size_of_header:
            return False  # no audio at all, which is another error
        name, size = struct.unpack(layout.header, header)
        if name == b"ds64":  # a wav over 4 GiB: the sizes of the file and of its audio, in 64 bits
            _, large = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        size -= size_of_header if layout.inclusive else 0
        place += size_of_header
        if name == layout.audio:
            size = large if size == 0xFFFF_FFFF and large else size
            return not left_open(size) and place + size > length + SLACK
        place += max(size, 0)
        place += -place % layout.align
    return False


def left_open(size: int) -> bool:
    """Whether a size is what programs write that cannot come back to the header: next to the end of some range.

    >>> left_open(0xFFFF_FFFF), left_open(0x7FFF_F000), left_open(1 << 30)
    (True, True, False)
    """
    return size >= 1 << 62 or any(end - 0x1_0000 <= size <= end for end in (0x8000_0000, 0xFFFF_FFFF))


def au_is_cut(file: BinaryIO, length: int) -> bool:
    """Whether a Sun or NeXT file claims more bytes than follow its header."""
    file.seek(0)
    header = file.read(12).ljust(12, b"\0")
    start, size = struct.unpack("<4xII" if header.startswith(b"dns.") else ">4xII", header)
    return not left_open(size) and start + size > length + SLACK


def ogg_is_cut(file: BinaryIO, length: int) -> bool:
    """Whether the last page of an ogg is not whole, or does not say that it is the last."""
    file.seek(max(0, length - 2 * PAGE_BYTES))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    whole = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return not (whole and page.startswith(b"OggS") and page[5] & LAST_PAGE)


def states_length(path: Path) -> bool:
    """Whether an mp3 says how long it is; else libsndfile guesses from the first frame. False if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(ID3_BYTES)
            size = 0
            if head.startswith(b"ID3") and len(head) == ID3_BYTES:  # seven bits a byte
                size = ID3_BYTES + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:]))
            file.seek(size)
            start = file.read(MP3_BYTES)
    except OSError:
        return False
    return any(tag in start for tag in LENGTH_TAGS)


OTHERS: dict[bytes, Callable[[BinaryIO, int], bool]] = {b"OggS": ogg_is_cut, b".snd": au_is_cut, b"dns.": au_is_cut}
