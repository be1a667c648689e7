#!/usr/bin/env python3
"""The other end of a TLS connection, over an OpenSSL that has X25519MLKEM768 (3.5 and newer), which pyOpenSSL's wheels bring.

  hybrid.py check             ends well where that OpenSSL is there
  hybrid.py server CERT KEY   prints its port; tells each client the group of the handshake, then sends a line back reversed
  hybrid.py client PORT CA    prints the group of the handshake and the line that comes back for "hello"
  hybrid.py mldsa DIR         makes root.pem, and leaf.pem with leaf.key for localhost, all with keys of ML-DSA-65
"""
import datetime
import socket
import struct
import sys

from OpenSSL import SSL

PATIENCE = struct.pack("ll", 20, 0)


def connection(context, sock):
    # The system's own timeout: Python's would make the socket one that does not block.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, PATIENCE)
    return SSL.Connection(context, sock)


def line(tls):
    got = b""
    while not got.endswith(b"\n"):
        got += tls.recv(1000)
    return got[:-1]


def serve(cert, key):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(cert)
    context.use_privatekey_file(key)
    listener = socket.create_server(("127.0.0.1", 0))
    print("port", listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        tls = connection(context, sock)
        tls.set_accept_state()
        try:
            tls.do_handshake()
            tls.sendall(tls.get_group_name().encode() + b"\n")
            tls.sendall(line(tls)[::-1] + b"\n")
            tls.shutdown()
        except SSL.Error as error:
            print("failed:", error, flush=True)
        sock.close()


def ask(port, ca):
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(ca)
    context.set_verify(SSL.VERIFY_PEER, lambda *given: bool(given[-1]))
    tls = connection(context, socket.create_connection(("127.0.0.1", int(port))))
    tls.set_tlsext_host_name(b"localhost")
    tls.set_connect_state()
    tls.do_handshake()
    tls.sendall(b"hello\n")
    print(tls.get_group_name(), line(tls).decode(), flush=True)
    tls.shutdown()


def mldsa(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.timezone.utc)
    name = {word: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, word)]) for word in ("root", "leaf")}
    key = {word: MLDSA65PrivateKey.generate() for word in name}
    for word in name:
        builder = x509.CertificateBuilder(name["root"], name[word], key[word].public_key(), x509.random_serial_number(), now - day, now + day)
        builder = builder.add_extension(x509.BasicConstraints(word == "root", None), True)
        if word == "leaf":
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        with open(f"{folder}/{word}.pem", "wb") as file:
            file.write(builder.sign(key["root"], None).public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(f"{folder}/leaf.key", "wb") as file:
        file.write(key["leaf"].private_bytes(*private))


if sys.argv[1] == "server":
    serve(*sys.argv[2:])
elif sys.argv[1] == "client":
    ask(*sys.argv[2:])
elif sys.argv[1] == "mldsa":
    mldsa(sys.argv[2])
else:
    assert SSL.OPENSSL_VERSION_NUMBER >= 0x30500000 and hasattr(SSL.Connection, "get_group_name")
