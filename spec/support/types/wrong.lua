-- What the checker must find, so that the step `types` can fail: each line names the rules. Never run.

local caspian = require("caspian.net")

net.fetch(1)                                                     --> param-type-mismatch
net:fetch(1)                                                     --> param-type-mismatch
net.fetch("https://example.com/", { timeout = "5" })             --> param-type-mismatch
net.ftech("https://example.com/")                                --> undefined-field
print(net.fetch("https://example.com/").stauts)                  --> undefined-field
print(net.fetch("https://example.com/").body:upper())            --> need-check-nil, param-type-mismatch
print(net.tcp("example.com", 80):recv_line():upper())            --> need-check-nil, param-type-mismatch
print(net.tcp("example.com"))                                    --> missing-parameter
print(net.ssl("example.com", 443):peer_cert().subject)           --> need-check-nil
print(net.smtp{ host = "mail.example.com" }:close())             --> need-check-nil
print(net.hash.sha256("x", "base64"))                            --> param-type-mismatch
print(caspian.launch{ "--allow-net" }.fetch("https://x.example/")) --> need-check-nil
print(nett.fetch("https://example.com/"))                        --> undefined-global
