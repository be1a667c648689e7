"""A server in the background: for the servers beside it."""

import os
import sys
import traceback


def run(log, serve):
    """Calls `serve(ready)` in a process of its own, which writes to the file `log`. Returns, by ending this process, when
    `serve` has written a byte to the descriptor `ready`; its exit status is 1 if that never comes."""
    waits, ready = os.pipe()
    if os.fork():
        os.close(ready)
        sys.exit(0 if os.read(waits, 1) else 1)
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(file, number)
    try:
        serve(ready)
    except Exception:
        traceback.print_exc()
        os._exit(1)
