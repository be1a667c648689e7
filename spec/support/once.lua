--- Loaded once, before busted starts to give each spec file a package.loaded of its own: launching seals the state,
--- so the net under test cannot be launched again for the next file.
package.path = "./?.lua;" .. package.path
require("spec.support.subject")

-- The row that runs, for spec/support/servers: a process that dies of a signal cannot say where it was.
local path = os.getenv("CASPIAN_ROW")
if path then
  local busted = require("busted")
  busted.subscribe({ "test", "start" }, function(row, parent)
    local file = assert(io.open(path, "w"))
    file:write(row.trace.short_src, ":", row.trace.currentline, " ", tostring(parent.name), " ", row.name, "\n")
    file:close()
    return nil, true
  end)
end
