--- The guard against forged requests from other sites: the synchronizer token. It is in the session and in every form, and
-- must come back with each POST, PUT, PATCH and DELETE.
local find, gsub, lower, match, sub = string.find, string.gsub, string.lower, string.match, string.sub
local concat, setfenv, type = table.concat, setfenv, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- Methods that change something.
local CHANGES = { POST = true, PUT = true, PATCH = true, DELETE = true }

--- Where a tag ends: behind its `>`, which may stand in quotes, too.
local function tag_end(html, from)
  local at = from
  while true do
    local stop, _, what = find(html, "([>\"'])", at)
    if not stop then return nil end
    if what == ">" then return stop end
    at = find(html, what, stop + 1, true)
    if not at then return nil end
    at = at + 1
  end
end

--- The attribute `method` of a form's tag, in small letters; "get" where it has none.
local function method_of(tag)
  local rest = match(tag, "^<%w+(.*)>$") or ""
  local at = 1
  while true do
    local _, stop, name = find(rest, "^[%s/]*([^%s=/>]+)", at)
    if not stop then return "get" end
    local value
    local _, equals = find(rest, "^%s*=%s*", stop + 1)
    if equals then
      local quote = match(rest, "^[\"']", equals + 1)
      if quote then
        local close = find(rest, quote, equals + 2, true)
        if not close then return "get" end
        value, stop = sub(rest, equals + 2, close - 1), close
      else
        _, stop, value = find(rest, "^([^%s>]*)", equals + 1)
      end
    end
    if lower(name) == "method" then return lower(gsub(value or "", "^%s+", "")) end
    at = stop + 1
  end
end

--- Elements whose contents are no markup.
local RAW = { script = true, style = true, textarea = true, title = true, template = false }

--- Puts `field()` behind the tag of every form of a page that sends something with POST, PUT, PATCH or DELETE. Comments, scripts
-- and styles are passed over. No parser of HTML: what scripts make in the browser sends the header instead.
-- @return the page; the same text where it has no such form
local function inject(html, field)
  local parts, from, at = {}, 1, 1
  while true do
    local open = find(html, "<", at, true)
    if not open then break end
    if sub(html, open, open + 3) == "<!--" then
      local _, stop = find(html, "-->", open + 4, true)
      if not stop then break end
      at = stop + 1
    else
      local name = match(html, "^<(%a%w*)", open)
      local stop = name and tag_end(html, open)
      if not stop then
        at = open + 1
        if name then break end
      else
        name, at = lower(name), stop + 1
        if name == "form" then
          local method = method_of(sub(html, open, stop))
          if method ~= "get" and method ~= "dialog" then
            parts[#parts + 1] = sub(html, from, stop)
            parts[#parts + 1] = field()
            from = stop + 1
          end
        elseif RAW[name] then
          -- To its end tag, or to the end of the page.
          local closing = "</" .. name
          local search = at
          repeat
            search = find(html, "</", search, true)
            if search and lower(sub(html, search, search + #closing - 1)) == closing then break end
            search = search and search + 2
          until not search
          if not search then break end
          at = search
        end
      end
    end
  end
  if from == 1 then return html end
  parts[#parts + 1] = sub(html, from)
  return concat(parts)
end

--- The token of a session, made where there is none.
local function token(session, codec)
  local known = session.csrf_token
  if type(known) ~= "string" or known == "" then
    known = codec.base64.url_encode(codec.hash.random(32))
    session.csrf_token = known
  end
  return known
end

--- Has a request brought the token of its session? Only such requests are asked as change something.
-- @param request with `method`, `headers` and `params`
local function passes(request, session, codec)
  if not CHANGES[request.method] then return true end
  local known = session().csrf_token
  if type(known) ~= "string" or known == "" then return false end
  local given = request.headers["x-csrf-token"]
  if given == nil then
    -- In the body alone: a query stands in logs and in links.
    local kind = lower(request.headers["content-type"] or "")
    if find(kind, "^application/x%-www%-form%-urlencoded") or find(kind, "^multipart/form%-data") then
      given = request.params.csrf_token
    end
  end
  return type(given) == "string" and codec.hash.equal(given, known)
end

--- Puts the token into the forms of a page.
-- @param session makes the session, when a form needs it
local function guarded(html, session, codec)
  return inject(html, function()
    return '<input type="hidden" name="csrf_token" value="' .. token(session(), codec) .. '">'
  end)
end

return { inject = inject, token = token, passes = passes, guarded = guarded }
