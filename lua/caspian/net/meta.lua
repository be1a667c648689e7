---@meta caspian.net
--- Types for editors (LuaLS, EmmyLua). Never loaded: the code is beside this file.

--- An open file, as `io.open` gives it. LuaLS calls its type `file*`, EmmyLua `file`.
---@alias caspian.net.File file*|file

--- A port: 1 to 65535; for listeners also 0, any free one. A whole number, also as `tonumber` gives it.
---@alias caspian.net.Port integer|number

---@class caspian.net.Module
---@field version string
---@field _VERSION string  "caspian.net VERSION"
local M = {}

---@class caspian.net.Narrow_spec
---@field allow_net? string[]|true     hosts to connect to, as for `--allow-net`; `true`: any
---@field allow_listen? string[]|true  interfaces and ports to bind, as for `--allow-listen`; `true`: any
---@field deny_net? string[]           never, whatever else allows it
---@field dns? boolean                 false: only IP literals connect. Defaults to true

---@class caspian.net.Register_options
---@field role? string                 any other role gets no `%net`. Defaults to "user"
---@field requires? string[]|true      what the script needs, as for `--allow-net`; `true`: any network
---@field files? boolean|string[]      may paths of certificates, keys and bodies be read, or those beneath directories? Defaults to true

---@class caspian.net.Spec: caspian.net.Narrow_spec, caspian.net.Register_options
---@field net_log? string              a file that gets each decision and connection as one JSON line
---@field ca? string|string[]          PEM or paths: believed beside the machine's store where no `ca_bundle` is named

--- Makes the network capability of this Lua state, once; nil where nothing is granted.
---@param flags caspian.net.Spec|string[]
---@return caspian.net.Net? net
---@return string[] missing  the flags that `requires` asks for and `flags` lacks
function M.launch(flags) end

--- Sets `env["%net"]`, for the Caspian engine.
---@param env table
---@param flags caspian.net.Spec|string[]
---@param opts? caspian.net.Register_options
---@return caspian.net.Net? net
---@return string[] missing
function M.register(env, flags, opts) end

--- Seals the state, and answers a `register` that works any number of times.
---@return fun(env: table, flags: caspian.net.Spec|string[], opts?: caspian.net.Register_options): caspian.net.Net?, string[]
function M.registrar() end

--- Raised by everything that meets the network. It cannot be changed, and is joined with `..` as text.
---@class caspian.net.Error
---@operator concat(string|number|caspian.net.Error): string
---@field class string      "puck.uno/error/network/…"
---@field message string
---@field op? string        the call that failed
---@field host? string
---@field port? integer
---@field url? string       without userinfo and fragment
---@field timeout? number   seconds
---@field partial? string   bytes that had arrived and that no later call can give
---@field sent? integer     bytes of the caller's that were sent
---@field cause? string
---@field outcome? table    the outcome of a message at the end of `send`: { accepted, refused, handed }
local Error = {}

--- True if the error is of that class, or a special case of it. An unknown class raises.
---@param class string  "timeout", "network/timeout", or the whole name; "network" is every error of ours
---@return boolean
function Error:is(class) end

---@class caspian.net.Timeout
---@field timeout? number  seconds; 0: now or raise; math.huge: for ever. Defaults to 30

--- Of a method.
---@class caspian.net.Call_options
---@field timeout? number  seconds; 0: now or raise; math.huge: for ever. Defaults to the object's

---@class caspian.net.Trust
---@field verify? boolean      checks the chain, the name and the dates. Defaults to true
---@field ca_bundle? string    PEM or a path; trusted in place of the machine's store
---@field client_cert? string  PEM or a path: the client's certificate
---@field client_key? string   PEM or a path: its key
---@field client_key_password? string  opens the key
---@field protocols? string[]  versions. Defaults to { "TLSv1.2", "TLSv1.3" }
---@field pins? string[]       SHA-256 of the public key (SPKI): 64 hex digits, or "sha256/BASE64"

---@class caspian.net.Client_tls: caspian.net.Trust
---@field sni? string          the name to send and verify. Defaults to the host
---@field alpn? string[]       protocols to offer

---@class caspian.net.Server_tls
---@field cert string          PEM or a path, own certificate first
---@field key? string          PEM or a path. Defaults to the key in `cert`
---@field key_password? string  opens the key
---@field client_ca? string    PEM or a path: clients must show a certificate of these authorities
---@field alpn? string[]       protocols to choose from
---@field protocols? string[]  versions. Defaults to { "TLSv1.2", "TLSv1.3" }

---@class caspian.net.Tcp_options: caspian.net.Timeout
---@field nodelay? boolean     TCP_NODELAY. Defaults to true
---@field keepalive? boolean   SO_KEEPALIVE. Defaults to false
---@field local_host? string   the address to bind first; needs a listen grant
---@field local_port? integer  the port to bind first

---@class caspian.net.Ssl_options: caspian.net.Tcp_options, caspian.net.Client_tls

--- Common options of the clients of mail and files.
---@class caspian.net.Mail_options: caspian.net.Client_tls
---@field host string              a name or an address
---@field port? caspian.net.Port   Defaults to the protocol's own, by `tls`
---@field timeout? number          seconds: of the opening, and of each later call. Defaults to 30
---@field tls? "starttls"|"implicit"|false  "starttls" is never skipped; "implicit": from the first byte; false: none. Defaults to "starttls"
---@field user? string             logs in with the password
---@field password? string         for "xoauth2" the access token
---@field auth? "auto"|"plain"|"login"|"cram_md5"|"xoauth2"|"scram"  "auto": the best of those that the server offers. Defaults to "auto"
---@field insecure_auth? boolean   may a password cross the connection in the clear? Defaults to false

--- A refusal by a server. `tostring` gives both fields.
---@class caspian.net.Refusal
---@field code integer|string
---@field text string

--- What clients of mail and files have in common.
---@class caspian.net.Mail_client
---@field host string
---@field port integer
---@field timeout number         seconds, of each call; can be set
---@field connected boolean
---@field ["connected?"] boolean
local Mail_client = {}
--- Logs out and closes the connection, also if that fails. May be called again.
function Mail_client:close() end

---@class caspian.net.Smtp_options: caspian.net.Mail_options
---@field name? string  of this machine, for EHLO. Defaults to the connection's own address: "[192.0.2.1]"

---@class caspian.net.Named_mailbox
---@field name? string    shown beside the address
---@field address string  "ann@example.com"

---@alias caspian.net.Mailbox string|caspian.net.Named_mailbox  "Ann <ann@example.com>"; lists with commas, too

---@class caspian.net.Mail_part
---@field data? string   its contents; or
---@field path? string   a file that has them, streamed; only where files are permitted
---@field name? string   of the file that it is. Defaults to the path's last name
---@field type? string   media type. Defaults to "application/octet-stream"
---@field cid? string    what `cid:` in the HTML refers to

---@class caspian.net.Message
---@field from caspian.net.Mailbox|caspian.net.Mailbox[]       the authors
---@field sender? caspian.net.Mailbox     the author that sent it; required where `from` has several
---@field to? caspian.net.Mailbox|caspian.net.Mailbox[]        recipients
---@field cc? caspian.net.Mailbox|caspian.net.Mailbox[]        recipients of a copy
---@field bcc? caspian.net.Mailbox|caspian.net.Mailbox[]       in the envelope, and nowhere else
---@field reply_to? caspian.net.Mailbox|caspian.net.Mailbox[]  where answers go
---@field subject? string                 one line of text
---@field body? string                    text
---@field body_html? string               the same as HTML
---@field body_parts? caspian.net.Mail_part[]   other forms of the same text, the richest last
---@field headers? table<string, string|number|string[]>|string[][]  further fields, by name or in order
---@field attachments? caspian.net.Mail_part[]  files that go with it

---@class caspian.net.Dsn
---@field notify? "never"|("success"|"failure"|"delay")[]  what the sender is told of
---@field ret? "full"|"hdrs"   how much of the message comes back with a note of failure
---@field envid? string        the identifier of the message in notifications

---@class caspian.net.Send_raw_options
---@field timeout? number   seconds, of the whole call. Without it each wait may take the client's
---@field dsn? caspian.net.Dsn  delivery status notifications (RFC 3461)

---@class caspian.net.Send_options: caspian.net.Send_raw_options
---@field from? string      the envelope's sender, where it is another than the message's; "" for none

---@class caspian.net.Send_outcome
---@field ok boolean                 all recipients are in `accepted`
---@field accepted string[]
---@field refused table<string, caspian.net.Refusal>  by address
---@field code integer               the server's last reply
---@field text string

---@class caspian.net.Smtp: caspian.net.Mail_client
---@field extensions table<string, string>  extensions that the server offers (EHLO): keyword in upper case to parameters
local Smtp = {}
--- Sends a message. What the server refuses comes in the outcome, and is no error.
---@param message caspian.net.Message
---@param opts? caspian.net.Send_options
---@return caspian.net.Send_outcome
function Smtp:send(message, opts) end
--- Sends a message that is ready, headers and all. Its line ends become CRLF.
---@param from string  "" for a message without a return address
---@param to string|string[]
---@param data string|fun(): string?
---@param opts? caspian.net.Send_raw_options
---@return caspian.net.Send_outcome
function Smtp:send_raw(from, to, data, opts) end
--- Asks whether the server knows an address (VRFY); 252 is "perhaps".
---@param address string
---@param opts? caspian.net.Call_options
---@return caspian.net.Refusal? answer  nil where the server refuses
---@return caspian.net.Refusal? refusal
function Smtp:verify(address, opts) end

---@class caspian.net.Pop3_options: caspian.net.Mail_options
---@field auth? "auto"|"plain"|"login"|"cram_md5"|"xoauth2"|"scram"|"apop"|"user"  "auto": the best of those that the server offers. Defaults to "auto"

---@class caspian.net.Pop3_message_options
---@field timeout? number          seconds, of the whole call. Without it each wait may take the client's
---@field max_body_bytes? integer  of a message in a string. Defaults to 256 MiB

