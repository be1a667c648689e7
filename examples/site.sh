#!/bin/sh
# Builds the launcher, and visits a site with sessions as a browser would: with a cookie jar, a form and its hidden token.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

mkdir "$work/public"
echo 'p { color: teal }' >"$work/public/style.css"
echo 'nobody sees this' >"$work/public/.secret.txt"
mkfifo "$work/ports"
"$caspian_net" --allow-listen=127.0.0.1:0 "--allow-fs=$work/public" examples/site.lua 0 "$work/public" >"$work/ports" &
server=$!
read -r port <"$work/ports"

visit() { curl -sS --max-time 10 -b "$work/jar" -c "$work/jar" "$@"; }
site="http://127.0.0.1:$port"

visit "$site/" | tee "$work/page"
grep -q 'Who are you?' "$work/page"
token=$(sed -n 's/.*name="csrf_token" value="\([^"]*\)".*/\1/p' "$work/page")
visit -L --data-urlencode 'who=Ada & <Charles>' -d "csrf_token=$token" "$site/who" | tee "$work/page"
grep -q 'Hello, Ada &amp; &lt;Charles&gt;!' "$work/page"
visit -o /dev/null -w 'a forged form: %{http_code}\n' -d who=Eve "$site/who" | tee "$work/page"
grep -q ': 403' "$work/page"
visit -D - -o /dev/null "$site/" | grep -i '^content-security-policy: '
visit "$site/style.css"
visit -o /dev/null -w 'a file with a dot in front: %{http_code}\n' "$site/.secret.txt" | tee "$work/page"
grep -q ': 404' "$work/page"
visit -o /dev/null -w 'leaving: %{http_code}\n' -H "X-CSRF-Token: $token" -d "" "$site/leave"
visit "$site/" >"$work/page"
grep "Who are you?" "$work/page"
