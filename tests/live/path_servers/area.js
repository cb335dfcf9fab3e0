// Answers with the path that a request means to Node: WHATWG's URL, decoded and normalised.
const path = require("path")
require("http")
  .createServer((request, response) => {
    response.setHeader("content-type", "text/plain")
    try {
      const url = new URL(request.url, "http://localhost")
      response.end(path.posix.normalize(decodeURIComponent(url.pathname)))
    } catch {
      response.statusCode = 400
      response.end("not a path")
    }
  })
  .listen(Number(process.argv[2]), "127.0.0.1")