--- RFC 1939. What is marked by `dele` is deleted by `quit` alone. Where the server refuses, methods return nil and a refusal.
---@class caspian.net.Pop3: caspian.net.Mail_client
---@field capabilities table<string, string>  the reply to CAPA: keyword in upper case to parameters
local Pop3 = {}
---@return { count: integer, size: integer }?, caspian.net.Refusal?
function Pop3:stat() end
---@param number? integer  without one: all messages
---@return integer|{ number: integer, size: integer }[]|nil bytes, caspian.net.Refusal?
function Pop3:list(number) end
---@param number? integer  without one: all messages
---@return string|{ number: integer, uid: string }[]|nil uid, caspian.net.Refusal?
function Pop3:uidl(number) end
---@param number integer
---@param into? fun(piece: string)|caspian.net.File  Defaults to a string
---@param opts? caspian.net.Pop3_message_options
---@return string|integer|nil message, caspian.net.Refusal?
function Pop3:retr(number, into, opts) end
--- The head and the first lines of the body.
---@param number integer
---@param lines integer
---@param into? fun(piece: string)|caspian.net.File
---@param opts? caspian.net.Pop3_message_options
---@return string|integer|nil message, caspian.net.Refusal?
function Pop3:top(number, lines, into, opts) end
---@param number integer
---@return true?, caspian.net.Refusal?
function Pop3:dele(number) end
---@return true?, caspian.net.Refusal?
function Pop3:rset() end
---@return true?, caspian.net.Refusal?
function Pop3:noop() end
---@return true?, caspian.net.Refusal?
function Pop3:quit() end

---@class caspian.net.Ftp_options: caspian.net.Mail_options
---@field active? boolean  the server connects to us, which needs a listen grant. Defaults to false

---@class caspian.net.Ftp_list_options
---@field timeout? number          seconds, of the whole call. Without it each wait may take the client's
---@field max_body_bytes? integer  of a listing. Defaults to 64 MiB

---@class caspian.net.Ftp_append_options
---@field timeout? number          seconds, of the whole call. Without it each wait may take the client's
---@field type? "i"|"a"            "i": as it is; "a": text in lines that end in CRLF. Defaults to "i"

---@class caspian.net.Ftp_put_options: caspian.net.Ftp_append_options
---@field offset? integer          bytes from the start of the server's file, from which on the transfer goes. Defaults to 0

---@class caspian.net.Ftp_get_options: caspian.net.Ftp_put_options
---@field max_body_bytes? integer  of a file in a string. Defaults to 256 MiB

--- An entry of a directory; fields that the server does not send are nil.
---@class caspian.net.Ftp_entry
---@field name string     one segment
---@field type "file"|"dir"|"link"|"other"
---@field size? integer   bytes
---@field mtime? number   seconds since 1970
---@field perm? string    RFC 3659 section 7.5.5
---@field unique? string
---@field mode? string    "rw-r--r--" or "0644", as the server has it
---@field owner? string
---@field group? string
---@field target? string  of a link

--- RFC 959 and 3659. Where the server refuses, methods return nil and a refusal; a transfer that began and did not end well raises an error
--- with `bytes`, for a string `partial`, and where the server said why `code` and `text`.
---@class caspian.net.Ftp: caspian.net.Mail_client
---@field features table<string, string>  the reply to FEAT: keyword in upper case to parameters
local Ftp = {}
---@param path? string  Defaults to the current directory
---@param opts? caspian.net.Ftp_list_options
---@return caspian.net.Ftp_entry[]?, caspian.net.Refusal?
function Ftp:list(path, opts) end
--- A file, from the byte `offset` on.
---@param path string
---@param into? fun(piece: string)|caspian.net.File  Defaults to a string
---@param opts? caspian.net.Ftp_get_options
---@return string|integer|nil content, caspian.net.Refusal?
function Ftp:get(path, into, opts) end
--- `offset`: where in the server's file it goes on. Of a string or file what comes from there on is sent.
---@param path string
---@param from string|(fun(): string?)|caspian.net.File
---@param opts? caspian.net.Ftp_put_options
---@return integer? bytes, caspian.net.Refusal?
function Ftp:put(path, from, opts) end
---@param path string
---@param from string|(fun(): string?)|caspian.net.File
---@param opts? caspian.net.Ftp_append_options
---@return integer? bytes, caspian.net.Refusal?
function Ftp:append(path, from, opts) end
---@param path string
---@return integer? bytes, caspian.net.Refusal?
function Ftp:size(path) end
--- When a file was changed, in seconds since 1970; with `seconds` sets it.
---@param path string
---@param seconds? number
---@return number?, caspian.net.Refusal?
function Ftp:mtime(path, seconds) end
---@param from string
---@param to string
---@return true?, caspian.net.Refusal?
function Ftp:rename(from, to) end
---@param path string
---@return true?, caspian.net.Refusal?
function Ftp:delete(path) end
---@param path string
---@return string? path, caspian.net.Refusal?
function Ftp:mkdir(path) end
---@param path string
---@return true?, caspian.net.Refusal?
function Ftp:rmdir(path) end
---@param path string
---@return true?, caspian.net.Refusal?
function Ftp:cwd(path) end
---@return string? path, caspian.net.Refusal?
function Ftp:pwd() end
function Ftp:quit() end
---@class caspian.net.Imap_options: caspian.net.Mail_options
---@field max_line_bytes? integer     of one line. Defaults to 1 MiB
---@field max_literal_bytes? integer  of one literal in memory; what `into` takes has no bound. Defaults to 64 MiB
---@field max_reply_bytes? integer    what one command's responses take in memory, all together. Defaults to 256 MiB

---@class caspian.net.Imap_mailbox
---@field name string         in UTF-8
---@field raw? string         as the line has it, where the name does not lead back to it: then the table itself is given in place of the name
---@field separator? string
---@field attributes string[] "\\Noselect", "\\Drafts" …

---@class caspian.net.Imap_selected
---@field name string
---@field exists integer
---@field recent? integer
---@field flags? string[]
---@field permanent_flags? string[]
---@field uid_validity? integer
---@field uid_next? integer
---@field first_unseen? integer  a sequence number
---@field highest_modseq? integer
---@field id? string             RFC 8474
---@field read_only boolean

---@class caspian.net.Address
---@field name? string     decoded
---@field address string   "joe@example.com"
---@field group? string    the name of its group

---@class caspian.net.Imap_envelope
---@field date? string        the Date field, not parsed
---@field subject? string     decoded
---@field from caspian.net.Address[]
---@field sender caspian.net.Address[]
---@field reply_to caspian.net.Address[]
---@field to caspian.net.Address[]
---@field cc caspian.net.Address[]
---@field bcc caspian.net.Address[]
---@field in_reply_to? string
---@field message_id? string

---@class caspian.net.Imap_structure
---@field type string         "text/plain", "multipart/mixed"
---@field section? string     its number, for "BODY.PEEK[1.2]"
---@field params? table<string, string>
---@field id? string
---@field description? string
---@field encoding? string    "base64"
---@field size? integer       bytes, encoded
---@field lines? integer
---@field md5? string
---@field disposition? string "attachment", "inline"
---@field disposition_params? table<string, string>
---@field language? string[]
---@field location? string
---@field parts? caspian.net.Imap_structure[]     of a multipart
---@field envelope? caspian.net.Imap_envelope     of a message in it
---@field structure? caspian.net.Imap_structure

---@class caspian.net.Imap_message
---@field uid integer
---@field seq integer
---@field flags? string[]
---@field size? integer
---@field internal_date? integer  Unix time
---@field envelope? caspian.net.Imap_envelope
---@field structure? caspian.net.Imap_structure
---@field modseq? integer
---@field headers? table<string, string>  by name in lower case, decoded
---@field message? caspian.net.Parsed_message    parsed; absent where it cannot be (`mail.parse` says why)
---@field body? table<string, string>     by section: "" is the whole message, "HEADER", "TEXT", "1.2"
---@field binary? table<string, string>
---@field lengths? table<string, integer> of the sections that `into` took

---@class caspian.net.Imap_update
---@field kind "exists"|"recent"|"expunge"|"fetch"|"vanished"
---@field number? integer         how many there are; or a sequence number
---@field message? caspian.net.Imap_message
---@field uids? integer[]

---@class caspian.net.Imap_news
---@field [integer] caspian.net.Imap_update
---@field lost? integer  how many were dropped, where they were more than 10,000 or took more than 16 MiB

---@class caspian.net.Imap_numbering: caspian.net.Call_options
---@field sequence? boolean       numbers are sequence numbers. Defaults to false: they are UIDs

---@class caspian.net.Imap_fetch_options: caspian.net.Imap_numbering
---@field each? fun(message: caspian.net.Imap_message)  called with each one as it comes; nothing is kept
---@field into? fun(bytes: string, of: { seq: integer, uid?: integer, section: string, size: integer })|caspian.net.File  takes the bytes of sections
---@field changed_since? integer  a modseq: those changed since (RFC 7162)

---@class caspian.net.Imap_store_options: caspian.net.Imap_numbering
---@field silent? boolean           the flags are not returned. Defaults to false
---@field unchanged_since? integer  a modseq: those not changed since (RFC 7162)

---@class caspian.net.Imap_append_options: caspian.net.Call_options
---@field flags? string|string[]  that the message gets
---@field date? number            its time of arrival, as Unix time
---@field size? integer           bytes that a function gives

---@class caspian.net.Imap_list_options: caspian.net.Call_options
---@field reference? string    the name that the pattern begins at. Defaults to ""
---@field subscribed? boolean  only those that are subscribed to. Defaults to false

---@class caspian.net.Imap_copied
---@field uid_validity? integer
---@field from? integer[]
---@field to? integer[]

