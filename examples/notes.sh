#!/bin/sh
# Builds the launcher, starts the JSON API of examples/notes.lua, and goes through it with a client that may reach it alone.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve examples/notes.lua
"$caspian_net" "--allow-net=127.0.0.1:$port" -e '
  local api = "http://127.0.0.1:" .. ...
  local client = net.http.client.new{ timeout = 10 }
  local function ask(verb, path, value)
    local answer = client:fetch(api .. path, { method = verb, body_json = value })
    print(verb .. " " .. path .. ": " .. answer.status .. " " .. answer.body)
    return answer
  end
  assert(ask("GET", "/notes").body == "[]")
  local made = ask("POST", "/notes", { text = "buy milk" })
  assert(made.status == 201 and made.headers.location == "/notes/1")
  assert(ask("PUT", "/notes/1", { text = "buy oat milk" }):json().text == "buy oat milk")
  assert(#ask("GET", "/notes"):json() == 1)
  assert(ask("POST", "/notes", { txt = 1 }).status == 400)
  assert(ask("GET", "/notes/7").status == 404)
  local refused = ask("PATCH", "/notes/1", {})
  assert(refused.status == 405 and refused.headers.allow == "GET, PUT, DELETE")
  assert(ask("DELETE", "/notes/1").status == 204 and ask("GET", "/notes/1").status == 404)
  assert(ask("GET", "/elsewhere"):json().error == "nothing is here")
' "$port"
