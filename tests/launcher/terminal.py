"""A person at a terminal: runs argv[1:] on one, and plays the steps on standard input, each a JSON line: what is typed, and what must then
stand on the screen. Prints all that stood there; exits with the program's status, or with 99 where a step's words did not come."""
import json, os, pty, re, select, sys, time

DEADLINE = time.monotonic() + 40
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])

screen = ""


def more():
    """What the program has written, without what moves the cursor; False at its end."""
    global screen
    if not select.select([terminal], [], [], max(0, DEADLINE - time.monotonic()))[0]:
        return None
    try:
        data = os.read(terminal, 65536)
    except OSError:
        data = b""
    screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode("utf-8", "replace")).replace("\r", "")
    return bool(data)


seen = 0
for line in sys.stdin:
    typed, expected = json.loads(line)
    os.write(terminal, typed.encode())
    while screen.find(expected, seen) < 0:
        if not more():
            print(screen, "\n-- not there:", repr(expected), "after", repr(typed))
            os.kill(pid, 9)
            sys.exit(99)
    seen = screen.find(expected, seen) + len(expected)
while more():
    pass
print(screen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