--- What a server refuses is `nil` and a refusal. Messages are UIDs: one, a list, or a set ("1:5,9", "1:*").
---@class caspian.net.Imap: caspian.net.Mail_client
---@field capabilities string[]
---@field selected? caspian.net.Imap_selected
---@field alert? string               the text of the last ALERT response, which users should see
local Imap = {}
---@param pattern? string  "*" is any text, "%" one level. Defaults to "*"
---@param opts? caspian.net.Imap_list_options
---@return caspian.net.Imap_mailbox[]?, caspian.net.Refusal?
function Imap:list(pattern, opts) end
---@param name string|caspian.net.Imap_mailbox
---@param opts? caspian.net.Call_options
---@return caspian.net.Imap_selected?, caspian.net.Refusal?
function Imap:select(name, opts) end
Imap.examine = Imap.select
---@param opts? caspian.net.Call_options
---@return true?, caspian.net.Refusal?
function Imap:unselect(opts) end
---@param name string|caspian.net.Imap_mailbox
---@param items? string[]  Defaults to { "messages", "uidnext", "uidvalidity", "unseen" }
---@param opts? caspian.net.Call_options
---@return table<string, integer>?, caspian.net.Refusal?
function Imap:status(name, items, opts) end
---@param name string|caspian.net.Imap_mailbox
---@param opts? caspian.net.Call_options
---@return true?, caspian.net.Refusal?
function Imap:create(name, opts) end
Imap.delete = Imap.create
Imap.subscribe = Imap.create
Imap.unsubscribe = Imap.create
---@param from string|caspian.net.Imap_mailbox
---@param to string
---@param opts? caspian.net.Call_options
---@return true?, caspian.net.Refusal?
function Imap:rename(from, to, opts) end
---@param opts? caspian.net.Call_options
---@return { personal: table[], other: table[], shared: table[] }?, caspian.net.Refusal?
function Imap:namespace(opts) end
---@param criteria? string|table  `{ unseen = true, from = "joe", since = "2024-01-31" }`, or IMAP's own words. Defaults to all
---@param opts? caspian.net.Imap_numbering
---@return integer[]?, caspian.net.Refusal?
function Imap:search(criteria, opts) end
---@param messages integer|integer[]|string
---@param items? string|string[]  "flags", "size", "internal_date", "envelope", "structure", "headers", "text", "message", "BODY.PEEK[1.2]" …
---@param opts? caspian.net.Imap_fetch_options
---@return caspian.net.Imap_message[]|integer|nil, caspian.net.Refusal?
function Imap:fetch(messages, items, opts) end
---@param messages integer|integer[]|string
---@param how "add"|"remove"|"replace"
---@param flags string|string[]  "\\Seen", "$Work"
---@param opts? caspian.net.Imap_store_options
---@return caspian.net.Imap_message[]|true|nil, caspian.net.Refusal?
function Imap:store(messages, how, flags, opts) end
---@param messages integer|integer[]|string
---@param mailbox string|caspian.net.Imap_mailbox
---@param opts? caspian.net.Imap_numbering
---@return caspian.net.Imap_copied?, caspian.net.Refusal?
function Imap:copy(messages, mailbox, opts) end
Imap.move = Imap.copy
---@param messages? integer|integer[]|string  Defaults to all that have the flag \Deleted
---@param opts? caspian.net.Call_options
---@return integer[]?, caspian.net.Refusal?
function Imap:expunge(messages, opts) end
---@param mailbox string|caspian.net.Imap_mailbox
---@param message string|caspian.net.File|fun(): string?  a function: with `size`
---@param opts? caspian.net.Imap_append_options
---@return { uid_validity?: integer, uid?: integer }?, caspian.net.Refusal?
function Imap:append(mailbox, message, opts) end
---@param opts? caspian.net.Call_options
---@return caspian.net.Imap_news?, caspian.net.Refusal?
function Imap:noop(opts) end
---@param opts? caspian.net.Call_options
---@return caspian.net.Imap_news?, caspian.net.Refusal?
function Imap:idle(opts) end
function Imap:logout() end

---@class caspian.net.Udp_options: caspian.net.Timeout
---@field broadcast? boolean   SO_BROADCAST. Defaults to false
---@field family? "inet"|"inet6"  of a socket without a host
---@field reuse? boolean       share the bound port. Defaults to false
---@field local_host? string   the address to bind; needs a listen grant
---@field local_port? integer  the port to bind

---@class caspian.net.Listen_options: caspian.net.Timeout
---@field backlog? integer     connections that wait to be accepted. Defaults to 1024
---@field tls? caspian.net.Server_tls  `accept` gives ssl sockets
---@field handshake_timeout? number   seconds, of each TLS handshake. Defaults to 10

---@class caspian.net.Line_options: caspian.net.Call_options
---@field max? integer         bytes of a line. Defaults to 1 MiB

--- What `new` of a class of sockets takes beside the function's options.
---@class caspian.net.Endpoint
---@field host? string            as the function's argument
---@field port? caspian.net.Port  as the function's argument

---@class caspian.net.Stream
---@field host string
---@field port? integer
---@field local_host? string
---@field local_port? integer
---@field remote_host? string
---@field remote_port? integer
---@field connected boolean
---@field ["connected?"] boolean
---@field timeout number       seconds, of each call that names none
---@field nodelay boolean
---@field keepalive boolean
---@field peer? caspian.net.Peer  the process at the other end of a Unix socket (Linux)
local Stream = {}

--- Sends as much as the system accepts at once; the number of bytes.
---@param bytes string
---@param opts? caspian.net.Call_options
---@return integer
function Stream:send(bytes, opts) end

--- Sends all. A failure has `err.sent`.
---@param bytes string
---@param opts? caspian.net.Call_options
---@return true
function Stream:send_all(bytes, opts) end

--- The available bytes, at most `max` (64 KiB); nil at end of stream.
---@param max? integer
---@param opts? caspian.net.Call_options
---@return string?
function Stream:recv(max, opts) end

--- The next line with its newline, the last one as it is, then nil. `too_large` beyond `max` bytes.
---@param opts? caspian.net.Line_options
---@return string?
function Stream:recv_line(opts) end

--- Exactly `n` bytes. At end of stream before that `connection_reset` with `err.partial`.
---@param n integer
---@param opts? caspian.net.Call_options
---@return string
function Stream:recv_exact(n, opts) end

--- An iterator over the lines that follow.
---@param opts? caspian.net.Line_options
---@return fun(): string?
function Stream:lines(opts) end

---@param how "send"|"recv"|"both"
function Stream:shutdown(how) end

function Stream:close() end

---@class caspian.net.Peer
---@field pid integer  0: of another pid namespace
---@field uid integer
---@field gid integer

---@class caspian.net.Tcp: caspian.net.Stream
local Tcp = {}

---@class caspian.net.Starttls_options: caspian.net.Call_options, caspian.net.Client_tls
---@field server? boolean     take the server's side. Defaults to false
---@field cert? string        PEM or a path: the server's certificate
---@field key? string         PEM or a path. Defaults to the key in `cert`
---@field key_password? string  opens the key
---@field client_ca? string   PEM or a path: clients must show a certificate of these authorities
---@field handshake_timeout? number  seconds, besides `timeout`. Defaults to 10 for a server

--- Starts TLS; this socket cannot be used any more.
---@param opts? caspian.net.Starttls_options
---@return caspian.net.Ssl
function Tcp:starttls(opts) end

---@class caspian.net.Ssl: caspian.net.Stream
local Ssl = {}

---@class caspian.net.Cert
---@field subject string
---@field issuer string
---@field fingerprint string  SHA-256, hex
---@field valid_from string   ISO 8601, UTC
---@field valid_until string
---@field sans string[]
---@field serial string       hex
---@field pem string

---@return caspian.net.Cert?
function Ssl:peer_cert() end
---@return string
function Ssl:cipher() end
---@return "TLSv1.2"|"TLSv1.3"
function Ssl:protocol() end
--- The group of the key exchange; nil where a session of TLS 1.2 was resumed, which exchanges no keys.
---@return "X25519MLKEM768"|"X25519"|"secp256r1"|"secp384r1"|nil
function Ssl:group() end
---@return string?
function Ssl:alpn() end

---@class caspian.net.Listener
---@field local_host string
---@field local_port integer
---@field timeout number
local Listener = {}

--- The next connection; an ssl socket where the listener has `tls`.
---@param opts? caspian.net.Call_options
---@return caspian.net.Tcp|caspian.net.Ssl
function Listener:accept(opts) end
function Listener:close() end

---@class caspian.net.Udp
---@field host? string
---@field port? integer
---@field local_host? string
---@field local_port? integer
---@field timeout number
---@field connected boolean
---@field ["connected?"] boolean
---@field broadcast boolean
---@field multicast_ttl integer         write only
---@field multicast_loop boolean        write only
---@field multicast_interface string|integer  write only; a name, an index, or an IPv4 address
local Udp = {}

---@param bytes string
---@param opts? caspian.net.Call_options
---@return integer
function Udp:send(bytes, opts) end
---@param bytes string
---@param host string
---@param port caspian.net.Port
---@param opts? caspian.net.Call_options
---@return integer
function Udp:send_to(bytes, host, port, opts) end
---@param max? integer
---@param opts? caspian.net.Call_options
---@return string
function Udp:recv(max, opts) end
---@param max? integer
---@param opts? caspian.net.Call_options
---@return string bytes
---@return string host
---@return integer port
function Udp:recv_from(max, opts) end
---@param group string
---@param interface? string|integer
function Udp:join(group, interface) end
---@param group string
---@param interface? string|integer
function Udp:leave(group, interface) end
function Udp:close() end

---@class caspian.net.Udp_listen_options: caspian.net.Timeout
---@field broadcast? boolean   SO_BROADCAST. Defaults to false
---@field reuse? boolean       share the bound port. Defaults to false

---@class caspian.net.Resolve_options: caspian.net.Timeout
---@field server? string       the name server: "ip", "ip:port" or "[ipv6]:port"; needs a grant. Defaults to the system's
---@field tcp? boolean         asks over TCP. Defaults to false

--- What `net.udp_listen` returns.
---@class caspian.net.Bound_udp: caspian.net.Udp
---@field local_host string
---@field local_port integer

