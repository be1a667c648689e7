--- `ltn12` of the drop-in: filters, sources, sinks and pumps (LTN012 of the Lua technical notes).
--
-- A source answers the next piece, nil at the end, or nil and an error. A sink takes pieces and answers 1, or nil and an
-- error; nil ends it. A filter takes a piece and returns the filtered piece: for "" the rest of its buffer, or "" if it
-- needs more input; for nil what is left at the end, and nil when nothing is left.
local assert, error, ipairs, select, setfenv, type = assert, error, ipairs, select, setfenv, type
local sub = string.sub
local insert, remove = table.insert, table.remove
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local SWALLOWED = "filter returned inappropriate nil"

local function nothing() return nil end
local function swallow() return 1 end

--- Two filters as one: what `first` gives goes through `second`.
local function join(first, second)
  local full = false  -- `second` may have more of what it was given last
  local ended = false -- `first` gave nil: what comes is for `second` alone

  return function(piece)
    if ended then return second(piece) end
    local feed = piece
    while true do
      local middle = ""
      if not full then
        middle = first(feed)
        if middle == nil then
          ended = true
          return second(nil)
        elseif middle == "" then
          return ""
        end
      end
      local out = second(middle)
      if out == nil then error(SWALLOWED) end
      full = out ~= ""
      if full then return out end
      feed = piece and ""
    end
  end
end

local function make()
  local M = {
    _VERSION = "LTN12 1.0.3",
    BLOCKSIZE = 2048, -- bytes of a piece; read at each call
    filter = {}, source = {}, sink = {}, pump = {},
  }
  local filter, source, sink, pump = M.filter, M.source, M.sink, M.pump

  -- Filters -----------------------------------------------------------------------------------------------------------

  --- A filter from a function `low(context, piece, extra)` that answers its output and the next context.
  function filter.cycle(low, context, extra)
    assert(low)
    return function(piece)
      local out
      out, context = low(context, piece, extra)
      return out
    end
  end

  --- One filter from several, the first one first.
  function filter.chain(...)
    local all = { ... }
    local whole = all[1]
    for i = 2, select("#", ...) do whole = join(whole, all[i]) end
    return whole
  end

  -- Sources -----------------------------------------------------------------------------------------------------------

  --- Ends at once.
  function source.empty() return nothing end

  --- Fails with `err`.
  function source.error(err)
    return function() return nil, err end
  end

  --- Reads a file and closes it at its end. `source.file(io.open(path))` fails as `io.open` did.
  function source.file(handle, err)
    if not handle then return source.error(err or "unable to open file") end
    return function()
      local piece = handle:read(M.BLOCKSIZE)
      if not piece then handle:close() end
      return piece
    end
  end

  --- A simple source from one that may answer its successor beside a piece.
  function source.simplify(src)
    assert(src)
    return function()
      local piece, other = src()
      src = other or src
      if piece == nil or piece == false then return nil, other end
      return piece
    end
  end

  --- A string, piece by piece; nil is the empty source.
  function source.string(text)
    if not text then return nothing end
    local at = 1
    return function()
      local size = M.BLOCKSIZE
      local piece = sub(text, at, at + size - 1)
      at = at + size
      if piece ~= "" then return piece end
      return nil
    end
  end

  --- The elements of an array.
  function source.table(list)
    assert(type(list) == "table")
    local at = 0
    return function()
      at = at + 1
      return list[at]
    end
  end

  --- A source that takes pieces back: called with one, it gives it out again later, the last one first.
  function source.rewind(src)
    assert(src)
    local back = {}
    return function(piece)
      if piece then
        insert(back, piece)
        return
      end
      piece = remove(back)
      if piece then return piece end
      return src()
    end
  end

  --- A source whose pieces went through filters.
  function source.chain(src, first, ...)
    if ... then first = filter.chain(first, ...) end
    assert(src and first)
    local more, closing, ended = false, false, false
    return function()
      if ended then error("source is empty!", 2) end
      while true do
        local out
        if more then
          if closing then out = first(nil) else out = first("") end
        else
          local piece, err = src()
          if err then return nil, err end
          closing = not piece
          out = first(piece)
        end
        if not out then
          if not closing then error(SWALLOWED) end
          ended = true
          return nil
        elseif out ~= "" then
          more = true
          return out
        elseif more and closing then
          error('filter returned ""')
        end
        more = false
      end
    end
  end

  --- Sources one after the other.
  function source.cat(...)
    local all, at = { ... }, 1
    return function()
      while all[at] do
        local piece, err = all[at]()
        if piece then return piece end
        if err then return nil, err end
        at = at + 1
      end
    end
  end

  -- Sinks -------------------------------------------------------------------------------------------------------------

  --- Appends to an array, `{}` if none is given. Answers the sink and the array.
  function sink.table(list)
    list = list or {}
    return function(piece)
      if piece then insert(list, piece) end
      return 1
    end, list
  end

  --- A simple sink from one that may answer its successor.
  function sink.simplify(snk)
    assert(snk)
    return function(piece, err)
      local taken, other = snk(piece, err)
      if not taken then return nil, other end
      snk = other or snk
      return 1
    end
  end

  --- Writes to a file and closes it at the end.
  function sink.file(handle, err)
    if not handle then return sink.error(err or "unable to open file") end
    return function(piece)
      if piece then return handle:write(piece) end
      handle:close()
      return 1
    end
  end

  --- Takes everything and keeps nothing.
  function sink.null() return swallow end

  --- Fails with `err`.
  function sink.error(err)
    return function() return nil, err end
  end

  --- `sink.chain(filter, …, sink)`: a sink whose pieces go through filters first.
  function sink.chain(...)
    local all = { ... }
    local snk = remove(all)
    local through = all[1]
    for at, other in ipairs(all) do
      if at > 1 then through = join(through, other) end
    end
    assert(through and snk)
    return function(piece, err)
      if piece == "" then return 1 end
      local last = piece and "" -- what the filter answers when this piece is through
      local out = through(piece)
      while true do
        local taken, why = snk(out, err)
        if not taken then return nil, why end
        if out == last then return 1 end
        out = through(last)
      end
    end
  end

  -- Pumps -------------------------------------------------------------------------------------------------------------

  --- Moves one piece. Answers 1, or nil at the end, or nil and an error.
  function pump.step(src, snk)
    local piece, failed = src()
    local taken, refused = snk(piece, failed)
    if piece and taken then return 1 end
    return nil, failed or refused
  end

  --- Moves everything, by `step` (`pump.step`). Answers 1, or nil and an error.
  function pump.all(src, snk, step)
    assert(src and snk)
    step = step or pump.step
    local moved, err
    repeat moved, err = step(src, snk) until not moved
    if err then return nil, err end
    return 1
  end

  return M
end

return make
