--- SASL (RFC 4422): the mechanisms of the mail clients, each as an exchange of plain bytes. Each protocol frames them
-- (base64 after `334 `, `+ `); `converse` runs the exchange.
--
-- A password is sent in the clear over TLS only, or with `insecure_auth`. CRAM-MD5 and SCRAM never send it.
local errors = require("caspian.net.errors")
local error, next, setfenv, tonumber, type = error, next, setfenv, tonumber, type
local find, format, gsub, match, sub, upper = string.find, string.format, string.gsub, string.match, string.sub, string.upper
local concat, sort = table.concat, table.sort
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local fail = errors.fail

local M = {
  --- Rounds of PBKDF2: fewer are too cheap to guess (RFC 7677 section 4), more would hold the program for seconds.
  FEWEST = 4096, MOST = 1000000,
  SALT = 1024,       -- bytes of a salt
  CHALLENGE = 12288, -- bytes of a challenge, in base64 (RFC 4954 section 4)
  ROUNDS = 8,        -- challenges of one exchange
}

--- By the name that the option `auth` has: mechanisms, the best first.
local BY_NAME = {
  plain = { "PLAIN" },
  login = { "LOGIN" },
  cram_md5 = { "CRAM-MD5" },
  xoauth2 = { "XOAUTH2" },
  scram = { "SCRAM-SHA-256", "SCRAM-SHA-1" },
}
local IN_PRIVATE = { "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5" }
local IN_THE_OPEN = { "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN" }

--- Those that show the password, or what is as good, to whoever reads along.
local CLEAR = { PLAIN = true, LOGIN = true, XOAUTH2 = true }
--- The same by the names of the option.
M.CLEAR = { plain = true, login = true, xoauth2 = true }

--- What the option `auth` may be; and as words.
M.NAMES = { auto = true }
for name in next, BY_NAME do M.NAMES[name] = true end
M.WORDS = '"auto", "plain", "login", "cram_md5", "xoauth2" or "scram"'

--- What is said where a password is not sent. why: besides that there is no TLS. Defaults to nothing
function M.exposed(why)
  return "the password would be sent without TLS" .. (why and ": " .. why or "")
    .. ' (set tls = "starttls" or "implicit"; insecure_auth = true allows it)'
end

