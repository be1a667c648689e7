-- Hands HTTP to code that is not trusted: it sees one API, a part of it, without the token, and its writes are faked.
-- The innermost middleware stands in for the API, so that this runs without one; without it, the same goes out over TLS.
-- flags: --allow-net=api.example.com

local token = "s3cr3t" -- where a real program would read a file or its environment

-- What the API would say. It wants the token, wraps its answers in { data = … }, and counts what reaches it.
local reached = {}
local function api(ctx)
  reached[#reached + 1] = ctx.req.method .. " " .. ctx.req.url:match("//[^/]*(.*)")
  if ctx.req:header("Authorization") ~= "Bearer " .. token then return { status = 401 } end
  return { status = 200, body_json = { data = { login = ctx.req.params.user, plan = "free" } } }
end

-- Recipe 1, inject a token: on the way out, for this origin only.
local function with_token(ctx, next)
  ctx.req:header("Authorization", "Bearer " .. token)
  return next()
end

-- Recipe 2, unwrap JSON: on the way back.
local function unwrapped(_, next)
  local response = next()
  if response.status ~= 200 then return response end
  return { status = 200, body_json = response.json().data }
end

-- Recipe 3, fake a write: `next` is not called, and nothing goes anywhere.
local drafts = {}
local function faked(ctx)
  drafts[#drafts + 1] = ctx.req.body
  return { status = 201, headers = { Location = ctx.req.url .. "/1" } }
end

local guard, close = net.http.guard{
  rules = {
    host = "api.example.com",
    middleware = with_token,
    routes = {
      { path = "/users/:user([a-z]+)", methods = "GET", middleware = { unwrapped, api } },
      { path = "/users/:user/notes", methods = "POST", middleware = faked },
    },
  },
  max_body_bytes = 1024 * 1024,
  timeout = 10,
}

local untrusted = [[
  local user = fetch("https://api.example.com/users/ann").json()
  say(user.login, user.plan)
  say(fetch("https://api.example.com/users/ann/notes", { method = "POST", body = "hello" }).status)
  for _, url in ipairs{
    "https://api.example.com/users/ann/../../admin", "https://api.example.com/users/ann%2fnotes", "http://api.example.com/users/ann",
    "https://evil.example/?steal", "https://169.254.169.254/latest/meta-data",
  } do
    local ok, err = pcall(fetch, url)
    say(ok, err.class)
  end
]]

local said = {}
local function say(...)
  local words = {}
  for index = 1, select("#", ...) do words[index] = tostring((select(index, ...))) end
  said[#said + 1] = table.concat(words, " ")
  print(said[#said])
end

assert(load(untrusted, "=untrusted", "t", { fetch = guard.fetch, say = say, pcall = pcall, ipairs = ipairs }))()
close()

assert(table.concat(reached, "\n") == "GET /users/ann")
assert(said[1] == "ann free" and said[2] == "201" and drafts[1] == "hello")
for index = 3, #said do assert(said[index]:find("^false puck.uno/error/network/%a+_not_allowed$"), said[index]) end
