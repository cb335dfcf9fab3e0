// Answers with the path that a request means to Go's ServeMux, which redirects what is not clean.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path"
)

func main() {
	http.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(writer, path.Clean(request.URL.Path))
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
