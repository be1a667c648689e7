#!/usr/bin/python3
"""The reference decoders: zlib, brotli and zstd in C, behind Python.

`reference.py seeds` writes bodies that each encoder makes, `reference.py decode` reads records and writes what the decoders
make of them. A record is a coding (one byte) and a body (four bytes of length, little-endian, and the body); an answer is
0 (refused), 1 (whole) or 2 (more than MOST bytes) and the data in the same form. Around the decoders stands what our own
says of several members or frames: one that follows is decoded, and other bytes after the end are ignored.
"""
import random
import struct
import sys
import zlib

import brotli
import zstandard

GZIP, DEFLATE, BR, ZSTD = range(4)
MOST = 1 << 20


class TooMuch(Exception):
    pass


def inflate(body, wbits):
    """One zlib stream; what follows it."""
    stream = zlib.decompressobj(wbits)
    out = stream.decompress(body, MOST + 1)
    if len(out) > MOST:
        raise TooMuch
    if not stream.eof:
        raise ValueError("short")
    return out, stream.unused_data


def gzip(body):
    out = b""
    while True:
        more, body = inflate(body, 31)
        out += more
        if body[:1] != b"\x1f":
            return out
        if len(body) > 1 and body[1] != 0x8B:
            return out


def deflate(body):
    wrapped = len(body) > 1 and body[0] & 15 == 8 and body[0] >> 4 <= 7 and (body[0] << 8 | body[1]) % 31 == 0
    return inflate(body, 15 if wrapped else -15)[0]


def br(body):
    stream, out = brotli.Decompressor(), b""
    for at in range(len(body)):
        out += stream.process(body[at:at + 1])
        if len(out) > MOST:
            raise TooMuch
        if stream.is_finished():
            return out
    raise ValueError("short")


def zstd(body):
    out, seen = b"", False
    while body:
        if body[1:4] == b"\x2a\x4d\x18"[:len(body) - 1] and body[0] & 0xF0 == 0x50:
            if len(body) < 8 or len(body) < 8 + struct.unpack("<I", body[4:8])[0]:
                raise ValueError("short")
            body, seen = body[8 + struct.unpack("<I", body[4:8])[0]:], True
            continue
        if not body.startswith(b"\x28\xb5\x2f\xfd"[:len(body)]):
            if seen:
                return out
            raise ValueError("not zstd")
        stream = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()
        begun = len(out)
        for at in range(len(body)):
            out += stream.decompress(body[at:at + 1])
            if len(out) > MOST:
                raise TooMuch
            if stream.eof:
                # The reference checks this at a last block that holds something, and not at an empty one.
                said = zstandard.get_frame_parameters(body).content_size
                if said != zstandard.CONTENTSIZE_UNKNOWN and said != len(out) - begun:
                    raise ValueError("another length than it says")
                body, seen = body[at + 1:], True
                break
        else:
            raise ValueError("short")
    return out


DECODERS = (gzip, deflate, br, zstd)


def decode(coding, body):
    try:
        return 1, DECODERS[coding](body) if body else b""
    except TooMuch:
        return 2, b""
    except (ValueError, zlib.error, brotli.error, zstandard.ZstdError):
        return 0, b""


def seeds():
    dice = random.Random(7932)
    words = [bytes(dice.choice(b"etaoin shrdlu") for _ in range(dice.randrange(1, 9))) for _ in range(40)]
    texts = [b"", b"x", b"the of and to " * 3, b" ".join(dice.choice(words) for _ in range(120)),
             bytes(dice.randrange(256) for _ in range(90)), b"\0" * 70000, b"<html>\n" + b"<p>row</p>\n" * 30]
    for text in texts:
        for level in (0, 1, 6, 9):
            for coding, wbits in ((GZIP, 31), (DEFLATE, 15), (DEFLATE, -15)):
                stream = zlib.compressobj(level, zlib.DEFLATED, wbits)
                yield coding, stream.compress(text) + stream.flush()
        for quality in (0, 1, 5, 9, 11):
            yield BR, brotli.compress(text, quality=quality, lgwin=dice.choice((10, 16, 22)))
            # Flushes make meta-blocks.
            stream = brotli.Compressor(quality=quality)
            half = len(text) // 2
            yield BR, stream.process(text[:half]) + stream.flush() + stream.process(text[half:]) + stream.finish()
        for level in (1, 3, 12, 19):
            for checksum in (False, True):
                coder = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
                yield ZSTD, coder.compress(text)
                stream = coder.compressobj()
                yield ZSTD, stream.compress(text) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + stream.flush()


def main():
    out = sys.stdout.buffer
    if sys.argv[1] == "seeds":
        for coding, body in seeds():
            out.write(struct.pack("<BI", coding, len(body)) + body)
        return
    read = sys.stdin.buffer.read
    while head := read(5):
        coding, length = struct.unpack("<BI", head)
        verdict, data = decode(coding, read(length))
        out.write(struct.pack("<BI", verdict, len(data)) + data)
        out.flush()


main()
