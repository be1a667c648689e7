-- A GitHub webhook: is a delivery GitHub's? Its header X-Hub-Signature-256 has the HMAC-SHA-256 of the body, as it came, under a
-- secret that both know. Needs no network of its own: the helpers are there without one.
local codec = require("caspian.net.codec")
local hash, json = codec.hash, codec.json

--- The event of a delivery, or nil and why it is refused. headers: by lower-case name; body: as it came, never decoded first.
local function event(secret, headers, body)
  local signature = headers["x-hub-signature-256"]
  if not signature then return nil, "no signature" end
  -- In constant time: how long a comparison takes must not tell how much of a guess was right.
  if not hash.equal(signature, "sha256=" .. hash.hmac_sha256(secret, body)) then return nil, "wrong signature" end
  local ok, value = pcall(json.decode, body)
  if not ok then return nil, "not JSON" end
  return value
end

-- The values that GitHub's documentation gives to test with.
local secret, body = "It's a Secret to Everybody", "Hello, World!"
local signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
assert("sha256=" .. hash.hmac_sha256(secret, body) == signature)
assert(select(2, event(secret, { ["x-hub-signature-256"] = signature }, body)) == "not JSON")

-- A delivery, and what somebody else might send.
local delivery = '{"action":"opened","issue":{"number":7}}'
local genuine = "sha256=" .. hash.hmac_sha256(secret, delivery)
assert(event(secret, { ["x-hub-signature-256"] = genuine }, delivery).issue.number == 7)
for _, forged in ipairs{
  { { ["x-hub-signature-256"] = genuine }, (delivery:gsub("7", "8")) },
  { { ["x-hub-signature-256"] = "sha256=" .. hash.hmac_sha256("guess", delivery) }, delivery },
  { { ["x-hub-signature-256"] = genuine:upper() }, delivery },
  { { ["x-hub-signature-256"] = "" }, delivery },
  { {}, delivery },
} do
  local value, why = event(secret, forged[1], forged[2])
  assert(value == nil)
  print("refused: " .. why)
end
print("taken:   issue 7 was opened")
