-- The drop-in's `ltn12`: filters, sources, sinks, pumps.

local ltn12 = require("spec.support.dropin").require("ltn12")
local filter, source, sink, pump = ltn12.filter, ltn12.source, ltn12.sink, ltn12.pump

local unpack = table.unpack or unpack -- luacheck: ignore

-- A filter that keeps back all but pieces of `size` bytes.
local function slices(size)
  local held = ""
  return function(piece)
    if piece == nil then
      local rest = held ~= "" and held or nil
      held = ""
      return rest
    end
    held = held .. piece
    if #held < size then return "" end
    local out = held:sub(1, size)
    held = held:sub(size + 1)
    return out
  end
end

local function upper(piece) return piece and piece:upper() end

-- Everything that comes out of a source, and the error after it.
local function all(src)
  local out = {}
  for _ = 1, 1000 do
    local piece, err = src()
    if not piece then return out, err end
    out[#out + 1] = piece
  end
  error("the source does not end")
end

describe("ltn12", function()
  it("has what LuaSocket's has", function()
    local function names(of)
      local list = {}
      for name in pairs(of) do list[#list + 1] = name end
      table.sort(list)
      return table.concat(list, " ")
    end
    assert.equal("BLOCKSIZE _VERSION filter pump sink source", names(ltn12))
    assert.equal("chain cycle", names(filter))
    assert.equal("cat chain empty error file rewind simplify string table", names(source))
    assert.equal("chain error file null simplify table", names(sink))
    assert.equal("all step", names(pump))
    assert.equal(2048, ltn12.BLOCKSIZE)
    assert.equal("LTN12 1.0.3", ltn12._VERSION)
  end)

  describe("source", function()
    it("cuts a string into blocks, whose size is read each time", function()
      local text = ("0123456789"):rep(300)
      assert.same({ text:sub(1, 2048), text:sub(2049) }, (all(source.string(text))))
      ltn12.BLOCKSIZE = 1000
      local count = #(all(source.string(text)))
      ltn12.BLOCKSIZE = 2048
      assert.equal(3, count)
      assert.same({}, (all(source.string(nil))))
    end)

    it("reads tables, files and nothing", function()
      assert.same({ "a", "b" }, (all(source.table{ "a", "b" })))
      assert.same({}, (all(source.empty())))
      assert.same({ {}, "why" }, { all(source.error("why")) })
      local path = os.tmpname()
      local file = assert(io.open(path, "wb"))
      file:write("in a file")
      file:close()
      assert.same({ "in a file" }, (all(source.file(io.open(path, "rb")))))
      os.remove(path)
      assert.same({ nil, "unable to open file" }, { source.file(nil)() })
      assert.matches("No such file", select(2, source.file(io.open("/nonexistent"))()))
    end)

    it("gives back what it was given, the last first", function()
      local src = source.rewind(source.table{ "c" })
      src("a") src("b")
      assert.same({ "b", "a", "c" }, (all(src)))
    end)

    it("follows a source that names its successor", function()
      local function first() return "a", source.table{ "b", "c" } end
      assert.same({ "a", "b", "c" }, (all(source.simplify(first))))
      assert.same({ {}, "why" }, { all(source.simplify(source.error("why"))) })
    end)

    it("joins sources, up to the first error", function()
      assert.same({ "a", "b", "c" }, (all(source.cat(source.table{ "a" }, source.empty(), source.table{ "b", "c" }))))
      assert.same({ { "a" }, "why" }, { all(source.cat(source.table{ "a" }, source.error("why"), source.table{ "b" })) })
    end)

    it("passes through filters", function()
      assert.same({ "ABC", "DEF", "G" }, (all(source.chain(source.table{ "ab", "cdefg" }, slices(3), upper))))
      assert.same({ {}, "why" }, { all(source.chain(source.error("why"), upper)) })
      local src = source.chain(source.table{ "a" }, slices(1))
      all(src)
      assert.has_error(src, "source is empty!")
    end)
  end)

  describe("sink", function()
    it("gathers in a table", function()
      local snk, list = sink.table()
      assert.equal(1, snk("a")) assert.equal(1, snk("b")) assert.equal(1, snk(nil))
      assert.same({ "a", "b" }, list)
      local mine = {}
      assert.equal(mine, select(2, sink.table(mine)))
    end)

    it("writes to files, into nothing, or fails", function()
      local path = os.tmpname()
      assert.equal(1, pump.all(source.string("text"), sink.file(io.open(path, "wb"))))
      local file = io.open(path, "rb")
      assert.equal("text", file:read("*a"))
      file:close()
      os.remove(path)
      assert.same({ nil, "unable to open file" }, { sink.file(nil)("x") })
      assert.equal(1, sink.null()("x"))
      assert.same({ nil, "why" }, { sink.error("why")("x") })
    end)

    it("follows a sink that names its successor", function()
      local snk, list = sink.table()
      local simple = sink.simplify(function() return 1, snk end)
      simple("a") simple("b")
      assert.same({ "b" }, list)
    end)

    it("passes through filters", function()
      for _, filters in ipairs{ { upper, slices(2) }, { filter.chain(slices(2), upper) } } do
        local snk, list = sink.table()
        filters[#filters + 1] = snk
        assert.equal(1, pump.all(source.table{ "abc", "", "d", "e" }, sink.chain(unpack(filters))))
        assert.equal("ABCDE", table.concat(list))
      end
      assert.same({ nil, "why" }, { sink.chain(upper, sink.error("why"))("x") })
    end)
  end)

  describe("filter", function()
    it("cycles a function with a context", function()
      local count = filter.cycle(function(n, piece, extra) return piece and n .. piece .. extra, n + 1 end, 1, "!")
      assert.same({ "1a!", "2b!" }, { count("a"), count("b") })
    end)

    it("chains many, asked piece by piece", function()
      local whole = filter.chain(slices(5), upper, slices(2), slices(3))
      local out = {}
      for _, piece in ipairs{ "abcdefg", "", "hijklmnopq" } do
        local given = whole(piece)
        while given ~= "" do
          out[#out + 1] = given
          given = whole("")
        end
      end
      local given = whole(nil)
      while given do
        out[#out + 1] = given
        given = whole(nil)
      end
      assert.equal("ABCDEFGHIJKLMNOPQ", table.concat(out))
    end)

    it("may not swallow the end", function()
      local function broken(piece) return piece == "" and "" or nil end
      local function fails(f) return (select(2, pcall(f)):gsub("^.-:%d+: ", "")) end
      assert.equal("filter returned inappropriate nil", fails(source.chain(source.table{ "a" }, broken)))
      assert.equal("filter returned inappropriate nil", fails(function() return filter.chain(upper, broken)("a") end))
      local src = source.chain(source.empty(), function() return "again" end)
      assert.equal("again", src())
      local once = source.chain(source.empty(), (function()
        local n = 0
        return function() n = n + 1 return n == 1 and "x" or "" end
      end)())
      once()
      assert.equal('filter returned ""', fails(once))
    end)
  end)

  describe("pump", function()
    it("moves a piece, then all", function()
      local snk, list = sink.table()
      local src = source.table{ "a", "b", "c" }
      assert.equal(1, pump.step(src, snk))
      assert.equal(1, pump.all(src, snk))
      assert.same({ "a", "b", "c" }, list)
    end)

    it("tells the sink what failed, and us", function()
      local told
      assert.same({ nil, "why" }, { pump.all(source.error("why"), function(_, err) told = err return 1 end) })
      assert.equal("why", told)
      assert.same({ nil, "full" }, { pump.all(source.string("x"), sink.error("full")) })
    end)

    it("moves by the step it is given", function()
      local steps = 0
      pump.all(source.table{ "a", "b" }, sink.null(), function(...) steps = steps + 1 return pump.step(...) end)
      assert.equal(3, steps)
    end)
  end)
end)
