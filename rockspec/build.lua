-- Builds and installs the module for the Lua that runs this file; called by the rockspec, from the top of the checkout.
--   build.lua build                    cargo, with the one feature that fits; first whether cargo and a C compiler are there
--   build.lua install LUADIR LIBDIR    the front (lua/) and the native module

local act, luadir, libdir = ...
local target = os.getenv("CARGO_TARGET_DIR") or "target"
local major, minor = _VERSION:match("(%d+)%.(%d+)")
-- LuaJIT says that it is 5.1; `jit` is what it adds.
local feature = rawget(_G, "jit") and "luajit" or "lua" .. major .. minor

local function run(command)
  print(command)
  io.stdout:flush()
  local status = os.execute(command) -- 5.1 answers a number, later ones true or nil
  if status ~= true and status ~= 0 then os.exit(1) end
end

local function quote(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
end

local function fail(text)
  io.stderr:write("caspian-net cannot be built: ", text, "\n")
  os.exit(1)
end

local function output(command)
  local pipe = io.popen(command .. " 2>&1")
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("%s+$", ""))
end

-- What the build needs is named before it runs: its own messages would come late, and from crates that nobody asked for.
local function check()
  local manifest = assert(io.open("Cargo.toml"))
  local wanted = manifest:read("*a"):match('\nrust%-version = "([%d.]+)"')
  manifest:close()
  local said = output("cargo --version")
  local here = said:match("^cargo (%d+%.%d+)")
  local remedy = "Rust " .. wanted .. " or later is needed; https://rustup.rs installs it (`rustup update` where it is old)."
  if not here then fail("`cargo --version` says: " .. said .. "\n" .. remedy) end
  local function number(version)
    local first, second = version:match("^(%d+)%.(%d+)")
    return first * 1000 + second
  end
  if number(here) < number(wanted) then fail("cargo is version " .. here .. ".\n" .. remedy) end
  -- Empty is not set, as for make and for the crate `cc`.
  local cc = (os.getenv("CC") or ""):match("^%s*(.-)%s*$")
  if cc == "" then cc = "cc" end
  if output("command -v " .. cc:match("%S+")) == "" then
    fail("there is no C compiler: `" .. cc .. "` is not on PATH.\n" ..
      "Install one (Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev; " ..
      "macOS: xcode-select --install), or name it in CC.")
  end
end

-- What cargo calls the library here.
local function built()
  for _, name in ipairs{ "libcaspian_net.so", "libcaspian_net.dylib" } do
    local path = target .. "/release/" .. name
    local file = io.open(path, "rb")
    if file then
      file:close()
      return path
    end
  end
  error("cargo left no library in " .. target .. "/release")
end

if act == "build" then
  check()
  run("cargo rustc --release --lib --crate-type cdylib --no-default-features --features full,module,stripped," .. feature)
elseif act == "install" then
  run("mkdir -p " .. quote(luadir) .. " " .. quote(libdir))
  run("cp -R lua/. " .. quote(luadir))
  run("cp " .. quote(built()) .. " " .. quote(libdir .. "/caspian_net.so"))
else
  error("usage: build.lua build | install LUADIR LIBDIR")
end
