-- Signs requests for S3 and its kin: AWS Signature Version 4, with the helpers that every `net` has.
-- What runs below are the test vectors that AWS publishes; no server is asked.
-- flags: --allow-net=s3.amazonaws.com
local url, hash = net.url, net.hash

--- Escapes the segments of a path, or a name or value of a query, once, as S3 does.
local function escaped(text, safe)
  return url.encode(url.decode(text), safe)
end

--- The canonical query: names and values escaped, in the order of their bytes.
local function canonical_query(pairs)
  local list = {}
  for i, pair in ipairs(pairs) do list[i] = { url.encode(pair[1]), url.encode(pair[2]) } end
  table.sort(list, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
  for i, pair in ipairs(list) do list[i] = pair[1] .. "=" .. pair[2] end
  return table.concat(list, "&")
end

--- The headers of a signed request: those of `request.headers`, and X-Amz-Date, X-Amz-Content-Sha256 and Authorization.
-- request: { method, url, headers, body }; key: { id, secret, region, service }; time: seconds since 1970
local function sign(request, key, time)
  local parts = url.parse(request.url)
  local stamp, day = os.date("!%Y%m%dT%H%M%SZ", time), os.date("!%Y%m%d", time)
  local digest = hash.sha256(request.body or "")
  local headers = { host = parts.host, ["x-amz-date"] = stamp }
  if key.service == "s3" then headers["x-amz-content-sha256"] = digest end
  for name, value in pairs(request.headers or {}) do headers[name:lower()] = value end

  local names, lines = {}, {}
  for name in pairs(headers) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    lines[i] = name .. ":" .. tostring(headers[name]):gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " ") .. "\n"
  end
  local signed = table.concat(names, ";")
  local canonical = table.concat({ request.method, escaped(parts.path, "/"), canonical_query(parts.pairs), table.concat(lines), signed,
    digest }, "\n")

  local scope = table.concat({ day, key.region, key.service, "aws4_request" }, "/")
  local secret = "AWS4" .. key.secret
  for _, step in ipairs{ day, key.region, key.service, "aws4_request" } do secret = hash.hmac_sha256(secret, step, "bytes") end
  local signature = hash.hmac_sha256(secret, table.concat({ "AWS4-HMAC-SHA256", stamp, scope, hash.sha256(canonical) }, "\n"))
  headers.authorization = ("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(key.id, scope, signed, signature)
  headers.host = nil -- the client's own
  return headers
end

-- A real request: client:get(object, { headers = sign({ method = "GET", url = object }, key, os.time()) })

-- "Examples: Signature Calculations in AWS Signature Version 4", Amazon S3 API Reference; Friday, 24 May 2013.
local s3 = { id = "AKIAIOSFODNN7EXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region = "us-east-1", service = "s3" }
local bucket = "https://examplebucket.s3.amazonaws.com/"
-- From the AWS Signature Version 4 test suite, 30 August 2015.
local suite = { id = "AKIDEXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region = "us-east-1", service = "service" }
local example = "https://example.amazonaws.com/"

local vectors = {
  { "GET object", s3, { method = "GET", url = bucket .. "test.txt", headers = { Range = "bytes=0-9" } },
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
  { "PUT object", s3, { method = "PUT", url = bucket .. "test$file.text", body = "Welcome to Amazon S3.",
      headers = { Date = "Fri, 24 May 2013 00:00:00 GMT", ["x-amz-storage-class"] = "REDUCED_REDUNDANCY" } },
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
  { "GET bucket lifecycle", s3, { method = "GET", url = bucket .. "?lifecycle" },
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
  { "GET bucket (list objects)", s3, { method = "GET", url = bucket .. "?max-keys=2&prefix=J" },
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
  { "get-vanilla", suite, { method = "GET", url = example },
    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
  { "get-vanilla-query-order-key-case", suite, { method = "GET", url = example .. "?Param2=value2&Param1=value1" },
    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
  { "post-vanilla", suite, { method = "POST", url = example },
    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
  { "post-x-www-form-urlencoded", suite, { method = "POST", url = example, body = "Param1=value1",
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" } },
    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
}
for _, vector in ipairs(vectors) do
  local name, key, request, expected = table.unpack(vector)
  local time = key == s3 and 1369353600 or 1440938160
  local headers = sign(request, key, time)
  assert(headers.authorization:match("Signature=(%x+)$") == expected, name .. ": " .. headers.authorization)
  print(name .. ": the published signature")
end
