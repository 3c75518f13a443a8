"""From a file or raw bytes to text; or one line that says what it is instead."""

from __future__ import annotations

import re
from pathlib import Path

from reward_codegen.errors import ExtractionError

MAX_REPLY_CHARACTERS = 400_000
WANTED = "give Python source, or a reply that holds it, as UTF-8 text"
_MOST_BYTES = 4 * MAX_REPLY_CHARACTERS + 4  # of the characters admitted, each at its longest
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_KINDS = {
    b"PK\x03\x04": "a zip archive, or a document or .npz file made of one",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"(\xb5/\xfd": "a zstd archive",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a picture, sound or film",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format": "an SQLite database",
    b"\x7fELF": "a compiled program",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


def read_file(path: Path) -> bytes:
    """The bytes of a file with reward code; of a huge one the beginning, which `decode` refuses.

    Raises:
        ExtractionError: it is no file, or cannot be read.
    """
    try:
        if path.is_dir():
            raise ExtractionError(f"{path} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise ExtractionError(f"{path} is a device or a pipe, not a file")
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ExtractionError(f"{path}: {reason}") from None


def decode(reply: str | bytes) -> str:
    """The text of a reply: line feeds as line ends, no byte-order mark.

    UTF-8 is understood, and UTF-16 and UTF-32 that begin with a byte-order mark.

    Raises:
        ExtractionError: it is no text, or too long; the message says what it is.
    """
    if isinstance(reply, bytes):
        text = _decoded(reply)
    elif isinstance(reply, str):
        text = reply
    else:
        raise ExtractionError(f"the reply is not text but {type(reply).__name__}; {WANTED}")
    if len(text) > MAX_REPLY_CHARACTERS:
        raise ExtractionError(
            f"the text has more than the {MAX_REPLY_CHARACTERS:,} characters admitted; "
            "give two short functions"
        )
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    odd = _NO_CHARACTER.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        what = "a null byte" if odd.group() == "\0" else "half a surrogate pair"
        raise ExtractionError(f"line {line} of the text holds {what}; {WANTED}")
    return text


def _decoded(data: bytes) -> str:
    kind = _kind(data)
    if kind is not None:
        raise ExtractionError(f"this is {kind}, not text; {WANTED}")
    mark = next((mark for mark in _MARKS if data.startswith(mark)), None)
    encoding = "utf-8" if mark is None else _MARKS[mark]
    if len(data) > _MOST_BYTES:
        return " " * (MAX_REPLY_CHARACTERS + 1)  # too long, whatever it says
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ExtractionError(
            f"this is not {encoding.upper()} text (byte 0x{data[error.start]:02x} in line {line}); "
            "it may be Latin-1 or another old encoding; save it as UTF-8"
        ) from None


def _kind(data: bytes) -> str | None:
    """What a file is that is no text, as its first bytes tell."""
    for beginning, kind in _KINDS.items():
        if data.startswith(beginning):
            return kind
    if data[257:262] == b"ustar":
        return "a tar archive"
    if data[2:4] == b"\r\n" and data[1:2] == b"\r" and data[:1] >= b"\x80":
        return "compiled Python (.pyc)"
    head = data[:4096]
    if len(head) >= 4 and not data.startswith(tuple(_MARKS)):
        for start, order in ((1, "little"), (0, "big")):
            halves = head[start::2]
            if halves.count(0) > 0.8 * len(halves) and head.count(0) < 0.6 * len(head):
                return f"UTF-16 ({order}-endian) without a byte-order mark"
    return None