--- permessage-deflate (RFC 7692).
---@class caspian.net.Compress
---@field server_no_context_takeover? boolean  the server begins each message anew. Defaults to false
---@field client_no_context_takeover? boolean  the client begins each message anew. Defaults to false
---@field server_max_window_bits? integer  9 to 15, of the server's window. Defaults to 15
---@field client_max_window_bits? integer  9 to 15, of the client's window. Defaults to 15
---@field threshold? integer  bytes; shorter messages are sent as they are. Defaults to 128

---@class caspian.net.Websocket_options: caspian.net.Timeout
---@field headers? table<string, string|string[]|false>  of the handshake; false removes one
---@field subprotocols? string[]  to offer
---@field max_message_bytes? integer  of a message, after decompression. Defaults to 16 MiB
---@field max_frame_bytes? integer    bytes of a frame. Defaults to max_message_bytes
---@field compress? boolean|caspian.net.Compress  offers permessage-deflate. Defaults to false
---@field resolve? table<string, string>  { ["host:port"] = ip }
---@field unix? string         path of a socket to speak over
---@field proxy? string|caspian.net.Proxy|false  as for requests
---@field verify? boolean      checks the chain, the name and the dates. Defaults to true
---@field ca_bundle? string    PEM or a path; trusted in place of the machine's store
---@field client_cert? string  PEM or a path: the client's certificate
---@field client_key? string   PEM or a path: its key
---@field client_key_password? string  opens the key
---@field sni? string          the name to send and verify. Defaults to the host
---@field protocols? string[]  versions. Defaults to { "TLSv1.2", "TLSv1.3" }
---@field pins? string[]       SHA-256 of the public key (SPKI): 64 hex digits, or "sha256/BASE64"

---@class caspian.net.Websocket
---@field url string
---@field subprotocol? string  the one that the server chose
---@field compressed boolean  both sides agreed on permessage-deflate
---@field close_code? integer  the peer's; 1005 where it gave none
---@field close_reason? string
---@field connected boolean
---@field ["connected?"] boolean
---@field host string
---@field port integer
---@field local_host? string
---@field local_port? integer
---@field remote_host? string
---@field remote_port? integer
---@field timeout number
local Websocket = {}

--- Sends a message. After a timeout with `err.sent > 0` the next call sends the rest; with 0 nothing of it was sent.
---@param data string
---@param kind? "text"|"binary"  Defaults to "text", which must be UTF-8
---@param opts? caspian.net.Call_options
function Websocket:send(data, kind, opts) end
--- The next message and its kind; nil, close code and reason once the peer has closed.
---@param opts? caspian.net.Call_options
---@return string? data
---@return "text"|"binary"|integer kind
---@return string? reason
function Websocket:recv(opts) end
--- An iterator over the messages that follow.
---@param opts? caspian.net.Call_options
---@return fun(): string?, string?
function Websocket:messages(opts) end
---@param data? string  at most 125 bytes
---@param opts? caspian.net.Call_options
function Websocket:ping(data, opts) end
--- Says goodbye, waits for the peer's and closes.
---@param code? integer    Defaults to 1000
---@param reason? string   at most 123 bytes
---@param opts? caspian.net.Call_options  Defaults to 5 seconds
---@return boolean answered
function Websocket:close(code, reason, opts) end

---@alias caspian.net.Socket caspian.net.Tcp|caspian.net.Ssl|caspian.net.Udp|caspian.net.Listener|caspian.net.Websocket

--- Of idempotent requests, after a lost connection (also in the body, where it is gathered, or saved to a file that can be
--- taken back to where it began; not in a stream), a failed resolution, a timeout of a part, or one of the statuses.
--- Tries again where a request failed in passing; over Unix sockets also where their server is not there yet.
---@class caspian.net.Retry
---@field attempts? integer    further tries. Defaults to 3
---@field backoff? number      seconds before the first of them, doubled each time. Defaults to 0.5
---@field statuses? integer[]  statuses that are retried. Defaults to 429, 502, 503, 504
---@field max_wait? number     seconds; the longest wait. Where `Retry-After` asks for more, the response is returned. Defaults to 60

--- Of `fetch_all`.
---@class caspian.net.Batch_options
---@field parallel? integer    requests at the same time. Defaults to 16
---@field per_origin? integer  of one origin at the same time. Defaults to 6
---@field timeout? number      seconds, of all of it. Defaults to none

