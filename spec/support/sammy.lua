--- Apps of Sammy without a socket: a request as the server would hand it out, and what was answered.

local net = require("spec.support.subject").net

local sammy = {}

--- Asks an app. given: { method =, path =, headers =, body =, params = }; answers what it responded: { status, headers, body },
--- headers by lower-case name.
function sammy.ask(app, given, fallback)
  if type(given) == "string" then
    local method, path = given:match("^(%S+) (%S+)$")
    given = { method = method, path = path }
  end
  local headers = {}
  for name, value in pairs(given.headers or {}) do headers[name:lower()] = value end
  local answer
  local request = {
    id = "1", method = given.method or "GET", path = given.path or "/", headers = headers, body = given.body or "", params = given.params or {},
  }
  function request.respond(_, response)
    assert(answer == nil, "answered twice")
    answer = { status = response.status, headers = {}, body = response.body, file = response.body_file }
    for name, value in pairs(response.headers or {}) do answer.headers[name:lower()] = value end
  end
  function request.json(self)
    assert(self == request, "the method has its request")
    return net.json.decode(request.body)
  end
  app:handle(request, fallback)
  return assert(answer, "nothing was answered")
end

--- An app whose errors are kept: `errors[n] = { err, where, first }`.
function sammy.app(options)
  local errors, warnings = {}, {}
  local given = {}
  for name, value in pairs(options or {}) do given[name] = value end
  given.on_error = given.on_error or function(err, _, where, first) errors[#errors + 1] = { err = err, where = where, first = first } end
  given.on_warning = function(words) warnings[#warnings + 1] = words end
  return net.http.sammy(given), errors, warnings
end

--- The cookie that an answer sets, as a client sends it back; nil if it sets none.
function sammy.cookie(answer)
  local set = answer.headers["set-cookie"]
  if type(set) == "table" then set = set[#set] end
  return set and set:match("^[^;]*")
end

return sammy