--- The mechanism to use.
-- @param offered names as the server has them, a list
-- @param opts { auth = "auto", private = over TLS?, insecure_auth = false }
-- @return its name; nil, the class of an error and words where there is none
function M.choose(offered, opts)
  local has, names = {}, {}
  for _, name in next, offered do
    name = upper(name)
    if not has[name] then names[#names + 1] = name end
    has[name] = true
  end
  local auth = opts.auth or "auto"
  local list = BY_NAME[auth] or opts.private and IN_PRIVATE or IN_THE_OPEN
  local open = opts.private or opts.insecure_auth
  local clear
  for at = 1, #list do
    local name = list[at]
    if has[name] then
      if open or not CLEAR[name] then return name end
      clear = true
    end
  end
  sort(names)
  local shown = #names == 0 and "none" or sub((gsub(concat(names, " "), "[^%w%-_ ]", "?")), 1, 200)
  if clear then
    return nil, "tls", M.exposed("the server offers " .. shown .. " and there is no TLS")
  end
  return nil, "protocol", format("the server offers no login mechanism for auth = %q: it offers %s", auth, shown)
end

-- Mechanisms ----------------------------------------------------------------------------------------------------------
-- Each: function(core, opts) → exchange { first = bytes or nil, step = function(challenge) → response, done = function() }.
-- `first` is what the client says unasked; `step` raises `protocol` for what is none of the mechanism; `done` raises it where
-- the server says that all is well and has not proved what it had to.

local MECHANISMS = {}

local function nothing() end

local function unasked(mechanism)
  return function() fail("protocol", mechanism .. ": the server sent more challenges than the mechanism has") end
end

--- RFC 4616.
function MECHANISMS.PLAIN(_, opts)
  return { first = "\0" .. opts.user .. "\0" .. opts.password, step = unasked("PLAIN"), done = nothing }
end

--- draft-murchison-sasl-login: what the two questions say is nobody's business.
function MECHANISMS.LOGIN(_, opts)
  local answers, asked = { opts.user, opts.password }, 0
  return {
    step = function()
      asked = asked + 1
      if not answers[asked] then unasked("LOGIN")() end
      return answers[asked]
    end,
    done = nothing,
  }
end

--- RFC 2195.
MECHANISMS["CRAM-MD5"] = function(core, opts)
  local asked
  return {
    step = function(challenge)
      if asked then unasked("CRAM-MD5")() end
      if challenge == "" then fail("protocol", "CRAM-MD5: the server's challenge is empty") end
      asked = true
      return opts.user .. " " .. core.sasl_cram(opts.password, challenge)
    end,
    done = function()
      if not asked then fail("protocol", "CRAM-MD5: the server accepted the login without a challenge") end
    end,
  }
end

--- Google's and Microsoft's: the password is an access token. A refusal comes as a challenge first, which is answered with nothing.
function MECHANISMS.XOAUTH2(_, opts)
  local told
  return {
    first = "user=" .. opts.user .. "\1auth=Bearer " .. opts.password .. "\1\1",
    step = function()
      if told then unasked("XOAUTH2")() end
      told = true
      return ""
    end,
    done = nothing,
  }
end

--- RFC 5802 and RFC 7677, without channel binding.
local function scram(mechanism, algorithm)
  return function(core, opts)
    local function refuse(words) fail("protocol", mechanism .. ": " .. words) end
    local name, why = core.sasl_prepared(opts.user)
    local password, wrong = core.sasl_prepared(opts.password)
    if not name then error("bad argument: user " .. why, 0) end
    if not password then error("bad argument: password " .. wrong, 0) end
    name = gsub(gsub(name, "=", "=3D"), ",", "=2C")
    local nonce = opts.nonce or core.codec_base64(core.codec_random(18), false)
    local bare = "n=" .. name .. ",r=" .. nonce
    local state, signature = "first", nil

    local function answer(challenge)
      if sub(challenge, 1, 2) == "m=" then refuse("the server requires an unknown extension") end
      local theirs, salt, count, rest = match(challenge, "^r=([\33-\43\45-\126]+),s=([%w+/=]+),i=(%d+)(.*)$")
      if not theirs or rest ~= "" and sub(rest, 1, 1) ~= "," then refuse("the server's first message is malformed") end
      if sub(theirs, 1, #nonce) ~= nonce or #theirs == #nonce then refuse("the server's nonce does not begin with the client's") end
      salt = core.codec_unbase64(salt, false)
      if not salt or #salt == 0 or #salt > M.SALT then refuse("the server's salt is malformed") end
      count = #count < 10 and tonumber(count) or M.MOST + 1
      if count < M.FEWEST or count > M.MOST then
        refuse(format("the server's iteration count is too %s; %d to %d are allowed", count > M.MOST and "large" or "small", M.FEWEST, M.MOST))
      end
      local final = "c=biws,r=" .. theirs
      local proof
      proof, signature = core.sasl_scram(algorithm, password, salt, count, bare .. "," .. challenge .. "," .. final)
      if not proof then error(signature, 0) end
      return final .. ",p=" .. core.codec_base64(proof, false)
    end

    local function check(challenge)
      local problem = match(challenge, "^e=([%w%-]*)")
      -- What the server says of it comes with its refusal.
      if problem then return "" end
      local verifier = match(challenge, "^v=([%w+/=]+)")
      verifier = verifier and core.codec_unbase64(verifier, false)
      if not verifier or not core.codec_equal(verifier, signature) then
        refuse("the server does not know the password: its signature is wrong")
      end
      state = "proved"
      return ""
    end

    return {
      first = "n,," .. bare,
      step = function(challenge)
        if state == "first" then
          state = "final"
          return answer(challenge)
        elseif state == "final" then
          state = "checked"
          return check(challenge)
        end
        return unasked(mechanism)()
      end,
      done = function()
        if state ~= "proved" then refuse("the server accepted the login without proof that it knows the password") end
      end,
    }
  end
end
MECHANISMS["SCRAM-SHA-256"] = scram("SCRAM-SHA-256", "sha256")
MECHANISMS["SCRAM-SHA-1"] = scram("SCRAM-SHA-1", "sha1")

--- Begins an exchange.
-- @param mechanism as `choose` named it
-- @param opts { user, password }
function M.start(core, mechanism, opts)
  return MECHANISMS[mechanism](core, opts)
end

--- Leads an exchange through a protocol's frames.
-- @param exchange of `start`
-- @param initial may the first message go with the command? Else the server is waited for
-- @param begin `function(first)` sends the command; first: base64 ("=" for nothing), or nil
-- @param send `function(text)` sends a response, base64
-- @param receive `function()` answers "more" and the challenge (base64), "done" and the last challenge if the protocol has one
--   there, or nil and a refusal
-- @return true; nil and the server's refusal. Raises `protocol` for what is no such exchange
function M.converse(core, exchange, initial, begin, send, receive)
  local function encoded(bytes) return core.codec_base64(bytes, false) end
  local function decoded(text)
    if type(text) ~= "string" or #text > M.CHALLENGE then fail("too_large", format("a challenge of SASL is longer than %d bytes", M.CHALLENGE)) end
    if find(text, "^[ =]*$") then return "" end
    local bytes = core.codec_unbase64(text, false)
    if not bytes then fail("protocol", "a challenge of SASL is not base64") end
    return bytes
  end
  local pending = exchange.first
  if pending and initial then
    begin(pending == "" and "=" or encoded(pending))
    pending = nil
  else
    begin()
  end
  for _ = 1, M.ROUNDS do
    local what, text = receive()
    if what == nil then return nil, text end
    if what == "done" then
      if text then exchange.step(decoded(text)) end
      exchange.done()
      return true
    end
    if pending then
      -- The server waits for the first message: its challenge is empty (RFC 4422 section 3, "Initial Response").
      if decoded(text) ~= "" then fail("protocol", "the server's challenge came before the client's first message") end
      send(encoded(pending))
      pending = nil
    else
      send(encoded(exchange.step(decoded(text))))
    end
  end
  fail("protocol", "the server sends too many challenges")
end

return M
