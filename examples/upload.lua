-- Uploads: a form with a file in it, and a body that is made while it is sent.
-- part of: upload.sh
local base = ...

local form = net.fetch(base .. "/upload", {
  method = "POST",
  body_multipart = {
    title = "a picture",
    picture = { data = ("\0\1\2\3"):rep(50000), filename = "picture.raw", type = "application/octet-stream" },
  },
  on_progress = function(done, total, direction)
    if direction == "upload" and done == total then print("uploaded " .. done .. " bytes") end
  end,
})
print(form.body)

-- From an open file, or anything that returns the next piece (sent chunked); here 1,000 lines of numbers.
local lines = 0
local made = net.fetch(base .. "/upload", {
  method = "POST",
  headers = { ["Content-Type"] = "text/plain" },
  body = function()
    lines = lines + 1
    if lines <= 1000 then return ("%04d\n"):format(lines) end
  end,
})
print(made.body)
