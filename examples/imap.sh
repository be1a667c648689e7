#!/bin/sh
# Builds the launcher, starts dovecot on loopback, puts two messages into an inbox, reads it with examples/inbox.lua, and waits for a third with
# examples/idle.lua, each under the grants that this takes. Needs Debian's dovecot-imapd and dovecot-pop3d, and openssl.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null
port=
for first in 20143 21143 22143 23143 24143; do
  if spec/support/dovecot "$work" $first $((first + 1)) $((first + 2)) $((first + 3)) $((first + 4)) 2>/dev/null; then port=$first && break; fi
done
[ -n "$port" ] || { echo "dovecot does not start" >&2 && exit 1; }
# It is nobody's child: ended by its number, at the end.
trap 'kill "$(cat "$work/dovecot.pid")" && rm -rf "$(cat "$work/dovecot/run")" && stop' EXIT
export MAIL_PASSWORD=s3cret
set -- "--allow-net=localhost:$port" "--allow-fs=$work" --allow-env=MAIL_PASSWORD

# append SUBJECT: a message with an attachment, by another client (Python's imaplib).
append() {
  python3 - "$port" "$1" <<'PY'
import imaplib, sys
from email.message import EmailMessage
message = EmailMessage()
message["From"], message["To"], message["Subject"] = "Jörg <joerg@example.com>", "ann@example.com", sys.argv[2]
message.set_content("Hello\n")
message.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="täble.csv")
m = imaplib.IMAP4("localhost", int(sys.argv[1]))
m.login("ann", "s3cret")
m.append("INBOX", None, None, message.as_bytes())
m.logout()
PY
}

append 'Grüße'
append 'a second one'
"$caspian_net" "$@" examples/inbox.lua localhost "$port" ann "$work/server.pem" | tee "$work/read"
grep -q '^1: Jörg <joerg@example.com>: Grüße$' "$work/read"
grep -q 'täble.csv, text/csv, 4 bytes' "$work/read"
"$caspian_net" "$@" examples/inbox.lua localhost "$port" ann "$work/server.pem" | tee "$work/read"
[ "$(cat "$work/read")" = '2 messages' ]

mkfifo "$work/waits"
"$caspian_net" "$@" examples/idle.lua localhost "$port" ann "$work/server.pem" 1 >"$work/waits" &
{
  read -r line
  echo "$line"
  append 'a third one'
  read -r line
  echo "$line"
  [ "$line" = 'new: a third one' ]
} <"$work/waits"
wait $!
