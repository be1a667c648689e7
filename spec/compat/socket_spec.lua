-- The drop-in's `socket`: TCP objects and what is around them.

local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: socket", function()
  wire.watch(before_each, after_each)

  describe("receive", function()
    rows.declare(it, net, {
      { "a line, without its end", [[ local a, b = pair() b:send("one\r\ntwo\n") return a:receive(), a:receive("*l") ]],
        [["one" "two" nil nil]] },
      { "three results, always", [[ local a, b = pair() b:send("x\n") return select("#", a:receive()), a:send("x") ]],
        [[3 1.0 nil nil]] },
      { "drops every CR of a line", [[ local a, b = pair() b:send("a\rb\r\r\n\r\n") return a:receive(), (a:receive()) ]],
        [["ab" ""]] },
      { "what there was at the end of the stream", [[ local a, b = pair() b:send("rest") b:close() return a:receive() ]],
        [[nil "closed" "rest"]] },
      { "a number of bytes", [[ local a, b = pair() b:send("abcdef") return a:receive(4), (a:receive("2")) ]], [["abcd" "ef"]] },
      { "a prefix counts", [[ local a, b = pair() b:send("abcdef") return a:receive(10, "123456") ]], [["123456abcd" nil nil]] },
      { "a prefix that is enough", [[ local a = pair() return a:receive(3, "123456") ]], [["123456" nil nil]] },
      { "a prefix of a line", [[ local a, b = pair() b:send("c\n") return a:receive("*l", "ab") ]], [["abc" nil nil]] },
      { "everything", [[ local a, b = pair() b:send("a\r\nb") b:close() return a:receive("*a") ]], [["a\r\nb" nil nil]] },
      { "everything, twice", [[ local a, b = pair() b:send("x") b:close() a:receive("*a") return a:receive("*a", "p") ]],
        [[nil "closed" "p"]] },
      { "a timeout hands on what there is", [[ local a, b = pair() b:send("xxx") a:settimeout(0.05) return a:receive(10, "y") ]],
        [[nil "timeout" "yxxx"]] },
      { "without a wait", [[ local a = pair() a:settimeout(0) return a:receive("*l") ]], [[nil "timeout" ""]] },
      { "patterns by two characters", [[ local a, b = pair() b:send("x\n") return (a:receive("*line")) ]], [["x"]] },
      { "unknown patterns", [[ local a = pair() return raised(a.receive, a, "l") ]],
        [["bad argument #2 to '?' (invalid receive pattern)"]], "the name of a function that pcall calls" },
      { "no more than maxsize", [[ local a, b = pair() b:send("abcdef\n") return a:receive("*l", "", 4) ]],
        [[nil "oversized" "abcd"]], "newer than the original" },
      { "maxsize that suffices", [[ local a, b = pair() b:send("abcd\r\n") return a:receive("*l", "", 4) ]], [["abcd" nil nil]],
        "newer than the original" },
    })
  end)
end)
