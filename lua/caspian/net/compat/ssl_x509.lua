--- `ssl.x509` of the drop-in: certificates.
local checks = require("caspian.net.compat.ssl_checks")
local floor, setfenv, sub, type = math.floor, setfenv, string.sub, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local answer, bad, string_at = checks.answer, checks.bad, checks.string

--- The methods of certificates; each raises for a `self` that is none.
local function methods_of(native)
  local methods = {}

  --- The certificate's hash in hexadecimal: "sha1" (the default), "sha256" or "sha512".
  function methods.digest(cert, algorithm)
    if algorithm == nil then algorithm = "sha1" end
    algorithm = string_at(2, algorithm)
    local digest = answer(native.x509_digest(cert, algorithm))
    if not digest then return nil, "digest algorithm not supported (" .. algorithm .. ")" end
    return digest
  end

  --- How texts are handed out from now on: "ai5" (as they stand in the certificate) or "utf8". False for another word.
  function methods.setencode(cert, encode)
    encode = string_at(2, encode)
    -- Only the beginning of the word counts.
    local word = sub(encode, 1, 4) == "utf8" and "utf8" or sub(encode, 1, 3)
    return (answer(native.x509_encode(cert, word)))
  end

  --- The alternative names of the subject: `extensions()["2.5.29.17"].dNSName[1]`.
  function methods.extensions(cert)
    return (answer(native.x509_extensions(cert)))
  end

  function methods.getsignaturename(cert)
    return (answer(native.x509_signature(cert)))
  end

  --- An array of `{ oid =, name =, value = }`.
  function methods.issuer(cert)
    return (answer(native.x509_names(cert, true)))
  end

  function methods.subject(cert)
    return (answer(native.x509_names(cert, false)))
  end

  --- "Nov 21 01:38:05 2026 GMT"
  function methods.notbefore(cert)
    return (answer(native.x509_validity(cert)))
  end

  function methods.notafter(cert)
    local _, text = answer(native.x509_validity(cert))
    return text
  end

  --- True if the certificate is within its time at `time` (seconds since 1970).
  function methods.validat(cert, time)
    local _, _, from, to = answer(native.x509_validity(cert))
    if type(time) ~= "number" then bad(2, "number expected, got " .. (time == nil and "no value" or type(time))) end
    time = floor(time)
    return from <= time and time <= to
  end

  --- True if this certificate vouches for `subject`, over the others if need be; else nil and why.
  function methods.issued(issuer, subject, ...)
    local good, why = answer(native.x509_issued(issuer, subject, ...))
    if good then return true end
    return nil, why
  end

  function methods.pem(cert)
    return (answer(native.x509_pem(cert)))
  end

  --- The public key as PEM, its kind ("RSA", "EC", "DSA" or "Unknown"), its size in bits.
  function methods.pubkey(cert)
    return answer(native.x509_pubkey(cert))
  end

  --- In hexadecimal.
  function methods.serial(cert)
    return (answer(native.x509_serial(cert)))
  end

  return methods
end

return function(native)
  answer(native.x509_class(methods_of(native)))
  local module = {}

  --- The certificate in a PEM text; nil if there is none.
  function module.load(pem)
    return (answer(native.x509_load(string_at(1, pem, "load"))))
  end

  return module
end
