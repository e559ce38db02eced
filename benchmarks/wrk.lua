-- What wrk measured, as a line of JSON. Times in seconds.
done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format('\n{"rate": %f, "p50": %f, "p95": %f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e6, latency:percentile(95) / 1e6, errors))
end
