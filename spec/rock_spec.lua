--- What rockspec/build.lua says where the build cannot succeed, and what it asks cargo for. The commands that it finds are these rows'.

local process = require("spec.support.process")
local subject = require("spec.support.subject")

local OLD, NEW = "echo 'cargo 1.75.0 (1d8b05cdd 2023-11-20)'", "echo 'cargo 2.1.0 (1d8b05cdd 2030-11-20)'"

local function output(command)
  return (process.start("sh -c " .. process.quote(command)):rest():gsub("%s+$", ""))
end

describe("rockspec/build.lua", function()
  --- The output of `build.lua build` where PATH has these commands alone (name → the text of a shell script).
  local function build(commands, environment)
    local dir = output("mktemp -d")
    for name, text in pairs(commands) do
      local file = assert(io.open(dir .. "/" .. name, "w"))
      file:write("#!/bin/sh\n", text, "\n")
      file:close()
    end
    local said = output(("lua=$(command -v %s); chmod +x %s/*; env %s PATH=%s $lua rockspec/build.lua build 2>&1; echo status $?; rm -r %s")
      :format(subject.lua, dir, environment or "-u CC", dir, dir))
    return said
  end

  for _, row in ipairs{
    { "no cargo", { cc = "" }, { "cannot be built", "cargo", "not found", "Rust 1%.%d+ or later", "rustup" } },
    { "a cargo that has no toolchain", { cargo = "echo error: no default toolchain; exit 1", cc = "" },
      { "no default toolchain", "Rust 1%.%d+ or later" } },
    { "an old cargo", { cargo = OLD, cc = "" }, { "cargo is version 1%.75%.", "Rust 1%.%d+ or later", "rustup update" } },
    { "no C compiler", { cargo = NEW }, { "no C compiler: `cc`", "apt%-get install gcc" } },
    { "a CC that is not there", { cargo = NEW, cc = "" }, { "`nocc %-m64` is not on PATH" }, "CC='nocc -m64'" },
  } do
    it(row[1], function()
      local said = build(row[2], row[4])
      for _, word in ipairs(row[3]) do assert.truthy(said:find(word), word .. " is missing in: " .. said) end
      assert.truthy(said:find("status 1$"), said)
    end)
  end

  it("the feature of the Lua that runs it", function()
    local said = build{ cargo = 'case $1 in --version) ' .. NEW .. ' ;; *) echo "got $*" ;; esac', cc = "" }
    local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d"):gsub("%.", "")
    assert.truthy(said:find("\ngot rustc .*%-%-features full,module,stripped," .. lua .. "\n"), said)
    assert.truthy(said:find("status 0$"), said)
  end)

  for _, row in ipairs{ { "''", "cc" }, { "' '", "cc" }, { "' mycc -m64 '", "mycc" } } do
    it("the compiler that CC=" .. row[1] .. " means", function()
      local commands = { cargo = 'case $1 in --version) ' .. NEW .. ' ;; *) echo "got $*" ;; esac', [row[2]] = "" }
      local said = build(commands, "CC=" .. row[1])
      assert.truthy(said:find("status 0$"), said)
      commands[row[2]] = nil
      said = build(commands, "CC=" .. row[1])
      assert.truthy(said:find("no C compiler: `" .. row[2], 1, true) and said:find("status 1$"), said)
    end)
  end
end)
