-- The drop-in's `socket.headers`: names of header fields as they are written.

local canonic = require("spec.support.dropin").require("socket.headers").canonic

describe("socket.headers", function()
  for name, written in pairs{
    ["content-type"] = "Content-Type", ["etag"] = "ETag", ["te"] = "TE", ["www-authenticate"] = "WWW-Authenticate",
    ["mime-version"] = "MIME-Version", ["content-md5"] = "Content-MD5", ["cc"] = "Cc", ["dsn-gateway"] = "DSN-Gateway",
    ["smtp-remote-recipient"] = "SMTP-Remote-Recipient", ["x-mailer"] = "X-Mailer", ["user-agent"] = "User-Agent",
  } do
    it("writes " .. name .. " as " .. written, function() assert.equal(written, canonic[name]) end)
  end

  it("knows the 91 names that LuaSocket knows", function()
    local count = 0
    for name, written in pairs(canonic) do
      assert.equal(name, written:lower())
      count = count + 1
    end
    assert.equal(91, count)
  end)
end)
