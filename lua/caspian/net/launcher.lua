--- The Lua half of the `caspian-net` command: launches the network, makes the sandbox, runs the script in it and reports
-- errors. The other half (src/launcher) reads the command line and the script.

local getmetatable, io, pcall, require, tostring, type, xpcall = getmetatable, io, pcall, require, tostring, type, xpcall
local find, format, gmatch, match = string.find, string.format, string.gmatch, string.match
local concat = table.concat
local unpack = rawget(table, "unpack") -- the launcher's Lua is 5.4
local host_G, package = _G, package
local getinfo, traceback = debug.getinfo, debug.traceback
local stderr = io.stderr
local write = stderr.write

local sandbox = require("caspian.net.sandbox")

local launcher = {}

local SUCCESS, FAILURE, USAGE = 0, 1, 2

local function say(...)
  write(stderr, ...)
end

-- Errors --------------------------------------------------------------------------------------------------------------

-- Our own frames are of no interest to the script's author.
local OURS = "^=%[caspian"

--- `file:line: ` of the script's function that was running when the error was raised.
local function place()
  local level = 3
  while true do
    local info = getinfo(level, "Sl")
    if not info then
      return ""
    elseif info.currentline > 0 and not find(info.source, OURS) then
      return format("%s:%d: ", info.short_src, info.currentline)
    end
    level = level + 1
  end
end

