--- Responses for scripts, gathered or as a stream.
local args = require("caspian.net.args")
local malformed = require("caspian.net.error_methods").malformed
local objects = require("caspian.net.objects")
local requests = require("caspian.net.requests")
local error, setfenv, setmetatable, tostring = error, setfenv, setmetatable, tostring
local find, sub = string.find, string.sub
local io_type = io and io.type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, show, states, readonly = args.answer, args.bad, args.show, objects.states, objects.readonly
local FOLDED, bound = objects.FOLDED, objects.bound
local function is_file(value) return io_type and io_type(value) ~= nil end

--- What is behind a response, by keys that no script has, in one table with the fields that it may see: this table is most
-- of what a small request leaves to the collector. CALL: the core's; REPORT: who is told how far it is, of DONE bytes; PLACE:
-- where the next read of a gathered body begins; CLOSED: the script has ended it.
local CALL, CLOSED, CORE, DONE, PLACE, REPORT = {}, {}, {}, {}, {}, {}

--- The methods of responses. They get what is behind the response; a script calls them with a dot or a colon.
local RESPONSE = {}

local function read(state, how, count)
  local bytes, err = state[CORE].http_read(state[CALL], how, count)
  if bytes == nil and err ~= nil then error(err, 0) end
  local report = state[REPORT]
  if report then
    state[DONE] = (state[DONE] or 0) + (bytes and #bytes or 0)
    local over = bytes == nil or how == "rest"
    if over then state[REPORT] = nil end
    report(state[DONE], state[CORE].http_total(state[CALL]), "download", over)
  end
  return bytes
end

--- The body's rest as a string: what was gathered, or what a stream still has.
local function rest(state)
  if state.body then return state.body end
  return read(state, "rest")
end

--- `count` bytes, fewer only at the end of the body, nil after it; without `count` all that is left.
function RESPONSE.read(state, count)
  if count ~= nil then args.count(1, "read", "count", count, 1) end
  local body = state.body
  if not body then
    if count then return read(state, "exact", count) end
    local bytes = read(state, "rest")
    if bytes == "" then return nil end
    return bytes
  end
  local start = state[PLACE] or 1
  if start > #body then return nil end
  local last = count and start + count - 1 or #body
  state[PLACE] = last + 1
  return sub(body, start, last)
end

--- An iterator over the lines, each with its newline. `close()` ends it.
function RESPONSE.lines(state)
  return function()
    if state[CLOSED] then return nil end
    local body = state.body
    if not body then return read(state, "line") end
    local start = state[PLACE] or 1
    if start > #body then return nil end
    local last = find(body, "\n", start, true) or #body
    state[PLACE] = last + 1
    return sub(body, start, last)
  end
end

--- An iterator over the body as it arrives, in pieces of at most 64 KiB. `close()` ends it.
function RESPONSE.chunks(state)
  return function()
    if state[CLOSED] then return nil end
    if not state.body then return read(state, "piece", 65536) end
    return RESPONSE.read(state, 65536)
  end
end

--- Writes `bytes` to a file of the script's; a file that takes no more ends the response.
local function write(core, call, file, bytes)
  local done, why = file:write(bytes)
  if not done then
    core.http_drop(call)
    error("save: " .. tostring(why), 0)
  end
end

--- Writes what is left of the body to an open file, as it arrives; answers how many bytes.
function RESPONSE.save(state, file)
  if not requests.is_open_file(file, "save", "file", 1) then
    bad(1, "save", "an open file expected, got " .. show(file))
  end
  local count = 0
  for piece in RESPONSE.chunks(state) do
    write(state[CORE], state[CALL], file, piece)
    count = count + #piece
  end
  return count
end

--- Ends a stream. What was not read is lost.
function RESPONSE.close(state)
  state[CLOSED] = true
  state[CORE].http_drop(state[CALL])
end

--- The body in UTF-8, decoded by the charset that the server names. Defaults to UTF-8.
function RESPONSE.text(state)
  local text, err = state[CORE].http_text(state[CALL], rest(state))
  if text == nil then error(err, 0) end
  return text
end

--- The body as a Lua value; `null` is `net.null`.
function RESPONSE.json(state)
  local value, err = state[CORE].json_decode(rest(state))
  if value == nil then error(malformed(err, state[CORE].http_info(state[CALL], "url"), not state.body), 0) end
  return value
end

--- The server's certificate, or nil: { subject, issuer, fingerprint, valid_from, valid_until, sans, serial, pem }.
function RESPONSE.peer_cert(state)
  return (answer("peer_cert", state[CORE].http_info(state[CALL], "cert")))
end

--- Fields that are found in any case; or nil and why there are none.
local function folded(fields, err)
  if fields == nil then return nil, err end
  return setmetatable(fields, FOLDED)
end

--- Fields that are made when they are asked for.
local LAZY = {
  headers = function(core, call) return folded(core.http_fields(call, "headers")) end,
  raw_headers = function(core, call) return core.http_fields(call, "raw_headers") end,
  trailers = function(core, call) return folded(core.http_fields(call, "trailers")) end,
  timings = function(core, call)
    local timings, err = core.http_info(call, "timings")
    if timings == nil then return nil, err end
    return setmetatable(timings, objects.HASH)
  end,
  ok = function(_, _, status) return status >= 200 and status < 300 end,
  reason = function(core, call)
    local status, reason = core.http_head(call)
    if status then return reason end
    return status, reason -- the error
  end,
  version = function(core, call)
    local status, reason, version = core.http_head(call)
    if status then return version end
    return status, reason
  end,
  url = function(core, call) return core.http_info(call, "url") end,
  redirect_chain = function(core, call) return core.http_info(call, "chain") end,
}
LAZY["ok?"] = LAZY.ok
--- Those that are not final before the body is over.
local FINAL = { trailers = true, timings = true }

local response = {
  __name = "caspian.net.response",
  __metatable = false,
  __newindex = readonly,
}
objects.kinds[response] = "response"

function response.__index(self, name)
  local state = states[self]
  local value = state[name]
  if value ~= nil then return value end
  local make, method = LAZY[name], RESPONSE[name]
  if make then
    -- A finalizer that runs while the response is being read finds it in use.
    value = answer(name, make(state[CORE], state[CALL], state.status))
    if FINAL[name] and not state[CORE].http_info(state[CALL], "over") then return value end
  elseif method then
    value = bound(method, state)
  else
    return nil
  end
  state[name] = value
  return value
end

function response.__tostring(self)
  return "response " .. tostring(self.status) .. (self.reason ~= "" and " " .. self.reason or "")
end

function response.__close(self)
  RESPONSE.close(states[self])
end

--- Status and body, with a word about each piece of it.
local function gather(core, call, report)
  while true do
    local held, total, over = core.http_fill(call, 262144)
    if held == nil then error(total, 0) end
    report(held, total, "download", over)
    if over then break end
  end
  return core.http_whole(call)
end

--- Where the body began that has left `done` bytes in a file, if they can be taken back: they are the last ones of a file
-- that can be sought. Else nil and why not.
local function beginning(file, done)
  if done == 0 then return true end
  local here, why = file:seek("cur")
  if not here then return nil, "the file cannot seek (" .. tostring(why) .. ")" end
  local last = file:seek("end")
  if last ~= here or here < done then
    file:seek("set", here)
    return nil, "the file has more data after this position"
  end
  return here - done
end

--- Writes the body to a file; answers how many bytes. Where the body is lost and the option `retry` asks for it again, what
-- came of it is taken back, and nil is the answer: the head is another one now.
local function store(core, call, report, file)
  local total, done = core.http_total(call), 0
  while true do
    local bytes, err = core.http_save(call, 65536)
    if bytes == nil and err ~= nil then error(err, 0) end
    if bytes == false then
      local start, why = beginning(file, done)
      local again
      again, err = core.http_again(call, not start and "; not retried, and the part that was saved stays in the file: " .. why or nil)
      if not again then error(err, 0) end
      if done > 0 then
        -- Only now: if nobody had answered, what was saved would still be there.
        file:seek("set", start)
        again, err = core.http_cut(file, start)
        if not again then error(err, 0) end
      end
      return nil
    end
    if report then report(done + (bytes and #bytes or 0), total, "download", bytes == nil) end
    if bytes == nil then return done end
    write(core, call, file, bytes)
    done = done + #bytes
  end
end

--- The same for the place of a path, where the file appears once it is whole.
local function keep(core, call, report, place)
  local total, done = core.http_total(call), 0
  while true do
    local count, err = core.http_keep(call, place, 65536)
    if count == nil then error(err, 0) end
    if count == false then
      local again
      again, err = core.http_again(call)
      if not again then
        core.http_drop(call)
        error(err, 0)
      end
      return nil
    end
    done = done + count
    if report then report(done, total, "download", count == 0) end
    if count == 0 then return done end
  end
end

--- The response of a call whose head is here; `body` where it was gathered, `report` where a stream is told of.
local function made(core, call, status, body, report, saved)
  local object = setmetatable({}, response)
  local state = { [CORE] = core, [CALL] = call, status = status, body = body }
  if report then state[REPORT] = report end
  if saved then state.saved = saved end
  states[object] = state
  if body == nil and not saved then objects.polled[object] = call end
  return object
end

--- Reads what is to be read of a call whose head is here. `report` is told how far it is; `file` takes the body of a 2xx.
local function respond(core, call, stream, report, file)
  local status, why, index = core.http_head(call)
  if status == nil then answer("fetch", status, why, index) end
  local body, err, saved
  while file and not saved and status >= 200 and status < 300 do
    saved = (is_file(file) and store or keep)(core, call, report, file)
    status = core.http_head(call)
  end
  if not (saved or stream) then
    if report then
      status, body = gather(core, call, report)
    else
      status, body = core.http_whole(call)
    end
    if status == nil then error(body, 0) end
    if file and status >= 200 and status < 300 then
      if is_file(file) then
        write(core, call, file, body)
      else
        saved, err = core.http_kept(file, body)
        if saved == nil then error(err, 0) end
      end
      saved, body = #body, nil
    end
  end
  return made(core, call, status, body, stream and report or nil, saved)
end

return { respond = respond, made = made }
