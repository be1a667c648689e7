-- A JSON API: notes that are kept in memory, and the client that tries it out.
-- Started, one process for each, by: sh examples/notes.sh
-- part of: notes.sh

local app = net.http.sammy()
local response, json = app.response, net.json
local notes, last = {}, 0

--- The note that a request is about; else the response that says why not.
local function found(request)
  local id = tonumber(request.steps.id)
  if not (id and notes[id]) then error(response.json(404, { error = "there is no such note" }), 0) end
  return id, notes[id]
end

--- The text of a note in a request's body.
local function text_of(request)
  local ok, value = pcall(request.json, request)
  if not ok or type(value) ~= "table" or type(value.text) ~= "string" then
    error(response.json(400, { error = 'a note is {"text": …}' }), 0)
  end
  return value.text
end

app:get("/notes", function()
  local list = json.array{}
  for id = 1, last do list[#list + 1] = notes[id] end
  return response.json(200, list)
end)

app:post("/notes", function(request)
  last = last + 1
  notes[last] = { id = last, text = text_of(request) }
  local made = response.json(201, notes[last])
  made.headers.location = "/notes/" .. last
  return made
end)

app:get("/notes/{id}", function(request)
  local _, note = found(request)
  return response.json(200, note)
end)

app:put("/notes/{id}", function(request)
  local id, note = found(request)
  note.text = text_of(request)
  return response.json(200, notes[id])
end)

app:delete("/notes/{id}", function(request)
  notes[(found(request))] = nil
  return response.empty(204)
end)

-- Strict about methods, as APIs are: 405 with Allow.
app:reject("/notes/{id}", "POST", "PATCH")

local server = app:listen("127.0.0.1", 0)
print(server.local_port)
io.stdout:flush()
app:run(function() return response.json(404, { error = "nothing is here" }) end)
