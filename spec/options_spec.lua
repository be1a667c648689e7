-- The options: the tables that check them (`args.declare`, name to kind, with defaults beside), the types for editors
-- (lua/caspian/net/meta.lua) and the tables of the pages agree on names, types, units and defaults, and say what each option means. What is
-- in one and not in another fails here. A kind has a unit: "seconds", "bytes" …

local args = require("caspian.net.args")
local process = require("spec.support.process")
local net = require("spec.support.subject").net

-- Modules that are loaded when they are first used.
for _, name in ipairs{
  "events", "ftp", "guard", "guarded", "http", "mail.imap", "mail.message", "mail.pop3", "mail.smtp", "methods", "names", "opening",
  "pure", "sammy", "server", "server_answers", "server_events", "uds", "websocket", "capability", "compat.install",
} do require("caspian.net." .. name) end
-- `caspian.net` keeps the modules that it was made with to itself: it is run once more, with those of this file.
do
  local modules, ready = {}, package.preload["caspian.net.compat.ready"]
  for name, module in pairs(package.loaded) do modules[name] = module end
  dofile("lua/caspian/net.lua")
  for name in pairs(package.loaded) do package.loaded[name] = modules[name] end
  for name, module in pairs(modules) do package.loaded[name] = module end
  package.preload["caspian.net.compat.ready"] = ready
end

-- --- what is compared ----------------------------------------------------------------------------------------------

--- Where the rows of a class's options are: "page: heading", the beginning of one; "/ title" for another table than that of an `option`.
local PLACES = {
  Answer = { "server: request:respond / field" },
  Auth = { "http-client: Options of a request / field of `auth`" },
  Batch_options = { "http-client: net.fetch_all" },
  Call_options = { "sockets: s:recv_line" },
  Client_options = { "http-client: net.http.client.new", "http-client: Options of a request" },
  Client_tls = { "sockets: net.ssl" },
  Compress = { "events-and-websockets: net.websocket / field of `compress`" },
  Cookie = { "http-client: net.http.jar / field of a record" },
  Dsn = { "mail: mail:send( / field of `dsn`" },
  Endpoint = { "errors: net.class" },
  Event_stream_options = { "server: request:events" },
  Events_options = { "events-and-websockets: net.events", "http-client: Options of a request" },
  Fetch_options = { "http-client: Options of a request" },
  Form_part = { "http-client: Options of a request / field of a part" },
  Ftp_append_options = { "ftp: Methods" },
  Ftp_get_options = { "ftp: Methods" },
  Ftp_list_options = { "ftp: Methods / option of `list`" },
  Ftp_options = { "ftp: ftp(opts)", "mail: Options of every client" },
  Ftp_put_options = { "ftp: Methods" },
  Guard_config = { "guards: net.http.guard / key" },
  Guard_route = { "guards: net.http.guard / key of a route" },
  Guard_rule = { "guards: net.http.guard / key of a rule" },
  Guarded_options = { "guards: The untrusted side" },
  Http_options = { "http-client: Options of a request" },
  Imap_append_options = { "mail: net.imap / option of a method" },
  Imap_fetch_options = { "mail: net.imap / option of a method" },
  Imap_list_options = { "mail: net.imap / option of a method" },
  Imap_numbering = { "mail: net.imap / option of a method" },
  Imap_options = { "mail: net.imap", "mail: Options of every client" },
  Imap_store_options = { "mail: net.imap / option of a method" },
  Install_options = { "coming-from: install" },
  Json_encode_options = { "helpers: json.encode" },
  Line_options = { "sockets: s:recv_line" },
  Listen_options = { "sockets: net.tcp_listen" },
  Mail_options = { "mail: Options of every client" },
  Mail_part = { "mail: mail:send( / field of a part" },
  Message = { "mail: mail:send( / field of a message" },
  Named_mailbox = { "mail: mail:send( / field of a mailbox" },
  Narrow_spec = { "grants: launch / field" },
  Pop3_message_options = { "pop3: Methods" },
  Pop3_options = { "pop3: pop3(opts)", "mail: Options of every client" },
  Proxy = { "http-client: Options of a request / field of `proxy`" },
  Register_options = { "grants: launch / field" },
  Resolve_options = { "names: net.resolve" },
  Retry = { "http-client: Options of a request / field of `retry`" },
  Sammy_options = { "sammy: net.http.sammy" },
  Sammy_path_options = { "sammy: Routes" },
  Sammy_route_options = { "sammy: Routes" },
  Sammy_static_options = { "sammy: Routes" },
  Send_options = { "mail: mail:send(" },
  Send_raw_options = { "mail: mail:send(" },
  Sent_event = { "server: request:events / field of an event" },
  Server_options = { "server: net.http.server" },
  Server_tls = { "sockets: net.tcp_listen / field of `tls`" },
  Server_unix = { "server: net.http.server" },
  Smtp_options = { "mail: net.smtp", "mail: Options of every client" },
  Spec = { "grants: launch / field" },
  Ssl_options = { "sockets: net.tcp(", "sockets: net.ssl" },
  Starttls_options = { "sockets: s:starttls", "sockets: net.ssl", "sockets: net.tcp_listen / field of `tls`" },
  Tcp_options = { "sockets: net.tcp(" },
  Timeout = { "sockets: net.tcp(" },
  Udp_listen_options = { "sockets: net.udp(" },
  Udp_options = { "sockets: net.udp(" },
  Uds_options = { "sammy: net.uds" },
  Upgrade_options = { "server: request:websocket" },
  Url_decode_options = { "helpers: url.decode" },
  Url_parts = { "helpers: url.build / part" },
  Websocket_options = { "events-and-websockets: net.websocket" },
}

