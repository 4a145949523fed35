"""Data files spoiled at random: their bytes, and tokens that matter to a format put where they do not belong."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

XML = (
    *(
        b"<",
        b">",
        b"</",
        b"/>",
        b"&",
        b"&amp;",
        b"&lt;",
        b"&#0;",
        b"&#x110000;",
        b"&undefined;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
    ),
    *(
        b"<object>",
        b"</object>",
        b"<object/>",
        b"<name>7</name>",
        b"<name/>",
        b"<name> </name>",
        b"<difficult>2</difficult>",
    ),
    *(
        b"<difficult>1</difficult>",
        b"<difficult/>",
        b"<annotation>",
        b"</annotation>",
        b'<?xml version="1.1"?>',
        b"<?x?>",
    ),
    *(
        b'<?xml version="1.0" encoding="utf-16"?>',
        b'<?xml version="1.0" encoding="no-such"?>',
        b'<?xml version="1.0" encoding="hex"?>',
    ),
    *(
        b'<!DOCTYPE a [<!ENTITY a "x">]>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    ),
    *(
        b"<a>" * 3000,
        b"<part><name>cat</name></part>",
        b"x" * 100_000,
        "é\u2028\U0001f600".encode(),
        b"\xff",
        b"\0",
        b"\x1b[31m",
    ),
)
JSON = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"0.5",
        b"1E5",
        b"[[[[",
    ),
    *(
        b"9" * 25,
        b"9" * 5000,
        b"-9223372036854775809",
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\\u001b[31m"',
        b'"a/../../b"',
        b'"/etc/passwd"',
    ),
    *(
        b'""',
        b'" "',
        b'"' + b"x" * 100_000 + b'"',
        b"[" * 3000,
        b'{"id": 1}',
        b'"id": 1',
        b'"name": 3',
        b"//",
        b"\\",
        b"\xff",
        b"\0",
    ),
)
TABLE = (
    *(
        b",",
        b",,",
        b"\t",
        b";",
        b"|",
        b'"',
        b'""',
        b"'",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ),
    *(
        b"1",
        b"0",
        b"-1",
        b"2",
        b"1.0",
        b"nan",
        b"true",
        b"yes",
        b"[",
        b"]",
        b'["0"]',
        b"0|1",
        b"|",
        b"0||1",
        b"test",
        b"train",
        b"val",
    ),
    *(
        b"../x.jpg",
        b"/etc/passwd",
        b"a" * 5000,
        b"x" * 200_000,
        "é\u2028\U0001f600".encode(),
        b"\x1b[31m",
        b"\x85",
        b"path",
        b"split",
        b"9" * 5000,
    ),
)
PARQUET = (b"PAR1", b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"pandas", b"path", b"\x15\x00\x15", b"ARROW:schema")
JPEG = (
    *(
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xd8\xff\xe0",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xc4",
        b"\xff\xda",
        b"\xff\xdb",
        b"\xff\xff",
        b"\xff\x00",
    ),
    *(
        b"\xff\xe1\x00\x08Exif\x00\x00",
        b"\xff\xe2",
        b"\xff\xee\x00\x0eAdobe",
        b"\xff\xfe\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a\xff\xff\xff\xff",
    ),
    *(
        b"II*\x00",
        b"MM\x00*",
        b"BM",
        b"RIFF\xff\xff\xff\xffWEBP",
        b"8BPS",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\x00\x00\x01\x00",
        b"P6\n99999 99999\n255\n",
    ),
)


def spoilt(content: bytes, tokens: Sequence[bytes], random: Random) -> bytes:
    """The content with one to four changes; `tokens` are what the format makes something of."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = _changed(content, tokens, random)
    return content


def _changed(content: bytes, tokens: Sequence[bytes], random: Random) -> bytes:
    at, to = sorted(random.randrange(len(content) + 1) for _ in range(2))
    short = min(to, at + random.choice((1, 1, 4, 30)))
    kind = random.randrange(9)
    if kind < 2:
        return content[:at] + random.choice(tokens) + content[at:]
    if kind == 2:
        return content[:at] + random.choice(tokens) + content[short:]
    if kind == 3:
        return content[:at] + content[short:]
    if kind == 4:
        return content[:at] + random.randbytes(random.choice((1, 2, 8))) + content[at + 1 :]
    if kind == 5:
        return content[: random.choice((at, to))]
    if kind == 6:
        return content[:to] + content[at:to] * random.choice((1, 2, 20)) + content[to:]
    if kind == 7:
        return content[:at] + content[to:]
    number = [place for place, byte in enumerate(content) if 48 <= byte < 58]
    if not number:
        return content[::-1]
    place = random.choice(number)
    return content[:place] + random.choice((b"9" * 30, b"-1", b"0.5", b"1e400", b"", b"0")) + content[place + 1 :]
