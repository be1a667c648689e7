"""A mail server (aiosmtpd) and a file server (pyftpdlib), both by other authors, for specs.

    python3 mail_files.py DIRECTORY CERTIFICATE KEY

Listens on free loopback ports, writes them to DIRECTORY/mail_files.lua and its process id to mail_files.pid, and goes to
the background: when it returns, it is ready. Both servers know the user "user" with the password "s3cret".

    mail    plain; offers AUTH. It keeps the last message in DIRECTORY/mail, as a Lua table
    tls     the same with STARTTLS, which it wants before AUTH
    ftp     the directory DIRECTORY/ftp, also for the anonymous user "ftp"
    old_ftp the same without EPSV and EPRT
"""

import asyncio
import os
import signal
import ssl
import sys
import threading

import daemon
from aiosmtpd.smtp import SMTP, AuthResult
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


def quoted(data):
    return '"%s"' % "".join("\\%03d" % byte for byte in data)


class Keep:
    def __init__(self, path):
        self.path = path

    async def handle_DATA(self, server, session, envelope):
        text = "return { from = %s, content = %s, login = %s, tls = %s, rcpt = { %s } }\n" % (
            quoted(envelope.mail_from.encode()),
            quoted(envelope.original_content),
            quoted(session.auth_data.login if session.authenticated else b""),
            "true" if session.ssl else "false",
            ", ".join(quoted(to.encode()) for to in envelope.rcpt_tos),
        )
        with open(self.path + ".new", "w") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"user" and data.password == b"s3cret", handled=False, auth_data=data)


async def mail(directory, certificate, key):
    """Answers the ports of the plain server and of the one with STARTTLS."""
    keep = Keep(os.path.join(directory, "mail"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()

    def plain():
        return SMTP(keep, hostname="localhost", authenticator=login, auth_require_tls=False)

    def tls():
        return SMTP(keep, hostname="localhost", authenticator=login, tls_context=context)

    servers = [await loop.create_server(make, "127.0.0.1", 0) for make in (plain, tls)]
    return [server.sockets[0].getsockname()[1] for server in servers]


class Old(FTPHandler):
    proto_cmds = {name: what for name, what in FTPHandler.proto_cmds.items() if name not in ("EPSV", "EPRT")}


def files(directory):
    """Answers the ports; the servers run in a thread."""
    home = os.path.join(directory, "ftp")
    os.makedirs(home, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "s3cret", home, perm="elradfmw")
    authorizer.add_user("ftp", "", home, perm="elr")
    authorizer.user_table["ftp"]["pwd"] = ""
    authorizer.validate_authentication = lambda user, password, handler: check(user, password)
    ports = []
    for name, base in (("ftp", FTPHandler), ("old_ftp", Old)):
        handler = type(name, (base,), {"authorizer": authorizer})
        server = FTPServer(("127.0.0.1", 0), handler)
        ports.append(server.socket.getsockname()[1])
    # Both live in one loop: pyftpdlib's is one for the process.
    threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True).start()
    return ports


def check(user, password):
    from pyftpdlib.authorizers import AuthenticationFailed

    if (user, password) != ("user", "s3cret") and user != "ftp":
        raise AuthenticationFailed("Authentication failed.")


async def main(directory, certificate, key, ready):
    ports = [*await mail(directory, certificate, key), *files(directory)]
    with open(os.path.join(directory, "mail_files.lua"), "w") as file:
        file.write("return { mail = %d, tls = %d, ftp = %d, old_ftp = %d, kept = %s, home = %s }\n" % (
            *ports, quoted(os.path.join(directory, "mail").encode()), quoted(os.path.join(directory, "ftp").encode())))
    with open(os.path.join(directory, "mail_files.pid"), "w") as file:
        file.write("%d\n" % os.getpid())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.write(ready, b"x")
    os.close(ready)
    await asyncio.Event().wait()


if __name__ == "__main__":
    log = os.path.join(sys.argv[1], "mail_files.log")
    daemon.run(log, lambda ready: asyncio.run(main(*sys.argv[1:4], ready)))