--- What a type of meta.lua begins with, what a page says of it, and the words of the unit, by kind.
local KINDS = {
  any = { { "" }, { "." } },
  boolean = { { "boolean" }, { "boolean" } },
  string = { { "string", '"', "caspian.net.Path" }, { "string", '"' } },
  strings = { { "string[]", "string|string[]" }, { "list" } },
  seconds = { { "number" }, { "number" }, { "seconds" } },
  time = { { "integer" }, { "integer" }, { "seconds" } },
  bytes = { { "integer" }, { "integer" }, { "bytes", "KiB", "MiB" } },
  size = { { "integer" }, { "integer" }, { "bytes", "KiB", "MiB" } },
  rate = { { "integer" }, { "integer" }, { "bytes a second" } },
  count = { { "integer" }, { "integer" } },
  whole = { { "integer" }, { "integer" } },
  port = { { "integer", "caspian.net.Port" }, { "integer" } },
  table = { { "table", "caspian.net.", "{", "integer[]", "string[]" }, { "table", "list", "rule", "route" } },
  ["function"] = { { "fun(" }, { "function" } },
}

--- Options of a parent's that mean nothing there: types cannot take them away.
local LESS = { Events_options = { stream = true, save = true, max_body_bytes = true, on_progress = true, progress = true, retry = true } }

-- --- the types -----------------------------------------------------------------------------------------------------

--- The type at the beginning of a text, and what stands behind it.
local function cut(text)
  local depth, at = 0, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char:find("[%[({<]") then depth = depth + 1
    elseif char:find("[%])}>]") then depth = depth - 1
    elseif char == " " and depth == 0 and text:sub(at - 1, at - 1) ~= ":" then break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at):gsub("^ +", ""))
end

local META = process.read("lua/caspian/net/meta.lua")

--- The fields of the types by class, with those of their parents: name to { type =, meaning = }.
local classes = {}
do
  local current
  for line in META:gmatch("[^\n]+") do
    local class, parents = line:match("^%-%-%-@class caspian%.net%.([%w_]+):?(.*)$")
    local field, rest = line:match("^%-%-%-@field ([%w_]+)%?? (.*)$")
    if class then
      current = {}
      for parent in parents:gmatch("caspian%.net%.([%w_]+)") do
        for name, of in pairs(classes[parent]) do current[name] = of end
      end
      classes[class] = current
    elseif field and current then
      local kind, meaning = cut(rest)
      current[field] = { type = kind, meaning = meaning }
    end
  end
