-- Builds and installs the module for the Lua that runs this file; called by the rockspec, from the top of the checkout.
--   build.lua build                    cargo, with the one feature that fits
--   build.lua install LUADIR LIBDIR    the front (lua/) and the native module

local act, luadir, libdir = ...
local target = os.getenv("CARGO_TARGET_DIR") or "target"
local major, minor = _VERSION:match("(%d+)%.(%d+)")
-- LuaJIT says that it is 5.1; `jit` is what it adds.
local feature = rawget(_G, "jit") and "luajit" or "lua" .. major .. minor

local function run(command)
  print(command)
  local status = os.execute(command) -- 5.1 answers a number, later ones true or nil
  if status ~= true and status ~= 0 then os.exit(1) end
end

local function quote(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
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
  run("cargo rustc --release --lib --crate-type cdylib --no-default-features --features full,module," .. feature)
elseif act == "install" then
  run("mkdir -p " .. quote(luadir) .. " " .. quote(libdir))
  run("cp -R lua/. " .. quote(luadir))
  run("cp " .. quote(built()) .. " " .. quote(libdir .. "/caspian_net.so"))
else
  error("usage: build.lua build | install LUADIR LIBDIR")
end
