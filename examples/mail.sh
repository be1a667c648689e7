#!/bin/sh
# Builds the launcher, starts a mail server by another author (Debian's python3-aiosmtpd), sends it a mail with examples/mail.lua under
# the grants that this takes, and looks whether the attachment arrived.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

python=python3
"$python" -c 'import aiosmtpd, pyftpdlib' 2>/dev/null || python=/usr/bin/python3
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$work/key.pem" -out "$work/ca.pem" 2>/dev/null
"$python" -B spec/support/mail_files.py "$work" "$work/ca.pem" "$work/key.pem"
server=$(cat "$work/mail_files.pid")
port=$(sed -n 's/.* tls = \([0-9]*\),.*/\1/p' "$work/mail_files.lua")

printf 'what was asked for\n' >"$work/report.txt"
MAIL_PASSWORD=s3cret "$caspian_net" "--allow-net=localhost:$port" "--allow-fs=$work" --allow-env=MAIL_PASSWORD \
  examples/mail.lua localhost "$port" user ann@example.com bob@example.com "$work/report.txt" "$work/ca.pem"

# The server keeps the last message as a Lua table, every byte as \ddd.
"$caspian_net" "--allow-fs=$work" -e "
  local kept = load(io.open('$work/mail'):read('a'))()
  assert(kept.tls and kept.login == 'user' and kept.from == 'ann@example.com' and kept.rcpt[1] == 'bob@example.com')
  assert(kept.content:find('d2hhdCB3YXMgYXNrZWQgZm9yCg==', 1, true), 'the attachment, in base64')
  print('and it arrived')"