end

-- --- the pages -----------------------------------------------------------------------------------------------------

--- The tables of the pages: { page =, heading =, title =, rows = { [name] = { type =, unit =, default =, meaning = } } }.
local tables = {}
for page in process.read("site/SUMMARY.md"):gmatch("%]%(docs/([^)]+)%.md%)") do
  local heading, columns, rows
  for line in process.read("docs/" .. page .. ".md"):gmatch("([^\n]*)\n") do
    local cells = {}
    for cell in line:gsub("\\|", "\1"):gmatch("|%s*([^|]*)") do cells[#cells + 1] = (cell:gsub("%s+$", ""):gsub("\1", "|")) end
    heading = line:match("^#+ (.*)$") or heading
    if not line:find("^|") then
      columns = nil
    elseif not columns then
      columns, rows = {}, {}
      for index, title in ipairs(cells) do columns[title] = index end
      tables[#tables + 1] = { page = page, heading = heading, title = cells[1], rows = rows, columns = columns }
    else
      local names, defaults = {}, {}
      for name in cells[1]:gmatch("`([%w_]+)") do names[#names + 1] = name end
      local default = cells[columns.default or 0]
      for one in (default or ""):gmatch("[^,;]+") do defaults[#defaults + 1] = one end
      for index, name in ipairs(names) do
        rows[name] = {
          type = cells[columns.type or 0], unit = cells[columns.unit or 0], meaning = cells[columns.meaning or 0],
          default = #names > 1 and #defaults == #names and defaults[index] or default,
        }
      end
    end
  end
end

--- The table at a place of PLACES.
local function at(place)
  local page, heading, title = place:match("^([%w-]+): (.*) / (.*)$")
  if not page then
    page, heading = place:match("^([%w-]+): (.*)$")
    title = "option"
  end
  for _, one in ipairs(tables) do
    if one.page == page and one.heading:sub(1, #heading) == heading and one.title == title then return one end
  end
end

--- The row of an option; nil where there is none.
local function row_of(class, name)
  for _, place in ipairs(PLACES[class] or {}) do
    local row = (at(place) or { rows = {} }).rows[name]
    if row then return row end
  end
end

-- --- words ---------------------------------------------------------------------------------------------------------

--- The value that a default begins with, if it is one that can be compared; `10,000` is 10000.
local function literal(text)
  text = (text or ""):gsub("`", ""):gsub("^%s+", "")
  local found = text:match('^"[^"]*"') or text:match("^true%f[%W]") or text:match("^false%f[%W]") or text:match("^true$") or text:match("^false$")
    or text:match("^[%d.,]*%d %u%l?i?B%f[%W]") or text:match("^[%d.,]*%d %u%l?i?B$") or text:match("^[%d.,]*%d")
  return found and (found:gsub("(%d),(%d)", "%1%2"))
end

--- The same of a meaning in meta.lua.
local function default_of(meaning)
  return literal(meaning:match("Defaults to (.*)$"))
end

local function has(text, words)
  for _, word in ipairs(words) do
    if text:find(word, 1, true) then return true end
  end
  return false
end

local function begins(text, starts)
  for _, start in ipairs(starts) do
    if text:sub(1, #start) == start then return true end
  end
  return false
end

--- Calls `check(wrong, class, name, kind)` for every option; what it told is to be nothing.
local function each(check)
  local wrong = {}
  assert.equal("table", type(net))
  for class, options in pairs(args.declared) do
    for name, kind in pairs(options) do
      check(function(what) wrong[#wrong + 1] = class .. "." .. name .. ": " .. what end, class, name, kind)
    end
  end
  table.sort(wrong)
  assert.same({}, wrong)
end

-- --- the code ------------------------------------------------------------------------------------------------------

--- The front's files, but for those with parameters of LuaSocket's and LuaSec's: { path =, text =, tables = }. `tables` are their tables of
-- kinds, by name: option to the comment beside it.
local files = {}
for path in io.popen("ls lua/caspian/net.lua lua/caspian/net/*.lua lua/caspian/net/*/*.lua lua/caspian/net/*/*/*.lua"):lines() do
  local file = { path = path, text = process.read(path), tables = {} }
  if not path:find("meta.lua", 1, true) and (not path:find("/compat/", 1, true) or file.text:find("args.options", 1, true)) then
    local current
    for line in file.text:gmatch("[^\n]+") do
      current = line:match("^local ([%u_]+) = ") or line:match("^[%w_]+%.([%u_]+) = ") or current
      local code, comment = line:match("^(.-)%s*%-%- (.*)$")
      for name, kind in (code or line):gmatch('([%w_]+) = "(%l+)"') do
        if KINDS[kind] and not line:find("^%s*%-%-") and not line:find("^for ") then
          local known = file.tables[current or "?"] or {}
          file.tables[current or "?"] = known
          known[name] = comment or ""
        end
      end
    end
    files[#files + 1] = file
  end
end

--- The classes that a table of a file is declared as, also as a part of another table.
local function classes_of(file, name)
  local found = {}
  for declared in file.text:gmatch("args%.declare(%b{})") do
    for class, value in declared:gsub("(%u[%w_]* = )", "\1%1"):gmatch("\1([%w_]+) =([^\1]+)") do
      if value:find("[^%w_]" .. name .. "[^%w_]") then found[#found + 1] = class end
    end
  end
  for other, value in file.text:gmatch("\nlocal ([%u_]+) = merged(%b())") do
    if other ~= name and value:find("[^%w_]" .. name .. "[^%w_]") then
      for _, class in ipairs(classes_of(file, other)) do found[#found + 1] = class end
    end
  end
  return found
end

--- Where the defaults are in the code: file, and options with what stands before their values.
local CODE = {
  Batch_options = { "src/client/batch.rs", parallel = " parallel: ", per_origin = " per_origin: " },
  Client_options = {
    "src/client/pool.rs", max_idle = " idle: ", max_idle_per_origin = " per_origin: ", idle_timeout = " lifetime: ",
  },
  Compress = {
    "src/http/websocket/extension.rs", threshold = " threshold: ", server_max_window_bits = " MOST_BITS: u8 = ",
    client_max_window_bits = " MOST_BITS: u8 = ", server_no_context_takeover = "server_no_context_takeover: ",
    client_no_context_takeover = "client_no_context_takeover: ",
  },
  Cookie = {
    "src/lua/cookies.rs", host_only = '"host_only", ', secure = '"secure", ', http_only = '"http_only", ',
  },
  Events_options = { "src/http/events.rs", max_event_bytes = " MAX_EVENT: usize = " },
  Fetch_options = {
    "src/client/options.rs", follow_redirects = " follow_redirects: ", max_redirects = " max_redirects: ", max_body_bytes = " max_body_bytes: ",
    decompress = " decompress: ",
  },
  Ftp_get_options = { "lua/caspian/net/ftp.lua", max_body_bytes = "local BODY = " },
  Ftp_list_options = { "lua/caspian/net/ftp.lua", max_body_bytes = "local LISTING = " },
  Guard_config = {
    "lua/caspian/net/guard.lua", max_body_bytes = "config.max_body_bytes or ", max_redirects = "config.max_redirects or ",
    max_request_bytes = "config.max_request_bytes or ", timeout = "config.timeout or ",
  },
  Http_options = { "src/lua/request_options.rs", allow_downgrade = '"allow_downgrade", ', stream = '"stream", ' },
  Imap_options = { "lua/caspian/net/mail/imap/commands.lua", max_line_bytes = " LINE = ", max_literal_bytes = " LITERAL = ", max_reply_bytes = " REPLY = " },
  Line_options = { "src/conn.rs", max = " MAX_LINE: usize = " },
  Listen_options = { "src/listen.rs", backlog = " BACKLOG: i32 = " },
  Mail_options = { "lua/caspian/net/mail/opening.lua", timeout = "opts.timeout or ", tls = "opts.tls == nil then opts.tls = " },
  Pop3_message_options = { "lua/caspian/net/mail/pop3.lua", max_body_bytes = "local BODY = " },
  Proxy = { "src/lua/request_options.rs", tunnel = '"tunnel", ' },
  Retry = { "src/http/retry.rs", attempts = " attempts: ", backoff = " backoff: ", max_wait = " max_wait: " },
  Sammy_options = {
    "lua/caspian/net/sammy/sessions.lua", cookie_name = "given.cookie_name or ", cookie_samesite = "given.cookie_samesite or ",
    cookie_path = "given.cookie_path or ",
  },
  Server_options = {
    "src/server/options.rs", max_memory_bytes = " memory: ", max_buffered_bytes = " buffered: ", head_timeout = " head_timeout: ",
    body_grace = " body_grace: ", min_body_rate = " body_rate: ", send_grace = " send_grace: ", min_send_rate = " send_rate: ",
    idle_timeout = " idle_timeout: ", handshake_timeout = " handshake_timeout: ", drain_timeout = " drain_timeout: ",
    max_connections = " connections: ", max_requests = " requests: ",
  },
  Server_unix = { "src/http/incoming/mod.rs", max_head_bytes = " Limits { head: ", max_fields = " fields: ", max_body_bytes = " body: " },
  Starttls_options = { "src/listen/tls.rs", handshake_timeout = " HANDSHAKE_TIMEOUT: Duration = " },
  Timeout = { "src/deadline.rs", timeout = " DEFAULT: Duration = " },
  Trust = { "src/tls/client.rs", verify = " verify: " },
  Websocket_options = { "src/http/websocket/frames.rs", max_message_bytes = " Limits { message: " },
}

local SIZES = { KiB = 1024, MiB = 1024 * 1024 }

--- The value of a constant in Rust or Lua, or of a default in words: a number, or the text. Nil where it is neither.
local function value_of(text)
  text = text:gsub("(%d)_(%d)", "%1%2"):gsub("%* MIB", "* 1048576")
  local whole = text:match("^Duration::from_secs%((%d+)%)")
  local milli = text:match("^Duration::from_millis%((%d+)%)")
  local number, shift = text:match("^(%d+) << (%d+)")
  local amount, size = text:match("^([%d.]+) (%u%l?i?B)")
  if whole then return tonumber(whole) end
  if milli then return milli / 1000 end
  if number then return number * 2 ^ shift end
  if amount and SIZES[size] then return amount * SIZES[size] end
  local product = text:match("^[%d.]+") and 1
  for factor in (text:match("^[%d. *]+") or ""):gmatch("[%d.]+") do product = product * tonumber(factor) end
  return product or text:match("^true") or text:match("^false") or text:match('^"[^"]*"')
end

--- Methods of src/lua/options.rs that read an option.
local READERS = { find = true, flag = true, headers = true, inner = true, list = true, pem = true, seconds = true, secret = true, text = true }

--- What the front tells the binding besides.
local OWN = { bytes = true, header_names = true, header_values = true, length = true, paced = true, parts = true, pump = true, record = true }

describe("the options", function()
  it("have their types, and each type its option", function()
    each(function(wrong, class, name, kind)
      local field = assert(classes[class], "meta.lua has no class " .. class)[name]
      if not field then wrong("is not in meta.lua")
      elseif not begins(field.type, KINDS[kind][1]) then wrong(kind .. " is no " .. field.type) end
    end)
    local wrong = {}
    for class, options in pairs(args.declared) do
      for name in pairs(assert(classes[class], "meta.lua has no class " .. class)) do
        if not options[name] and not (LESS[class] or {})[name] then wrong[#wrong + 1] = class .. "." .. name .. " is no option" end
      end
    end
    for class in pairs(classes) do
      if class:find("_options$") and not args.declared[class] then wrong[#wrong + 1] = class .. " is declared by no table" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("have a meaning with the unit in their types", function()
    each(function(wrong, class, name, kind)
      local meaning, units = classes[class][name].meaning, KINDS[kind][3]
      if meaning == "" then wrong("meta.lua says nothing of it")
      elseif units and not has(meaning, units) then wrong("a number of " .. units[1] .. "; meta.lua says: " .. meaning)
      elseif meaning:find("%f[%a]ms%f[%A]") or meaning:find("milli") then wrong("times are seconds; meta.lua says: " .. meaning) end
    end)
  end)

  it("have rows in the pages, of their type and unit", function()
    each(function(wrong, class, name, kind)
      local row, units = row_of(class, name), KINDS[kind][3]
      if not PLACES[class] then return wrong("PLACES does not say where the rows of " .. class .. " are") end
      if not row then return wrong("has no row in " .. table.concat(PLACES[class], ", ")) end
      if not row.meaning or row.meaning == "" then return wrong("its row has no meaning") end
      if row.meaning:find("^as for ") and (row.type or "") == "" then return end -- a row of another table, which is compared there
      if not row.type or row.type == "" then return wrong("its row has no type") end
      local fits = false
      for _, word in ipairs(KINDS[kind][2]) do fits = fits or row.type:find(word) ~= nil end
      if not fits then wrong("a " .. kind .. "; its row says " .. row.type) end
      local said = (row.unit or "") .. " " .. (row.default or "") .. " " .. row.meaning
      if units and not has(said, units) then wrong("a number of " .. units[1] .. "; its row says: " .. said) end
      if not units and row.unit and has(row.unit, { "seconds", "bytes" }) then wrong("a " .. kind .. " has no unit; its row says " .. row.unit) end
      if said:find("%f[%a]ms%f[%A]") or said:find("milli") then wrong("times are seconds; its row says: " .. said) end
    end)
  end)

  it("are all that the pages' tables have", function()
    local wrong, known = {}, {}
    for class, places in pairs(PLACES) do
      if not args.declared[class] then wrong[#wrong + 1] = "PLACES has " .. class .. ", which no table is declared as" end
      for _, place in ipairs(places) do
        local one = at(place)
        if not one then wrong[#wrong + 1] = "there is no table " .. place end
        known[one or place] = known[one or place] or {}
        for name in pairs(args.declared[class] or {}) do known[one or place][name] = true end
      end
    end
    for _, one in ipairs(tables) do
      for name in pairs(known[one] and one.rows or {}) do
        if not known[one][name] then wrong[#wrong + 1] = one.page .. ": " .. one.heading .. ": " .. name .. " is no option" end
      end
      if one.title == "option" and not known[one] then wrong[#wrong + 1] = one.page .. ": " .. one.heading .. ": options of no class" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("have the same defaults in types and pages", function()
    local compared = 0
    each(function(wrong, class, name)
      local row = row_of(class, name) or {}
      local paged, typed = literal(row.default), default_of(classes[class][name].meaning)
      if (row.meaning or ""):find("^as for ") or not row.default then return end
      if paged ~= typed then wrong("meta.lua says " .. tostring(typed) .. ", its row " .. tostring(paged)) end
      compared = compared + (paged and 1 or 0)
    end)
    assert(compared > 100, compared)
  end)

  it("have the defaults that stand beside the tables", function()
    local wrong, compared = {}, 0
    for _, file in ipairs(files) do
      for name, options in pairs(file.tables) do
        for option, comment in pairs(options) do
          local beside = literal(comment)
          for _, class in ipairs(beside and classes_of(file, name) or {}) do
            local field = classes[class][option]
            local typed = field and default_of(field.meaning)
            if field and typed ~= beside then
              wrong[#wrong + 1] = file.path .. ": " .. option .. " is " .. beside .. "; meta.lua says " .. tostring(typed) .. " of " .. class
            end
            compared = compared + 1
          end
        end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
    assert(compared > 60, compared)
  end)

  it("have the defaults that the code has", function()
    local wrong = {}
    for class, options in pairs(CODE) do
      local text = process.read(options[1])
      for name, before in pairs(options) do
        if name ~= 1 then
          -- The first that is a value: a field of a struct has its type before.
          local found
          local _, stop = text:find(before, 1, true)
          while stop and found == nil do
            found = value_of(text:sub(stop + 1, stop + 60))
            _, stop = text:find(before, stop + 1, true)
          end
          local typed = value_of(default_of(classes[class][name].meaning) or "")
          if found == nil or found ~= typed then
            wrong[#wrong + 1] = ("%s.%s: %s has %s; meta.lua says %s"):format(class, name, options[1], tostring(found), tostring(typed))
          end
        end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("are read through declared tables", function()
    local wrong = {}
    for _, file in ipairs(files) do
      for name, options in pairs(file.tables) do
        if #classes_of(file, name) == 0 then wrong[#wrong + 1] = file.path .. ": " .. name .. " (" .. next(options) .. " …) is not declared" end
      end
      for call in file.text:gmatch("%f[%w_]options(%b())") do
        if call:find("{%s*[%w_]+ = \"") then wrong[#wrong + 1] = file.path .. ": options" .. call .. ": a table without a name" end
      end
    end
    -- What `Stream:recv_line` takes is checked by the binding.
    for name in process.read("src/lua/hot.rs"):gmatch('\n%s+b"(%l+)" =>') do
      if not args.declared.Line_options[name] then wrong[#wrong + 1] = "src/lua/hot.rs: " .. name .. " is not declared" end
    end
    local known = {}
    for _, options in pairs(args.declared) do
      for name in pairs(options) do known[name] = true end
    end
    local count = 0
    for path in io.popen("ls src/lua/*.rs"):lines() do
      for method, name in process.read(path):gmatch('%.(%l+):?:?[<>%w]*%("([%l%d_]+)"') do
        if READERS[method] then
          count = count + 1
          if not known[name] and not OWN[name] then wrong[#wrong + 1] = path .. ": reads " .. name .. ", which is not declared" end
        end
      end
    end
    assert(count > 60, count)
    -- Requests: the binding has an arm for each option that the front hands on.
    local arms = { headers = true, on_progress = true, progress = true }
    for name in process.read("src/lua/request_options.rs"):gmatch('\n%s+|? ?b"([%l%d_]+)"') do
      arms[name] = true
      if not args.declared.Http_options[name] and not OWN[name] then
        wrong[#wrong + 1] = "src/lua/request_options.rs: reads " .. name .. ", which is not declared"
      end
    end
    for name in pairs(args.declared.Http_options) do
      if not arms[name] then wrong[#wrong + 1] = "src/lua/request_options.rs: does not read " .. name end
    end
    -- What a public function takes has a class.
    for name, kind in META:gmatch("\n%-%-%-@param (%w+)%?? ([^\n]*)") do
      if name == "opts" or name == "event" or kind:find("%w%?: ") and kind:find("^{") then
        local class = kind:match("^caspian%.net%.([%w_]+)")
        if not args.declared[class or ""] then wrong[#wrong + 1] = "meta.lua: @param " .. name .. " " .. kind .. ": no declared class" end
      end
    end
    for kind in META:gmatch("opts%?: ([^\n]*)") do
      local class = kind:match("^caspian%.net%.([%w_]+)")
      if not args.declared[class or ""] then wrong[#wrong + 1] = "meta.lua: opts?: " .. kind .. ": no declared class" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)
end)
