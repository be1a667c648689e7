#!/bin/sh
# Builds the launcher, starts an FTP server by another author (Debian's python3-pyftpdlib), and mirrors its folder twice: the second time only
# what was cut and what is new is fetched.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

python=python3
"$python" -c 'import pyftpdlib' 2>/dev/null || python=/usr/bin/python3
mkdir "$work/pub" "$work/here"
mkdir "$work/pub/sub"
printf 'hello\n' >"$work/pub/hello.txt"
seq 100000 >"$work/pub/numbers"
"$python" -m pyftpdlib -i 127.0.0.1 -p 0 -d "$work/pub" 2>"$work/log" &
server=$!
port=
while [ -z "$port" ]; do
  sleep 0.05
  port=$(sed -n 's/.*starting FTP server on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$work/log")
  kill -0 "$server"
done

mirror() {
  "$caspian_net" --allow-net=127.0.0.1 "--allow-fs=$work/here" examples/mirror.lua 127.0.0.1 "$port" / "$work/here"
}
mirror
cmp "$work/pub/numbers" "$work/here/numbers"
head -c 1000 "$work/pub/numbers" >"$work/here/numbers"
printf 'new\n' >"$work/pub/new"
mirror | tee "$work/second"
cmp "$work/pub/numbers" "$work/here/numbers"
grep -q 'numbers: went on at 1000' "$work/second"
grep -q 'hello.txt: is there' "$work/second"
grep -q 'new: 4 bytes' "$work/second"
