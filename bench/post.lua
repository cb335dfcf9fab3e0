-- wrk's side of a measurement: posts the request template (first argument after --) with a new number in each call
-- and prints one line of JSON at the end. It never looks at answers: wrk's response hook would cost more CPU
-- than the servers that are measured.
local parts, count, number = {}, 0, 100000

function init(args)
   local file = assert(io.open(args[1], "rb"))
   local text = file:read("*a") .. "@@@@@@"
   file:close()
   for part in text:gmatch("(.-)@@@@@@") do
      parts[#parts + 1] = part
   end
   count = #parts
end

function request()
   number = number < 999999 and number + 1 or 100000
   local text = parts[1]
   for i = 2, count do
      text = text .. number .. parts[i]
   end
   return text
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '\nRESULT {"calls":%d,"microseconds":%d,"bytes":%d,"refused":%d,"socket_errors":%d,"timeouts":%d,' ..
      '"p50_us":%d,"p99_us":%d,"load_us":%d}\n',
      summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write, e.timeout,
      latency:percentile(50), latency:percentile(99), os.clock() * 1e6))
end
