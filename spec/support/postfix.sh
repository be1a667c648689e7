#!/bin/bash
# spec/support/postfix.sh DIRECTORY CERTIFICATE KEY SUBMISSION IMPLICIT PLAIN NARROW: a mail server (postfix) with logins (dovecot), for specs.
#
# Listens on those four loopback ports, writes them to DIRECTORY/postfix.lua, and returns when it is ready; `postfix.sh DIRECTORY stop` ends it.
# Postfix must begin as root: to anybody else, and where it is missing, postfix.lua says `false`.
#
#   submission  STARTTLS, which it wants before AUTH; the user "user" with the password "s3cret"
#   implicit    the same, TLS from the first byte
#   plain       no TLS; AUTH by every mechanism, and nothing without
#   narrow      no TLS; takes messages of 20000 bytes, no PIPELINING, DSN, SMTPUTF8 or 8BITMIME
#   inbox       maildirs by user of spec.test: ann, bob; all else at spec.test is unknown
set -euo pipefail
source "$(dirname "$0")/ports.sh"
PATH=$PATH:/usr/sbin
dir=$1

if [ "$2" = stop ]; then
  [ -d "$dir/postfix/conf" ] || exit 0
  postfix -c "$dir/postfix/conf" stop >/dev/null 2>&1 || :
  if [ -s "$dir/postfix/dovecot/master.pid" ]; then
    pid=$(cat "$dir/postfix/dovecot/master.pid")
    kill "$pid" 2>/dev/null || :
    # Ended counts, also where it is still to be reaped.
    while kill -0 "$pid" 2>/dev/null && ! grep -qs "^State:[[:space:]]*Z" "/proc/$pid/status"; do sleep 0.02; done
  fi
  rm -rf "$(readlink "$dir/postfix")"
  exit 0
fi

certificate=$2 key=$3
if [ "$(id -u)" -ne 0 ] || ! command -v postfix >/dev/null || ! command -v dovecot >/dev/null; then
  echo "return false" >"$dir/postfix.lua"
  exit 0
fi

# The daemons run as users of their own, who must reach their files: not beneath a directory that is root's alone. Unix sockets
# have short names, too.
home=$(mktemp -d /tmp/pf.XXXXXX)
chmod 755 "$home"
ln -s "$home" "$dir/postfix"
mkdir -p "$home"/{conf,queue,data,inbox,dovecot}
chown postfix "$home/data"
chown nobody "$home/inbox"
cp "$certificate" "$home/conf/cert.pem"
install -m 600 "$key" "$home/conf/key.pem"
# What the package has there is what the daemons look for in their queue; they are not jailed.
postconf -d mail_version >/dev/null

submission=$4 implicit=$5 plain=$6 narrow=$7

cat >"$home/dovecot.conf" <<CONF
base_dir = $home/dovecot
state_dir = $home/dovecot
log_path = $home/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
default_login_user = dovenull
default_internal_user = dovecot
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
auth_username_chars =
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = $home/users
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
service auth {
  unix_listener $home/queue/auth {
    mode = 0666
  }
}
service stats {
  unix_listener stats-reader {
    mode = 0600
  }
}
CONF
printf 'user:{PLAIN}s3cret\nj\303\266rg:{PLAIN}s\303\251cret=,x\n' >"$home/users"
dovecot -c "$home/dovecot.conf"

cat >"$home/conf/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $home/queue
data_directory = $home/data
command_directory = /usr/sbin
daemon_directory = $(postconf -d -h daemon_directory)
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.spec.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = $home/mail.log
maillog_file_prefixes = $home
virtual_mailbox_domains = spec.test
virtual_mailbox_base = $home/inbox
virtual_mailbox_maps = inline:{ { ann@spec.test = ann/ }, { bob@spec.test = bob/ }, { jörg@spec.test = joerg/ } }
virtual_alias_maps =
alias_maps =
local_recipient_maps =
virtual_minimum_uid = 1
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
virtual_mailbox_limit = 0
message_size_limit = 200000000
mailbox_size_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{ { evil@spec.test = 554 5.7.1 not from you } }
smtpd_sasl_type = dovecot
smtpd_sasl_path = auth
smtpd_sasl_auth_enable = yes
smtpd_tls_cert_file = $home/conf/cert.pem
smtpd_tls_key_file = $home/conf/key.pem
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_hard_error_limit = 1000
smtpd_soft_error_limit = 1000
smtpd_error_sleep_time = 0
disable_vrfy_command = no
smtputf8_enable = yes
smtpd_discard_ehlo_keywords =
biff = no
CONF
cat >"$home/conf/master.cf" <<CONF
127.0.0.1:$submission inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes
127.0.0.1:$implicit inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_tls_security_level=encrypt
127.0.0.1:$plain inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:$narrow inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_sasl_auth_enable=no -o message_size_limit=20000 -o smtpd_discard_ehlo_keywords=pipelining,dsn,smtputf8,8bitmime,chunking
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
CONF
# What it says at its start is in the one log or in the other.
postfix -c "$home/conf" start >"$home/start.log" 2>&1 || { cat "$home/start.log" "$home/mail.log" >&2; exit 1; }
await postfix "$submission" "$implicit" "$plain" "$narrow" || { cat "$home/start.log" "$home/mail.log" >&2; exit 1; }
cat >"$dir/postfix.lua" <<LUA
return { submission = $submission, implicit = $implicit, plain = $plain, narrow = $narrow, inbox = "$home/inbox", log = "$home/mail.log" }
LUA
