"""Courier's imapd, which knows UTF8=ACCEPT (RFC 6855) as dovecot 2.3 does not: for the one user of a fresh mailbox, who is logged in already.

    python3 courier.py DIRECTORY    where the packages are unpacked; prints the port, and serves until it is killed
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading

there = os.path.abspath(sys.argv[1])
with tempfile.TemporaryDirectory() as home:
    mailbox = os.path.join(home, "Maildir")
    for name in "cur", "new", "tmp":
        os.makedirs(os.path.join(mailbox, name))
    libraries = [os.path.dirname(path) for path in os.popen("find '%s/usr/lib' -name '*.so.*'" % there).read().split("\n") if path]
    environment = {
        "HOME": home, "MAILDIR": mailbox, "AUTHENTICATED": "user", "IMAP_USELOCKS": "0", "IMAP_KEYWORDS": "1",
        "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS NAMESPACE IDLE", "LD_LIBRARY_PATH": ":".join(sorted(set(libraries))),
    }
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def serve(connection):
        imapd = subprocess.Popen([os.path.join(there, "usr/bin/imapd"), "Maildir"], cwd=home, env=environment, stdin=connection,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        # Without its helper for notifications it says so before the greeting.
        first = imapd.stdout.readline()
        if b"[ALERT]" not in first:
            connection.sendall(first)
        while data := imapd.stdout.read(65536):
            connection.sendall(data)
        connection.close()
        imapd.wait()

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
