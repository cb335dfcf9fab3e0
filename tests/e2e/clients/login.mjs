// Drives the OAuth login of an official TypeScript client from outside: one JSON command a line on stdin, one JSON answer
// a line on stdout.
//
// `node login.mjs '{"sdk": "v1" | "v2", "url": ..., "clientId": ... or absent, "browser": [program, ...arguments]}'`
//
// Commands: ["list"] and ["call", tool]. A client that has to log in opens the browser, which prints the URL that it was
// sent back to, and goes on. An answer has `result` or `error`.
import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]);
const REDIRECT = "http://127.0.0.1:54322/callback";
const v1 = options.sdk === "v1";
const { Client } = await import(v1 ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client");
const { StreamableHTTPClientTransport, UnauthorizedError } = v1
  ? {
      ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
      ...(await import("@modelcontextprotocol/sdk/client/auth.js")),
    }
  : await import("@modelcontextprotocol/client");

const kept = { client: options.clientId ? { client_id: options.clientId } : undefined };
let callback;
const provider = {
  redirectUrl: REDIRECT,
  clientMetadata: {
    client_name: "stoa-live-test",
    redirect_uris: [REDIRECT],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  invalidateCredentials(which) {
    if (which === "all" || which === "client") kept.client = undefined;
    if (which === "all" || which === "tokens") kept.tokens = undefined;
  },
  saveDiscoveryState: (state) => void (kept.discovery = state),
  discoveryState: () => kept.discovery,
  redirectToAuthorization(url) {
    const [program, ...rest] = options.browser;
    callback = new URL(execFileSync(program, [...rest, String(url)], { encoding: "utf-8" }).trim());
  },
};

let client;
async function connect() {
  const transport = new StreamableHTTPClientTransport(new URL(options.url), { authProvider: provider });
  const made = new Client({ name: "login", version: "1" });
  await made.connect(transport);
  client = made;
}

async function loggedIn(action) {
  try {
    if (!client) await connect();
    return await action();
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || !callback) throw error;
    const parameters = callback.searchParams;
    callback = undefined;
    if (parameters.get("error")) throw new Error(parameters.get("error_description"));
    const transport = new StreamableHTTPClientTransport(new URL(options.url), { authProvider: provider });
    await transport.finishAuth(v1 ? parameters.get("code") : parameters);
    client = undefined;
    await connect();
    return await action();
  }
}

const commands = {
  list: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async (name) => (await client.callTool({ name, arguments: {} })).isError ?? false,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = JSON.parse(line);
  const reply = {};
  try {
    reply.result = await loggedIn(() => commands[name](...rest));
  } catch (error) {
    reply.error = String(error.message);
  }
  console.log(JSON.stringify(reply));
}
