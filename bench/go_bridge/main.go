// A bridge from an OpenAPI document to MCP over Streamable HTTP, on the most used Go library of MCP and net/http:
// one tool an operation, its answer as text and as structured content, no governance.
//
//	go-bridge OPENAPI_FILE UPSTREAM_URL PORT
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

type parameter struct {
	Name     string          `json:"name"`
	In       string          `json:"in"`
	Required bool            `json:"required"`
	Schema   json.RawMessage `json:"schema"`
}

type operation struct {
	OperationID string      `json:"operationId"`
	Description string      `json:"description"`
	Parameters  []parameter `json:"parameters"`
}

type document struct {
	Paths map[string]map[string]operation `json:"paths"`
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var api document
	if err := json.Unmarshal(text, &api); err != nil {
		log.Fatal(err)
	}
	tools := server.NewMCPServer("bench", "1", server.WithToolCapabilities(false))
	// The default keeps two idle connections a host: under load most calls would open their own.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}
	for path, methods := range api.Paths {
		for method, described := range methods {
			tool := mcp.NewToolWithRawSchema(described.OperationID, described.Description, inputSchema(described))
			tools.AddTool(tool, handler(client, strings.ToUpper(method), os.Args[2]+path, described.Parameters))
		}
	}
	log.Fatal(server.NewStreamableHTTPServer(tools, server.WithStateLess(true)).Start("127.0.0.1:" + os.Args[3]))
}

func inputSchema(described operation) json.RawMessage {
	properties := map[string]json.RawMessage{}
	required := []string{}
	for _, p := range described.Parameters {
		properties[p.Name] = p.Schema
		if p.Required {
			required = append(required, p.Name)
		}
	}
	schema, err := json.Marshal(map[string]any{"type": "object", "properties": properties, "required": required})
	if err != nil {
		log.Fatal(err)
	}
	return schema
}

func handler(client *http.Client, method, template string, parameters []parameter) server.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		arguments, target, query := call.GetArguments(), template, url.Values{}
		for _, p := range parameters {
			value, given := arguments[p.Name]
			switch {
			case !given:
			case p.In == "path":
				target = strings.Replace(target, "{"+p.Name+"}", url.PathEscape(asText(value)), 1)
			case p.In == "query":
				query.Set(p.Name, asText(value))
			}
		}
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		request, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		if response.StatusCode >= 400 {
			return mcp.NewToolResultError(fmt.Sprintf("HTTP %d: %s", response.StatusCode, body)), nil
		}
		var structured any
		if err := json.Unmarshal(body, &structured); err != nil {
			return mcp.NewToolResultText(string(body)), nil
		}
		return mcp.NewToolResultStructured(structured, string(body)), nil
	}
}

func asText(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}
