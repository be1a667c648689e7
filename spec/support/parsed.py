"""What Python's `email` reads in a message, as a Lua table.

    python3 parsed.py FILE

{ headers = { { name, value }, … }, defects = number, parts = { { type, disposition, filename, cid, encoding, charset, length, sha256, text }, … } }:
the parts in order, those that hold others too. Standard input where FILE is `-`.
"""

import email
import email.policy
import hashlib
import sys


def quoted(value):
    if value is None:
        return "nil"
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return '"%s"' % "".join("\\%03d" % byte for byte in data)


def main(path):
    file = sys.stdin.buffer if path == "-" else open(path, "rb")
    message = email.message_from_binary_file(file, policy=email.policy.SMTPUTF8)
    print("return {")
    print("  headers = { %s }," % ", ".join("{ %s, %s }" % (quoted(n), quoted(str(v))) for n, v in message.items()))
    defects = sum(len(part.defects) + sum(len(v.defects) for v in part.values()) for part in message.walk())
    print("  defects = %d," % defects)
    print("  parts = {")
    for part in message.walk():
        many = part.get_content_maintype() in ("multipart", "message")
        data = b"" if many else part.get_payload(decode=True)
        print("    { type = %s, disposition = %s, filename = %s, cid = %s, encoding = %s, charset = %s, length = %d, sha256 = %s, text = %s }," % (
            quoted(part.get_content_type()), quoted(part.get_content_disposition()), quoted(part.get_filename()), quoted(part["Content-ID"]),
            quoted(part["Content-Transfer-Encoding"]), quoted(part.get_content_charset()), len(data),
            quoted(hashlib.sha256(data).hexdigest()), quoted(data) if len(data) < 4096 else "nil"))
    print("  },")
    print("}")


main(sys.argv[1])
