-- An app on a Unix socket that hands out work, and workers that take it: one script, in a role that its first argument names.
-- Started, one process for each, by: sh examples/workers.sh. With luaposix the workers would be forked, and have `uds.client` from
-- their parent, token and all.
-- part of: workers.sh
--
--   caspian-net --allow-listen=unix:DIR/* --allow-net=unix:DIR/* examples/workers.lua server DIR/jobs.sock 3

local role, path, count = ...

if role == "server" then
  local uds = net.uds{ path = path, authenticate = true }
  local response = net.http.sammy.response
  local jobs, results, left = { "one", "two", "three", "four", "five", "six" }, {}, assert(tonumber(count))
  local done = #jobs
  uds:get("/job", function()
    local job = table.remove(jobs, 1)
    if not job then
      -- The last worker that hears of it ends the day.
      left = left - 1
      if left == 0 then uds:stop() end
      return response.empty(204)
    end
    return response.json(200, { job = job })
  end)
  uds:post("/result/{job}", function(request)
    results[#results + 1] = request.steps.job .. " -> " .. request.body .. " (process " .. tostring(request.peer and request.peer.pid > 0) .. ")"
    return response.empty(204)
  end)
  -- Who else may work is told the token.
  print(uds.token)
  io.stdout:flush()
  uds:wait(function() return response.text(404, "no such door\n") end)
  assert(#results == done)
  table.sort(results)
  io.stderr:write(table.concat(results, "\n"), "\n")
else
  local client = net.http.client.new{ unix = path, auth = { bearer = count }, timeout = 10, retry = { backoff = 0.02 } }
  while true do
    local answer = client:get("http://localhost/job")
    if answer.status ~= 200 then
      assert(answer.status == 204, answer.status)
      break
    end
    local job = answer:json().job
    assert(client:post("http://localhost/result/" .. job, job:upper()).status == 204)
  end
end