---@class caspian.net.Proxy
---@field url string           [SCHEME://][user:password@]host[:port]
---@field headers? table<string, string|number|string[]>  that the proxy alone is told
---@field auth? string[]|caspian.net.Auth  { user, password }, in place of those in the URL
---@field tunnel? boolean      CONNECT for plain http, too. Defaults to false

--- Options of clients and of requests.
---@class caspian.net.Http_options: caspian.net.Timeout, caspian.net.Trust
---@field headers? table<string, string|number|string[]|false>  by name; false removes one
---@field connect_timeout? number   seconds, of look-up, connect and TLS
---@field read_timeout? number      seconds without data; 30 where a body is streamed or saved without a `timeout`
---@field query? table<string, string|number|boolean|table>  or { { name, value }, … }: appended to the query of the URL
---@field follow_redirects? boolean  goes where a 3xx response leads. Defaults to true
---@field max_redirects? integer    hops. Defaults to 10
---@field allow_downgrade? boolean  follows a redirect from https to http. Defaults to false
---@field forward_headers? string[]  headers that are also sent after a redirect to another origin
---@field max_body_bytes? integer   of a buffered body, after decompression. Defaults to 256 MiB
---@field stream? boolean           the body is read by `response:read()`. Defaults to false
---@field resolve? table<string, string>  { ["host:port"] = ip }
---@field unix? string              path of a socket
---@field proxy? string|caspian.net.Proxy|false  [http://][user:password@]host[:port], or https, socks4, socks4a, socks5, socks5h
---@field http2? boolean|"prior"    `true` offers HTTP/2 over TLS, `"prior"` speaks it without asking. Defaults to false
---@field decompress? boolean       gzip, deflate, br, zstd. Defaults to true
---@field cookies? boolean|caspian.net.Jar  `true`: the client's own jar. Defaults to false
---@field auth? string[]|caspian.net.Auth|false  { user, password }, or a table with names
---@field retry? integer|boolean|caspian.net.Retry  further tries of what failed in passing. Defaults to off
---@field on_progress? fun(done: integer, total: integer?, what: "upload"|"download")  called as bytes go or come
---@field progress? boolean         a bar on a terminal. Defaults to false

---@class caspian.net.Client_options: caspian.net.Http_options
---@field allow? string[]          hosts that this client is narrowed to
---@field har? boolean             records for `client:har()`. Defaults to false
---@field max_idle? integer        idle connections that are kept. Defaults to 128
---@field max_idle_per_origin? integer  of them to one origin. Defaults to 16
---@field idle_timeout? number     seconds, after which an idle connection is closed. Defaults to 90
---@field base_url? string  URLs of requests are relative to it; its headers and credentials are sent to that origin only

---@class caspian.net.Fetch_options: caspian.net.Http_options
---@field method? string           a body does not change it. Defaults to "GET"
---@field body? string|caspian.net.File|fun(): string?  bytes, a file, or a function that returns the next piece
---@field body_json? any           sent as JSON
---@field body_form? table         sent as a form
---@field body_file? string|caspian.net.File  a path or an open file, streamed
---@field body_multipart? table    parts by name (or lists of them), or a list of { name, part } and of parts with a name
---@field save? string|caspian.net.File  where a 2xx body is written: a path, where the file appears once it is whole, or an open file

--- A part of `body_multipart`.
---@class caspian.net.Form_part
---@field name? string      of the field, where the key does not say it
---@field data? string      its contents; or
---@field path? string      a file that has them, streamed
---@field filename? string  what the server is told. Defaults to the path's last name
---@field type? string      media type. Defaults to application/octet-stream where there is a filename

--- The body of a request, or the options in its place.
---@alias caspian.net.Body string|caspian.net.File|caspian.net.Fetch_options|fun(): string?

---@class caspian.net.Auth
---@field [1]? string user
---@field [2]? string password
---@field user? string      the name
---@field password? string  the password
---@field scheme? "basic"|"digest"|"challenge"  both, unless one is named; nothing before a challenge
---@field bearer? string    a token, in place of all of those

---@class caspian.net.Cookie
---@field name string         the cookie's name
---@field value string        the cookie's value
---@field domain string       without a leading dot
---@field host_only boolean  false: also for the hosts below it. Defaults to true
---@field path string         the path that it is for. Defaults to "/"
---@field secure boolean     sent over https only. Defaults to false
---@field http_only boolean  not for scripts of a page. Defaults to false
---@field same_site "strict"|"lax"|"none"|"default"  kept, nothing more. Defaults to "default"
---@field expires integer?   seconds since 1970; nil: as long as the jar
---@field created integer    seconds since 1970. Defaults to now

---@class caspian.net.Jar
local Jar = {}
---@return caspian.net.Cookie[]
function Jar:records() end
---@param records caspian.net.Cookie[]
---@return integer taken
function Jar:load(records) end
---@param url string
---@param line string
---@return boolean taken
function Jar:set(url, line) end
---@param url string
---@return string?
function Jar:header(url) end
function Jar:clear() end

---@class caspian.net.Events_options: caspian.net.Fetch_options
---@field reconnect? boolean   after a lost connection. Defaults to true, for a GET
---@field last_event_id? string  the stream continues after it
---@field max_event_bytes? integer  of one event. Defaults to 1 MiB

---@class caspian.net.Event
---@field event string  "message" where the server names none
---@field data string
---@field id string

---@class caspian.net.Events
---@field url string
---@field last_event_id string
---@field retry number  seconds
---@field timeout number  seconds; of each call
local Events = {}
---@param opts? caspian.net.Call_options
---@return caspian.net.Event?
function Events:next(opts) end
---@param opts? caspian.net.Call_options
---@return fun(): caspian.net.Event?
function Events:each(opts) end
function Events:close() end

--- Header fields by name: lower case where they are listed, found in any case. Repeated fields are joined with ", ", but for `set-cookie`.
---@class caspian.net.Headers
---@field ["set-cookie"]? string[]
---@field [string] string?

---@class caspian.net.Response
---@field status integer
---@field ok boolean
---@field ["ok?"] boolean
---@field reason string
---@field version string
---@field headers caspian.net.Headers
---@field raw_headers string[][]
---@field body? string  nil where it is streamed or saved
---@field saved? integer bytes that the option `save` wrote
---@field url string
---@field redirect_chain string[]
---@field trailers table<string, string>
---@field timings { dns: number, connect: number, tls: number, send: number, wait: number, receive: number, total: number, reused: boolean }
local Response = {}

---@param count? integer
---@return string?
---@overload fun(self: caspian.net.Response, count?: integer): string?
function Response.read(count) end
---@return fun(): string?
---@overload fun(self: caspian.net.Response): fun(): string?
function Response.lines() end
---@return fun(): string?
---@overload fun(self: caspian.net.Response): fun(): string?
function Response.chunks() end
---@param file caspian.net.File
---@return integer bytes
---@overload fun(self: caspian.net.Response, file: caspian.net.File): integer
function Response.save(file) end
---@overload fun(self: caspian.net.Response)
function Response.close() end
---@return string
---@overload fun(self: caspian.net.Response): string
function Response.text() end
---@return any
---@overload fun(self: caspian.net.Response): any
function Response.json() end
---@return caspian.net.Cert?
---@overload fun(self: caspian.net.Response): caspian.net.Cert?
function Response.peer_cert() end

--- An item of what `fetch_all` returns: a response or an error, which `net.kind` tells.
---@class caspian.net.Result: caspian.net.Response, caspian.net.Error

--- `fetch` for its hosts; it can be called itself.
---@class caspian.net.Jail
---@operator call(string): caspian.net.Response
---@field fetch fun(url: string, opts?: caspian.net.Fetch_options): caspian.net.Response

--- A client with a pool, defaults and cookies of its own. Its methods want a colon.
---@class caspian.net.Client
---@field jar caspian.net.Jar
---@field allow? string[]  hosts; to set, which narrows this client
local Client = {}

---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:fetch(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:get(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:head(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:delete(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:options(url, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:post(url, body, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:put(url, body, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
function Client:patch(url, body, opts) end
---@param url string
---@param opts? caspian.net.Events_options
---@return caspian.net.Events
function Client:events(url, opts) end
--- Each item a URL or { url, … }; responses or errors, in order.
---@param list (string|table)[]
---@param opts? caspian.net.Batch_options
---@return caspian.net.Result[]
function Client:fetch_all(list, opts) end
--- What fetches from those hosts, and nothing else.
---@param ... string|string[]
---@return caspian.net.Jail
function Client:jail(...) end
--- What a client that was made with `har = true` has done, as a HAR 1.2 table; its text for "json".
---@param form? "json"
---@return table|string
function Client:har(form) end
function Client:close() end

--- `net.http.client`: makes clients, and does requests over one pool, which `net.fetch` uses, too.
---@class caspian.net.Http_client
local Http_client = {}

---@param opts? caspian.net.Client_options
---@return caspian.net.Client
---@overload fun(self: caspian.net.Http_client, opts?: caspian.net.Client_options): caspian.net.Client
function Http_client.new(opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.fetch(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.get(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.head(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.delete(url, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.options(url, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, body?: caspian.net.Body, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.post(url, body, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, body?: caspian.net.Body, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.put(url, body, opts) end
---@param url string
---@param body? caspian.net.Body
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Http_client, url: string, body?: caspian.net.Body, opts?: caspian.net.Fetch_options): caspian.net.Response
function Http_client.patch(url, body, opts) end
---@param url string
---@param opts? caspian.net.Events_options
---@return caspian.net.Events
---@overload fun(self: caspian.net.Http_client, url: string, opts?: caspian.net.Events_options): caspian.net.Events
function Http_client.events(url, opts) end
--- Each item a URL or { url, … }; responses or errors, in order.
---@param list (string|table)[]
---@param opts? caspian.net.Batch_options
---@return caspian.net.Result[]
---@overload fun(self: caspian.net.Http_client, list: (string|table)[], opts?: caspian.net.Batch_options): caspian.net.Result[]
function Http_client.fetch_all(list, opts) end
--- What fetches from those hosts, and nothing else.
---@param ... string|string[]
---@return caspian.net.Jail
---@overload fun(self: caspian.net.Http_client, ...: string|string[]): caspian.net.Jail
function Http_client.jail(...) end

--- The response of a guard: plain data.
---@class caspian.net.Guarded_response
---@field status integer
---@field ok boolean
---@field ["ok?"] boolean
---@field reason string
---@field version string
---@field headers table<string, string|string[]>
---@field raw_headers string[][]
---@field body string
---@field url string
---@field redirect_chain string[]
---@field text fun(): string
---@field json fun(): any

---@class caspian.net.Guarded_options
---@field method? string                                     converted to upper case. Defaults to "GET"
---@field headers? table<string, string|number|string[]|false>  by name
---@field body? string                                       bytes; one of the three
---@field body_json? any                                     sent as JSON
---@field body_form? table                                   sent as a form
---@field timeout? number                                    seconds; at most the guard's

---@class caspian.net.Guard
---@field fetch fun(url: string, opts?: caspian.net.Guarded_options): caspian.net.Guarded_response

---@class caspian.net.Guard_request
---@field url string
---@field method string
---@field headers table<string, string|string[]|false>       by any case; false: left out, also where it is sent by itself
---@field body? string
---@field params table<string, string>                       the values of the parameters in the route's pattern
---@field hop integer                                        0; one more after each redirect
---@field raw { url: string, method: string, headers: table<string, string|string[]|false>, body: string? }
local Guard_request = {}
--- Sets the URL of the request.
---@param url string
---@overload fun(self: caspian.net.Guard_request, url: string)
function Guard_request.set_url(url) end
--- A header, by any case; with a value it is set before. `false` leaves it out.
---@param name string
---@param value? string|number|string[]|false
---@return (string|string[])?
---@overload fun(self: caspian.net.Guard_request, name: string, value?: string|number|string[]|false): (string|string[])?
function Guard_request.header(name, value) end
--- Sets the body; nil for none.
---@param body string?
---@overload fun(self: caspian.net.Guard_request, body: string?)
function Guard_request.set_body(body) end

---@class caspian.net.Guard_answer
---@field status integer
---@field reason? string
---@field headers? table<string, string|number|string[]|false>
---@field body? string
---@field body_json? any                                     in place of `body`

--- What `next` returns; it may be changed.
---@class caspian.net.Guard_response: caspian.net.Guard_answer
---@field url? string                                        where it came from
---@field text fun(): string
---@field json fun(): any

---@alias caspian.net.Middleware fun(ctx: { req: caspian.net.Guard_request }, next: fun(): caspian.net.Guard_response): caspian.net.Guard_answer?

---@class caspian.net.Guard_route
---@field path string                                        a pattern
---@field methods? string|string[]                           Defaults to any
---@field middleware? caspian.net.Middleware|caspian.net.Middleware[]  around this route

---@class caspian.net.Guard_rule
---@field host string                                        a name, "*.name" (one label), or an address
---@field https_only? boolean                                no plain http. Defaults to true
---@field ports? integer|integer[]                           for both schemes. Defaults to 443; with https_only = false 80 and 443
---@field routes? caspian.net.Guard_route|caspian.net.Guard_route[]  none: every path; {}: no path
---@field middleware? caspian.net.Middleware|caspian.net.Middleware[]  around every route of the origin

---@class caspian.net.Guard_config
---@field rules? caspian.net.Guard_rule|caspian.net.Guard_rule[]  what may be fetched
---@field middleware? caspian.net.Middleware|caspian.net.Middleware[]  around everything
---@field policy? fun(info: { host: string, port: integer, method: string, url: string, resolved_ip: string? }): boolean  asked about hosts without a rule
---@field allow_private? boolean|string[]                    addresses that are not public: all, or these. Defaults to false
---@field follow_redirects? boolean                          each hop is a new request. Defaults to false
---@field max_redirects? integer                             hops. Defaults to 10
---@field max_body_bytes? integer                            of a response, after decompression. Defaults to 10 MiB
---@field max_request_bytes? integer                         of URL, headers and body. Defaults to 10 MiB
---@field timeout? number                                    seconds, of the whole fetch. Defaults to 30
---@field connect_timeout? number                            seconds, of look-up, connect and TLS
---@field read_timeout? number                               seconds without data
---@field verify? boolean                                    checks the chain, the name and the dates. Defaults to true
---@field ca_bundle? string                                  PEM
---@field client_cert? string                                PEM
---@field client_key? string                                 PEM
---@field client_key_password? string                        opens the key
---@field pins? string[]                                     SHA-256 of the public key (SPKI)
---@field cookies? boolean|caspian.net.Jar                   `true`: the guard's own jar. Defaults to false
---@field resolve? table<string, string>                     { ["host:port"] = ip }

--- A TLS server's certificate and options, or several that SNI picks from.
---@alias caspian.net.Certificates caspian.net.Server_tls|caspian.net.Server_tls[]

---@class caspian.net.Server_options: caspian.net.Timeout
---@field backlog? integer           connections that wait to be accepted. Defaults to 1024
---@field reuse_port? boolean        several processes share the port. Defaults to false
---@field tls? caspian.net.Certificates  a certificate, or a list that SNI picks from
---@field max_head_bytes? integer    of request line and fields. Defaults to 64 KiB
---@field max_fields? integer        256 at the most. Defaults to 100
---@field max_body_bytes? integer    of a request's body. Defaults to 20 MiB
---@field max_memory_bytes? integer  of a body in memory; longer ones need `spill`. Defaults to 1 MiB
---@field max_buffered_bytes? integer  of all bodies that were not handed out yet, an eighth of it for one connection of HTTP/2. Defaults to 256 MiB
---@field spill? string              a directory for bodies that are too long for memory
---@field head_timeout? number       seconds, of a request's head. Defaults to 10
---@field body_grace? number         seconds; from then on a body comes at `min_body_rate`. Defaults to 10
---@field min_body_rate? integer     bytes a second. Defaults to 1024
---@field send_grace? number         seconds; from then on a client takes what waits for it at `min_send_rate`, or is closed. Defaults to 10
---@field min_send_rate? integer     bytes a second. Defaults to 1024
---@field idle_timeout? number       seconds between requests, and for a client that takes nothing of an answer. Defaults to 75
---@field handshake_timeout? number  seconds, of TLS. Defaults to 10
---@field drain_timeout? number      seconds that requests under way have after `stop`. Defaults to 10
---@field max_connections? integer   at the same time. Defaults to 10,000
---@field max_requests? integer      on one connection. Defaults to 1,000
---@field http2? boolean             by ALPN, and over cleartext with a client that begins with it. Defaults to true where it is built in
---@field log? caspian.net.File|fun(entry: table)  an open file gets the common log format
---@field on_refused? fun(refusal: table)  called for each request that the server itself refuses
---@field on_error? fun(err: any, request?: caspian.net.Server_request)  called for an error of a handler or a body. Defaults to a line on standard error

---@class caspian.net.Server_unix: caspian.net.Server_options
---@field unix string  the path of a socket

--- What a request is answered with.
---@class caspian.net.Answer
---@field status? integer  Defaults to 200
---@field headers? table<string, string|string[]>  by name; a list: a field for each
---@field body? string|fun(): string?  a function answers pieces, and nil at the end
---@field body_json? any   sent as JSON
---@field body_file? string  a path; ranges and conditional requests are answered

--- `net.http.server(…)`.
---@class caspian.net.Server
---@field local_host? string
---@field local_port? integer
---@field path? string  of a Unix socket
---@field timeout number
---@field connections integer
local Server = {}

--- The next complete request; nil once the server has stopped.
---@param opts? caspian.net.Call_options
---@return caspian.net.Server_request?
function Server:accept(opts) end
--- An iterator over the requests, until the server is stopped.
---@return fun(): caspian.net.Server_request?
function Server:requests() end
--- Answers each request with the response that the handler returns.
---@param handler fun(request: caspian.net.Server_request): caspian.net.Answer|string|nil
function Server:run(handler) end
--- Stops accepting; requests under way may end within `drain_timeout`.
function Server:stop() end
--- Other certificates for connections from now on.
---@param tls caspian.net.Certificates
function Server:reload_tls(tls) end
--- Ends everything at once: of responses that are not sent yet, clients get the part that the kernel takes without a wait.
function Server:close() end

---@class caspian.net.Event_stream_options: caspian.net.Timeout
---@field headers? table<string, string>  beside those of an event stream
---@field retry? number  seconds after which a client comes back

---@class caspian.net.Sent_event
---@field event? string  its name
---@field data? string   lines
---@field id? string     what a client sends as `Last-Event-ID`
---@field retry? number  seconds after which a client comes back

---@class caspian.net.Upgrade_options: caspian.net.Timeout
---@field headers? table<string, string>  of the 101 response
---@field subprotocols? string[]  in order of preference; the first that the client offers is chosen
---@field max_message_bytes? integer  of a message, after decompression. Defaults to 16 MiB
---@field max_frame_bytes? integer    bytes of a frame. Defaults to max_message_bytes
---@field compress? boolean|caspian.net.Compress  accepts permessage-deflate. Defaults to false

--- A request that a server hands out. Read-only; methods work with a dot and with a colon.
---@class caspian.net.Server_request
---@field id string
---@field method string
---@field target string  as sent
---@field path string  as sent, percent-encoded
---@field query? string  as sent
---@field version "1.0"|"1.1"
---@field scheme "http"|"https"
---@field host? string  in lower case, without the port
---@field headers caspian.net.Headers  found in any case
---@field raw_headers string[][]
---@field cookies table<string, string>
---@field params table<string, string|caspian.net.Part>  query and form, the last of a name
---@field param_array any[][]  { name, value } in order
---@field param_hash? any  the query as JSON
---@field body? string  nil where it went to a file
---@field content_length integer
---@field remote_host? string
---@field remote_port? integer
---@field peer? caspian.net.Peer  over a Unix socket
---@field tls? { protocol: string, cipher: string, sni?: string, alpn?: string, peer_cert?: caspian.net.Cert }
local Server_request = {}

---@param status integer|caspian.net.Answer
---@param headers? table<string, string|string[]>
---@param body? string|fun(): string?
---@return boolean there  false where the client is gone
---@overload fun(self: caspian.net.Server_request, status: integer|caspian.net.Answer, headers?: table, body?: string|fun(): string?): boolean
function Server_request.respond(status, headers, body) end
--- The body in UTF-8, decoded by its charset.
---@return string
---@overload fun(self: caspian.net.Server_request): string
function Server_request.text() end
---@return any
---@overload fun(self: caspian.net.Server_request): any
function Server_request.json() end
--- The fields of a form, the last of a name; nil where the body is no form.
---@return table<string, string|caspian.net.Part>?
---@overload fun(self: caspian.net.Server_request): table<string, string|caspian.net.Part>?
function Server_request.form() end
--- The parts of a multipart form; nil where the body is none.
---@return caspian.net.Part[]?
---@overload fun(self: caspian.net.Server_request): caspian.net.Part[]?
function Server_request.parts() end
---@param count? integer
---@return string?
---@overload fun(self: caspian.net.Server_request, count?: integer): string?
function Server_request.read(count) end
---@param file caspian.net.File
---@return integer bytes
---@overload fun(self: caspian.net.Server_request, file: caspian.net.File): integer
function Server_request.save(file) end
--- Answers with an event stream (Server-Sent Events).
---@param opts? caspian.net.Event_stream_options
---@return caspian.net.Event_stream
---@overload fun(self: caspian.net.Server_request, opts?: caspian.net.Event_stream_options): caspian.net.Event_stream
function Server_request.events(opts) end
--- Turns the request into a WebSocket.
---@param opts? caspian.net.Upgrade_options
---@return caspian.net.Websocket
---@overload fun(self: caspian.net.Server_request, opts?: caspian.net.Upgrade_options): caspian.net.Websocket
function Server_request.websocket(opts) end

--- A part of a multipart form.
---@class caspian.net.Part
---@field name string
---@field filename? string  as the client calls the file: no path
---@field content_type? string
---@field headers table<string, string>
---@field size integer
local Part = {}

---@param count? integer
---@return string?
function Part:read(count) end
---@param file caspian.net.File
---@return integer bytes
function Part:save(file) end
--- All of it, as it came.
---@return string
function Part:text() end

--- The server's side of an event stream.
---@class caspian.net.Event_stream
local Event_stream = {}

---@param event caspian.net.Sent_event
function Event_stream:send(event) end
---@param text? string
function Event_stream:comment(text) end
---@return boolean
function Event_stream:is_open() end
function Event_stream:close() end

---@class caspian.net.Http
---@field client caspian.net.Http_client
---@field sammy caspian.net.Sammy_class
local Http = {}

--- A fetch for code that is not trusted, and the function that closes it.
---@param config caspian.net.Guard_config
---@return caspian.net.Guard guard
---@return fun() close
---@overload fun(self: caspian.net.Http, config: caspian.net.Guard_config): caspian.net.Guard, fun()
function Http.guard(config) end

--- A cookie jar; with `records`, those that `jar:records()` gave once.
---@param records? caspian.net.Cookie[]
---@return caspian.net.Jar
---@overload fun(self: caspian.net.Http, records?: caspian.net.Cookie[]): caspian.net.Jar
function Http.jar(records) end

--- An HTTP server: on a host and a port, on a Unix socket (`{ unix = path }`), or over a listener, which is spent.
---@overload fun(given: caspian.net.Server_unix): caspian.net.Server
---@overload fun(listener: caspian.net.Listener, opts?: caspian.net.Server_options): caspian.net.Server
---@param host string
---@param port caspian.net.Port  0: any free one
---@param opts? caspian.net.Server_options
---@return caspian.net.Server
---@overload fun(self: caspian.net.Http, host: string, port: caspian.net.Port, opts?: caspian.net.Server_options): caspian.net.Server
function Http.server(host, port, opts) end

--- `%net`. Functions work with a dot and with a colon.
---@class caspian.net.Net
---@field errors table<string, string>  the classes of errors, each with its parent; a copy of your own
---@field http caspian.net.Http
---@field http_client caspian.net.Http_client  the same as `http.client`
---@field null userdata  JSON's null
local Net = {}

---@param host string
---@param port caspian.net.Port
---@param opts? caspian.net.Tcp_options
---@return caspian.net.Tcp
---@overload fun(self: caspian.net.Net, host: string, port: caspian.net.Port, opts?: caspian.net.Tcp_options): caspian.net.Tcp
function Net.tcp(host, port, opts) end
---@param url string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Net, url: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Net.fetch(url, opts) end
--- Each item a URL or { url, … }; responses or errors, in order.
---@param list (string|table)[]
---@param opts? caspian.net.Batch_options
---@return caspian.net.Result[]
---@overload fun(self: caspian.net.Net, list: (string|table)[], opts?: caspian.net.Batch_options): caspian.net.Result[]
function Net.fetch_all(list, opts) end
---@param host string
---@param port caspian.net.Port
---@param opts? caspian.net.Ssl_options
---@return caspian.net.Ssl
---@overload fun(self: caspian.net.Net, host: string, port: caspian.net.Port, opts?: caspian.net.Ssl_options): caspian.net.Ssl
function Net.ssl(host, port, opts) end
Net.tls = Net.ssl
---@param host? string
---@param port? caspian.net.Port
---@param opts? caspian.net.Udp_options
---@return caspian.net.Udp
---@overload fun(self: caspian.net.Net, host?: string, port?: caspian.net.Port, opts?: caspian.net.Udp_options): caspian.net.Udp
function Net.udp(host, port, opts) end
---@param host string   an address of this machine, "localhost" or "*"
---@param port caspian.net.Port  0: any free one
---@param opts? caspian.net.Listen_options
---@return caspian.net.Listener
---@overload fun(self: caspian.net.Net, host: string, port: caspian.net.Port, opts?: caspian.net.Listen_options): caspian.net.Listener
function Net.tcp_listen(host, port, opts) end
Net.listen = Net.tcp_listen
---@param host string
---@param port caspian.net.Port
---@param opts? caspian.net.Udp_listen_options
---@return caspian.net.Bound_udp
---@overload fun(self: caspian.net.Net, host: string, port: caspian.net.Port, opts?: caspian.net.Udp_listen_options): caspian.net.Bound_udp
function Net.udp_listen(host, port, opts) end
---@param path string
---@param opts? caspian.net.Timeout
---@return caspian.net.Tcp
---@overload fun(self: caspian.net.Net, path: string, opts?: caspian.net.Timeout): caspian.net.Tcp
function Net.unix(path, opts) end
---@param path string
---@param opts? caspian.net.Listen_options
---@return caspian.net.Listener
---@overload fun(self: caspian.net.Net, path: string, opts?: caspian.net.Listen_options): caspian.net.Listener
function Net.unix_listen(path, opts) end
--- What can be waited for: sockets of every class, servers, event streams of both sides, responses that are streamed.
---@alias caspian.net.Pollable caspian.net.Socket|caspian.net.Server|caspian.net.Events|caspian.net.Event_stream|caspian.net.Response

---@generic T: caspian.net.Pollable
---@param sockets T[]|{ read?: T[], write?: T[] }
---@param timeout? number  seconds. Defaults to 30
---@return T[] readable
---@return T[] writable
---@overload fun(self: caspian.net.Net, sockets: table, timeout?: number): caspian.net.Pollable[], caspian.net.Pollable[]
function Net.poll(sockets, timeout) end
---@param name string
---@param type? "a"|"aaaa"|"mx"|"ns"|"txt"|"cname"|"srv"|"caa"|"ptr"|"soa"  Defaults to A, then AAAA
---@param opts? caspian.net.Resolve_options
---@return (string|table)[]
---@overload fun(self: caspian.net.Net, name: string, type?: string, opts?: caspian.net.Resolve_options): (string|table)[]
function Net.resolve(name, type, opts) end
---@param ip string
---@param opts? caspian.net.Resolve_options
---@return string?
---@overload fun(self: caspian.net.Net, ip: string, opts?: caspian.net.Resolve_options): string?
function Net.reverse_resolve(ip, opts) end
---@param url string
---@param opts? caspian.net.Events_options
---@return caspian.net.Events
---@overload fun(self: caspian.net.Net, url: string, opts?: caspian.net.Events_options): caspian.net.Events
function Net.events(url, opts) end
---@param url string  ws:// or wss://
---@param opts? caspian.net.Websocket_options
---@return caspian.net.Websocket
---@overload fun(self: caspian.net.Net, url: string, opts?: caspian.net.Websocket_options): caspian.net.Websocket
function Net.websocket(url, opts) end
--- What this one and `spec` both allow. `network/too_large` once it was narrowed 1000 times over.
---@param spec caspian.net.Narrow_spec|string[]
---@return caspian.net.Net
---@overload fun(self: caspian.net.Net, spec: caspian.net.Narrow_spec|string[]): caspian.net.Net
function Net.narrow(spec) end
---@overload fun(self: caspian.net.Net)
function Net.revoke() end
---@param host string
---@param port caspian.net.Port
---@return boolean
---@overload fun(self: caspian.net.Net, host: string, port: caspian.net.Port): boolean
function Net.allows(host, port) end
---@return string[]
---@overload fun(self: caspian.net.Net): string[]
function Net.grants() end
---@param url string  "puck.uno/socket/tcp", "https://puck.uno/http/client", "puck.uno/network/…" …
---@return { new: fun(arguments: caspian.net.Endpoint|table): any }  with a dot or a colon
---@overload fun(self: caspian.net.Net, url: string): { new: fun(arguments: caspian.net.Endpoint|table): any }
function Net.class(url) end
---@param opts? caspian.net.Uds_options
---@return caspian.net.Uds
---@overload fun(self: caspian.net.Net, opts?: caspian.net.Uds_options): caspian.net.Uds
function Net.uds(opts) end
---@param opts caspian.net.Imap_options
---@return caspian.net.Imap? client  nil where the server refuses
---@return caspian.net.Refusal? refusal
---@overload fun(self: caspian.net.Net, opts: caspian.net.Imap_options): caspian.net.Imap?, caspian.net.Refusal?
function Net.imap(opts) end
---@param opts caspian.net.Smtp_options
---@return caspian.net.Smtp? client  nil where the server refuses
---@return caspian.net.Refusal? refusal
---@overload fun(self: caspian.net.Net, opts: caspian.net.Smtp_options): caspian.net.Smtp?, caspian.net.Refusal?
function Net.smtp(opts) end
---@param opts caspian.net.Pop3_options
---@return caspian.net.Pop3? client  nil where the server refuses
---@return caspian.net.Refusal? refusal
---@overload fun(self: caspian.net.Net, opts: caspian.net.Pop3_options): caspian.net.Pop3?, caspian.net.Refusal?
function Net.pop3(opts) end
---@param opts caspian.net.Ftp_options  without `user` anonymous
---@return caspian.net.Ftp? client  nil where the server refuses
---@return caspian.net.Refusal? refusal
---@overload fun(self: caspian.net.Net, opts: caspian.net.Ftp_options): caspian.net.Ftp?, caspian.net.Refusal?
function Net.ftp(opts) end
--- Waits for that many seconds.
---@param seconds number
---@overload fun(self: caspian.net.Net, seconds: number)
function Net.sleep(seconds) end
---@type caspian.net.Url
Net.url = nil
---@type caspian.net.Json
Net.json = nil
---@type caspian.net.Base64
Net.base64 = nil
---@type caspian.net.Hash
Net.hash = nil
---@type caspian.net.Mail
Net.mail = nil
--- Marks a table as a JSON array, so that an empty one is sent as `[]`; returns it.
---@param list? table
---@return table
---@overload fun(self: caspian.net.Net, list?: table): table
function Net.array(list) end
--- Calls `f(...)` and returns what it returns. Every network call in it ends, and raises `network/timeout`, when that many seconds
--- have passed, besides its own timeout. Nests: the nearest end wins. What Lua computes is not interrupted.
---@param seconds number 0 or more; `math.huge` for no end of its own
---@param f function
---@param ... any
---@return any ...
---@overload fun(self: caspian.net.Net, seconds: number, f: function, ...: any): any
function Net.within(seconds, f, ...) end
--- The kind of one of our values: "array", "hash", "null", "response", "tcp", "error" …; nil for every other value.
---@param value any
---@return string?
---@overload fun(self: caspian.net.Net, value: any): string?
function Net.kind(value) end

--- `net.http.sammy`: makes an app where it is called.
---@class caspian.net.Sammy_class
---@field response caspian.net.Sammy_responses
---@overload fun(opts?: caspian.net.Sammy_options): caspian.net.Sammy
local Sammy_class = {}
---@param opts? caspian.net.Sammy_options
---@return caspian.net.Sammy
function Sammy_class.new(opts) end

--- Beside these, the options of `net.http.server`.
---@class caspian.net.Sammy_options
---@field domain? string           of the session's cookie; without it there are no sessions
---@field cookie_name? string      of the session's cookie. Defaults to "session"
---@field cookie_secure? boolean   sent over https only. Defaults to true
---@field cookie_samesite? "Lax"|"Strict"|"None"  sent with requests from other sites? Defaults to "Lax"
---@field cookie_path? string      the path that it is for. Defaults to "/"
---@field cookie_max_age? integer  seconds. Defaults to none: as long as the browser is open
---@field cookie_key? string       what sessions are signed with, of 32 bytes or more. Defaults to random bytes of this process
---@field auto_options? boolean    answers OPTIONS of paths that there are. Defaults to true
---@field csrf_guard? boolean      requests that change something need the session's token. Defaults to false
---@field on_error? fun(err: any, request: table, where: string, first?: any)  called for an error of a handler. Defaults to a line on standard error
---@field on_warning? fun(words: string, request: table)  called for what is probably a mistake. Defaults to a line on standard error

---@class caspian.net.Sammy_route_options
---@field csrf? boolean  false: the guard asks for no token. Defaults to true

---@class caspian.net.Sammy_path_options: caspian.net.Sammy_route_options
---@field methods string[]  in any case; "*" is all

---@class caspian.net.Sammy_static_options
---@field extensions? table<string, string|false>  media types by extension, beside the built-in table; false: not served

--- Beside these, the options of `net.http.sammy`.
---@class caspian.net.Uds_options
---@field path? string           of the socket. Defaults to a new one, in the first directory of the listen grants
---@field authenticate? boolean  requests need a random token. Defaults to false

---@alias caspian.net.Sammy_handler fun(request: caspian.net.Sammy_request, transaction: caspian.net.Transaction): caspian.net.Sammy_response|table|nil

--- A request of an app.
---@class caspian.net.Sammy_request: caspian.net.Server_request
---@field steps table<integer|string, string>  the segments of the path, by position, and by name

--- An app: routes, and handlers around them.
---@class caspian.net.Sammy
---@field handlers table[]      in the order in which they are asked; routes are among them
---@field csrf_guard boolean
---@field response caspian.net.Sammy_responses
---@field server? caspian.net.Server  while it listens
local Sammy = {}
---@overload fun(self: caspian.net.Sammy, pattern: string, handler: caspian.net.Sammy_handler)
---@param pattern string  "/literal/{one segment}/*one_or_more"
---@param opts caspian.net.Sammy_route_options
---@param handler caspian.net.Sammy_handler
function Sammy:get(pattern, opts, handler) end
Sammy.post = Sammy.get
Sammy.put = Sammy.get
Sammy.delete = Sammy.get
Sammy.patch = Sammy.get
Sammy.options = Sammy.get
Sammy.head = Sammy.get
Sammy.all_methods = Sammy.get
---@param pattern string
---@param opts caspian.net.Sammy_path_options
---@param handler caspian.net.Sammy_handler
function Sammy:path(pattern, opts, handler) end
--- Answers 405 with `Allow` for these methods.
---@param pattern string
---@param ... string
function Sammy:reject(pattern, ...) end
---@param dir string|table  a path, or an object with `open(name)`
---@param opts? caspian.net.Sammy_static_options
function Sammy:static(dir, opts) end
---@param host string|table  or `{ unix = path }`, or a listener
---@param port? caspian.net.Port
---@return caspian.net.Server server
function Sammy:listen(host, port) end
--- Answers requests until `stop`: `run(host, port, fallback?)`, `run({ unix = path }, fallback?)`, `run(fallback?)` after `listen`.
---@param ... any
function Sammy:run(...) end
--- Answers one request of a server that the caller runs.
---@param request caspian.net.Server_request
---@param fallback? caspian.net.Sammy_handler
function Sammy:handle(request, fallback) end
function Sammy:stop() end
function Sammy:close() end

--- An app on a Unix socket. `run` is `wait`, `listen` opens its own path.
---@class caspian.net.Uds: caspian.net.Sammy
---@field path string           read-only
---@field token? string         read-only; nil where it is not asked for
---@field authenticate boolean  may be set before the server runs
---@field client caspian.net.Uds_client
local Uds = {}
---@param fallback? caspian.net.Sammy_handler
function Uds:wait(fallback) end

--- A client of one socket. Functions work with a dot and with a colon.
---@class caspian.net.Uds_client
local Uds_client = {}
---@param path string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Uds_client, path: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Uds_client.get(path, opts) end
Uds_client.head = Uds_client.get
Uds_client.delete = Uds_client.get
Uds_client.options = Uds_client.get
Uds_client.fetch = Uds_client.get
---@param path string
---@param body? string
---@param opts? caspian.net.Fetch_options
---@return caspian.net.Response
---@overload fun(self: caspian.net.Uds_client, path: string, body?: string, opts?: caspian.net.Fetch_options): caspian.net.Response
function Uds_client.post(path, body, opts) end
Uds_client.put = Uds_client.post
Uds_client.patch = Uds_client.post
---@overload fun(self: caspian.net.Uds_client)
function Uds_client.close() end

---@class caspian.net.Transaction
---@field request caspian.net.Sammy_request     read-only
---@field response caspian.net.Sammy_response  a draft, until a handler answers
---@field session any                          a table; nil ends it
---@field csrf_token string                    of the session

---@class caspian.net.Sammy_response
---@field status integer
---@field headers table<string, string|string[]>
---@field body string|fun(): string?
---@field csp table<string, string[]>  sources by directive; `csp:clear()`

---@class caspian.net.Sammy_responses
---@field redirect caspian.net.Sammy_redirect
local Responses = {}
---@param status integer
---@param headers? table<string, string|string[]>  also `content_type` and `location`
---@param body? string|fun(): string?
---@return caspian.net.Sammy_response
function Responses.new(status, headers, body) end
---@param status integer
---@param body string
---@return caspian.net.Sammy_response
function Responses.html(status, body) end
Responses.text = Responses.html
---@param status integer
---@param value any
---@return caspian.net.Sammy_response
function Responses.json(status, value) end
---@param status integer
---@return caspian.net.Sammy_response
function Responses.empty(status) end

--- Each raises its response.
---@class caspian.net.Sammy_redirect
local Redirect = {}
---@param url string
function Redirect.permanent(url) end
Redirect.temporary = Redirect.permanent
Redirect.see_other = Redirect.permanent

--- The helpers without authority: what `require("caspian.net.codec")` gives.
---@class caspian.net.Codec
---@field url caspian.net.Url
---@field json caspian.net.Json
---@field base64 caspian.net.Base64
---@field hash caspian.net.Hash
---@field mail caspian.net.Mail

---@class caspian.net.Attachment
---@field name? string
---@field type string          "image/png"
---@field data string
---@field cid? string
---@field disposition? string  "attachment", "inline"

---@class caspian.net.Parsed_message
---@field headers table<string, string>  by name in lower case, decoded; the first of a name
---@field raw_headers string[][]         { { name, value }, … }, as they stand
---@field subject? string
---@field from caspian.net.Address[]
---@field to caspian.net.Address[]
---@field cc caspian.net.Address[]
---@field bcc caspian.net.Address[]
---@field reply_to caspian.net.Address[]
---@field sender caspian.net.Address[]
---@field date? integer                  Unix time
---@field message_id? string
---@field in_reply_to string[]
---@field references string[]
---@field text? string                   UTF-8
---@field html? string
---@field attachments caspian.net.Attachment[]

---@class caspian.net.Mail
local Mail = {}
--- A message (RFC 5322, MIME), in whatever state it is. `network/too_large` beyond 100,000 parts, fields or addresses.
---@param bytes string
---@return caspian.net.Parsed_message
---@overload fun(self: caspian.net.Mail, bytes: string): caspian.net.Parsed_message
function Mail.parse(bytes) end

---@class caspian.net.Url_parts
---@field scheme string     "https"
---@field userinfo? string  "user" or "user:password", escaped
---@field host? string      without brackets
---@field port? integer     parsed: the scheme's own where none is named
---@field path? string      percent-encoded where it has to be
---@field query? string|table  parsed: a string
---@field fragment? string  behind the #
---@field pairs? string[][]    the query, decoded: { { name, value }, … }

--- What `parse` returns.
---@class caspian.net.Parsed_url: caspian.net.Url_parts
---@field path string
---@field query? string
---@field pairs string[][]

---@class caspian.net.Url_decode_options
---@field plus? boolean  `+` is a space. Defaults to false

---@class caspian.net.Url
local Url = {}
--- The parts of an absolute URL of any scheme.
---@param text string
---@return caspian.net.Parsed_url
---@overload fun(self: caspian.net.Url, text: string): caspian.net.Parsed_url
function Url.parse(text) end
---@param parts caspian.net.Url_parts
---@return string
---@overload fun(self: caspian.net.Url, parts: caspian.net.Url_parts): string
function Url.build(parts) end
---@param url string
---@param reference string
---@return string
---@overload fun(self: caspian.net.Url, url: string, reference: string): string
function Url.join(url, reference) end
--- Percent-encodes all but letters, digits and `-._~`.
---@param text string
---@param safe? string  bytes that stay as they are
---@return string
---@overload fun(self: caspian.net.Url, text: string, safe?: string): string
function Url.encode(text, safe) end
---@param text string
---@param opts? caspian.net.Url_decode_options
---@return string
---@overload fun(self: caspian.net.Url, text: string, opts?: caspian.net.Url_decode_options): string
function Url.decode(text, opts) end
---@param given table  { name = value, name = { value, … } } or { { name, value }, … }
---@return string
---@overload fun(self: caspian.net.Url, given: table): string
function Url.query(given) end

---@class caspian.net.Json_encode_options
---@field sorted? boolean  sorts all keys. Defaults to false

---@class caspian.net.Json
---@field null lightuserdata
local Json = {}
--- Keys that came from JSON keep their order; others are sorted.
---@param value any
---@param opts? caspian.net.Json_encode_options
---@return string
---@overload fun(self: caspian.net.Json, value: any, opts?: caspian.net.Json_encode_options): string
function Json.encode(value, opts) end
---@param text string
---@return any
---@overload fun(self: caspian.net.Json, text: string): any
function Json.decode(text) end
--- Marks a table as an array, so that an empty one is `[]`; returns it.
---@param list? table
---@return table
---@overload fun(self: caspian.net.Json, list?: table): table
function Json.array(list) end

---@class caspian.net.Base64
local Base64 = {}
---@param bytes string
---@return string
---@overload fun(self: caspian.net.Base64, bytes: string): string
function Base64.encode(bytes) end
---@param text string
---@return string
---@overload fun(self: caspian.net.Base64, text: string): string
function Base64.decode(text) end
--- With `-` and `_`, without padding.
---@param bytes string
---@return string
---@overload fun(self: caspian.net.Base64, bytes: string): string
function Base64.url_encode(bytes) end
---@param text string
---@return string
---@overload fun(self: caspian.net.Base64, text: string): string
function Base64.url_decode(text) end

---@alias caspian.net.Form "hex"|"bytes"  Defaults to "hex"

---@class caspian.net.Hash
local Hash = {}
---@param bytes string
---@param form? caspian.net.Form
---@return string
---@overload fun(self: caspian.net.Hash, bytes: string, form?: caspian.net.Form): string
function Hash.sha256(bytes, form) end
Hash.sha512 = Hash.sha256
Hash.sha1 = Hash.sha256
Hash.md5 = Hash.sha256
---@param key string
---@param bytes string
---@param form? caspian.net.Form
---@return string
---@overload fun(self: caspian.net.Hash, key: string, bytes: string, form?: caspian.net.Form): string
function Hash.hmac_sha256(key, bytes, form) end
Hash.hmac_sha512 = Hash.hmac_sha256
Hash.hmac_sha1 = Hash.hmac_sha256
--- Are they the same? Takes as long wherever they differ.
---@param a string
---@param b string
---@return boolean
---@overload fun(self: caspian.net.Hash, a: string, b: string): boolean
function Hash.equal(a, b) end
---@param n integer  at most 1 MiB
---@return string
---@overload fun(self: caspian.net.Hash, n: integer): string
function Hash.random(n) end

---@class caspian.net.Install_options
---@field hostname? boolean  false: `gethostname` answers "localhost". Defaults to true
---@field native? boolean    may `setfd` take descriptors that are not the drop-in's? Defaults to false

--- The drop-in for LuaSocket and LuaSec: what `require("caspian.net.compat")` gives.
---@class caspian.net.Compat
local Compat = {}
---@param net? caspian.net.Net  nil: nothing is allowed
---@param package? { loaded: table, preload: table }  defaults to the host's
---@param opts? caspian.net.Install_options
---@return fun(name: string): any import, table<string, true> names
function Compat.install(net, package, opts) end

--- The network capability, a global of the launcher's scripts: what the flags grant; nil if they grant no network.
---@type caspian.net.Net
net = nil -- luacheck: ignore

return M
