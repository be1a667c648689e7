--- Forms: the parts of one with files, and the names and values of any.
local args = require("caspian.net.args")
local keys = require("caspian.net.server_objects")
local objects = require("caspian.net.objects")
local error, next, setfenv, setmetatable = error, next, setfenv, setmetatable
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local states, ARRAY, FOLDED = objects.states, objects.ARRAY, objects.FOLDED
local CORE, HANDLE, SERVER = keys.CORE, keys.HANDLE, keys.SERVER

--- Of a request: the parts of its form, false without one.
local PARTS = {}

--- What is behind a part of a form. START, LENGTH: where it is in the body; PLACE: where the next read begins.
local LENGTH, PLACE, START = {}, {}, {}

--- The methods of parts, as those of requests.
local PART = {}

--- `count` bytes of the part, fewer only at its end, nil after it; without `count` all that is left.
function PART.read(state, count)
  if count ~= nil then args.count(1, "read", "count", count, 1) end
  local left = state[LENGTH] - state[PLACE]
  if left <= 0 then return nil end
  if not count or count > left then count = left end
  local bytes, err = state[CORE].request_slice(state[HANDLE], state[START] + state[PLACE], count)
  if bytes == nil then error(err, 0) end
  state[PLACE] = state[PLACE] + #bytes
  return bytes
end

--- Writes what is left of the part to an open file; answers how many bytes.
function PART.save(state, file)
  return keys.save(file, function() return PART.read(state, 65536) end)
end

--- All of the part, as it came.
function PART.text(state)
  local bytes, err = state[CORE].request_slice(state[HANDLE], state[START], state[LENGTH])
  if bytes == nil then error(err, 0) end
  return bytes
end

local part = { __name = "caspian.net.part", __metatable = false, __newindex = objects.readonly }
objects.kinds[part] = "part"

function part.__index(self, name)
  local state = states[self]
  local value = state[name]
  if value == nil and PART[name] then
    value = objects.bound(PART[name], state)
    state[name] = value
  end
  return value
end

function part.__tostring(self)
  return "part " .. self.name
end

--- The parts of a form, made once; nil where the body is no multipart form.
local function parts_of(state)
  if state[PARTS] ~= nil then return state[PARTS] end
  local rows, err = state[CORE].request_parts(state[HANDLE])
  if rows == nil and err ~= nil then error(err, 0) end
  local parts = false
  if rows then
    parts = setmetatable({}, ARRAY)
    for at, row in next, rows do
      local object, headers = setmetatable({}, part), setmetatable(row[3], FOLDED)
      states[object] = {
        [CORE] = state[CORE], [HANDLE] = state[HANDLE], [SERVER] = state[SERVER], [START] = row[4], [LENGTH] = row[5], [PLACE] = 0,
        name = row[1], filename = row[2], headers = headers, content_type = headers["content-type"], size = row[5],
      }
      parts[at] = object
    end
  end
  state[PARTS] = parts
  return parts
end

--- The value of a part: its text, or itself where it is a file.
local function value_of(object)
  if object.filename ~= nil then return object end
  return object.text()
end

--- All pairs of a request, in order: the query's, then the form's.
local function pairs_of(state)
  local core, handle = state[CORE], state[HANDLE]
  local all = {}
  for _, what in next, { "query", "form" } do
    local flat, err = core.request_pairs(handle, what)
    if flat == nil and err ~= nil then error(err, 0) end
    for at = 1, flat and #flat or 0, 2 do
      all[#all + 1] = setmetatable({ flat[at], flat[at + 1] }, ARRAY)
    end
  end
  for _, object in next, parts_of(state) or {} do
    all[#all + 1] = setmetatable({ object.name, value_of(object) }, ARRAY)
  end
  return all
end

return { parts_of = parts_of, pairs_of = pairs_of, value_of = value_of }