--- The script's part of a traceback: without our frames at its top (the front) and below xpcall (the launcher).
local function trim(text)
  local lines, kept = {}, 0
  for line in gmatch(text .. "\n", "(.-)\n") do
    if find(line, "^\t%[C%]: in function 'xpcall'") then
      kept = #lines
    end
    lines[#lines + 1] = line
  end
  if kept == 0 then
    return text
  end
  local out = {}
  for i = 1, kept do
    if not find(lines[i], "^\t%[caspian") then
      out[#out + 1] = lines[i]
    end
  end
  return concat(out, "\n")
end

local function words(err)
  local ok, text = pcall(tostring, err)
  if ok and type(text) == "string" then
    return text
  end
  return format("(error object is a %s value)", type(err))
end

-- The first words of the names of LuaSocket's and LuaSec's modules.
local COMPAT = { socket = true, ssl = true, ltn12 = true, mime = true }

-- The launcher's flags that open something.
local OPENS = "^%-%-(%l+)%-?(%l*)"
local FLAGS = {
  ["allow-net"] = true, ["allow-listen"] = true, ["deny-net"] = true, standard = true, ["allow-run"] = true, ["allow-native"] = true,
  ["allow-fs"] = true, ["allow-env"] = true, ["allow-all"] = true, compat = true,
}

--- A flag of ours that stands behind the script, where it is one of the script's own arguments.
local function misplaced(job)
  for index = 1, #job.args do
    if job.args[index] == "-A" then return "-A" end
    local first, second = match(job.args[index], OPENS)
    if first and FLAGS[second == "" and first or first .. "-" .. second] then return job.args[index] end
  end
end

--- What would have helped: the flag for a refused call, a missing module or a closed file, or the reason for a nil.
local function hint(text, job)
  local flag = match(text, "_not_allowed: .*(%-%-allow%-%l+=%S+) would allow it")
  if flag then
    return "run with " .. flag
  elseif not job.fs and find(text, "files are not permitted here", 1, true) then
    return "paths in options are read only with --allow-fs[=DIR]"
  elseif not job.compat and COMPAT[match(text, "module '(%w+)[%w_.]*' not found")] then
    return "LuaSocket's and LuaSec's modules are there with --compat"
  end
  local name = match(text, "attempt to call a nil value %(%l+ '([%w_]+)'%)") or
               match(text, "attempt to index a nil value %(%l+ '([%w_]+)'%)")
  if name == "net" and job.net == nil then
    return "no network was granted; run with --allow-net=HOST[:PORTS] or --allow-listen=[HOST:]PORTS"
  elseif name and sandbox.WITHHELD[name] then
    return format("%s is withheld from scripts; %s opens it", unpack(sandbox.WITHHELD[name]))
  end
end

--- A message handler: answers the text to print. A traceback only where the error has no words of its own.
local function handler(err)
  if type(err) == "string" or type(err) == "number" then
    return trim(traceback(tostring(err), 2))
  end
  local meta = getmetatable(err)
  if type(err) ~= "table" and type(err) ~= "userdata" or meta == nil then
    return trim(traceback(format("(error object is a %s value)", type(err)), 2))
  end
  return place() .. words(err)
end

-- The run -------------------------------------------------------------------------------------------------------------

--- Runs the job. Fields:
--   version        of the package
--   flags          array of grant flags, already checked
--   run, native    --allow-run, --allow-native
--   fs             --allow-fs: true, an array of directories, or false
--   compat         --compat
--   variables      --allow-env: true, an array of names, or false
--   text, chunk    the script and its chunk name; no text is the REPL
--   dirs           directories of modules: the script's, and those of --allow-fs
--   files, read    see sandbox.new
--   args           becomes `arg`
--   lines          opens the terminal (src/launcher/terminal.rs)
--   null           JSON's null
--   begin, finish  around a run of the script's code, for Ctrl-C
-- Returns the exit status.
function launcher.run(job)
  -- It takes what is about to go.
  local repl = not job.text and require("caspian.net.repl")
  if not job.native then
    -- Behind the allowlist of the sandbox: what no script may have is not in the state at all.
    host_G.debug, package.loaded.debug = nil, nil
    package.loadlib, package.cpath = nil, ""
    package.searchers[3], package.searchers[4] = nil, nil
  end

  local flags = { unpack(job.flags) }
  flags.files = job.fs
  local ok, net = pcall(require("caspian.net").launch, flags)
  if not ok then
    -- What could not be checked before: a file that --net-log cannot open.
    local text = words(net)
    say("caspian-net: ", match(text, "bad argument #1 to 'launch' %((.*)%)$") or text, "\n")
    return USAGE
  end
  job.net, job.traceback = net, traceback
  local codec = require("caspian.net.codec")
  job.modules = { ["caspian.net.codec"] = function() return codec end }
  local box = sandbox.new(job)
  if job.compat then
    -- What the machine calls itself is for who may run its programs.
    local opts = { native = job.native, hostname = job.run or job.native or false }
    require("caspian.net.compat").install(net, box.package, opts)
  end
  box.globals.arg, box.env.arg = job.args, job.args

  local function report(text)
    say("caspian-net: ", text, "\n")
    local help = hint(text, job)
    if help then
      say("hint: ", help, "\n")
    end
    local flag = help and misplaced(job)
    if flag then
      say("hint: ", flag, " follows the script, so it is the script's argument; flags of caspian-net come before the script\n")
    end
  end

  local function run(f, ...)
    job.begin()
    local fine, text = xpcall(f, handler, ...)
    job.finish()
    if not fine then
      io.stdout:flush()
      report(type(text) == "string" and text or words(text))
    end
    return fine
  end

  if job.text then
    local text = job.chunk == "=(command line)" and job.text or sandbox.script(job.text)
    local chunk, why = sandbox.compile(text, job.chunk, box.env)
    if not chunk then
      report(why)
      return FAILURE
    end
    return run(chunk, unpack(job.args)) and SUCCESS or FAILURE
  end
  repl.run{
    banner = {
      format("caspian-net %s (Lua 5.4). The network is `net`; Tab completes, Ctrl-D ends.", job.version),
      #job.flags > 0 and "Granted: " .. concat(job.flags, " ") or "Granted: nothing (see caspian-net --help)",
    },
    open = job.lines,
    env = box.env,
    null = job.null,
    compile = function(text)
      return sandbox.compile(text, "=stdin", box.env)
    end,
    run = run,
    report = report,
  }
  return SUCCESS
end

return launcher
