// Drives an official TypeScript client from outside: one JSON command a line on stdin, one JSON answer a line on stdout.
//
// `node driver.mjs '{"sdk": "v1" | "v2", "mode": "legacy" | "auto" | "2026-07-28", "url": ..., "token": ...}'`
//
// A command is [method of the client, ...arguments]. Beside those: ["connect"], ["heard", notification method], which
// waits until such a notification has come since it was waited for last, ["opened"], which waits until the session's own
// stream is, and ["close"]. An answer has `result` or
// `error`, and what was seen since the answer before: `told` (notifications and progress), `asked` (questions of the
// server) and `http` (status and challenge of each response).
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]);
const seen = { told: [], asked: [], http: [] };
const unheard = [];
let wake = () => {};
let opened;
const isOpened = new Promise((resolve) => (opened = resolve));

const answers = {
  "elicitation/create": ({ params }) => ({
    action: "accept",
    content: Object.fromEntries(Object.keys(params.requestedSchema.properties).map((name) => [name, `my ${name}`])),
  }),
  "sampling/createMessage": ({ params }) => ({
    role: "assistant",
    model: "m",
    content: { type: "text", text: params.messages[0].content.text.toUpperCase() },
  }),
  "roots/list": () => ({ roots: [{ uri: "file:///work", name: "work" }] }),
};
const notifications = ["message", "tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated"];

async function recording(url, init) {
  const response = await fetch(url, init);
  const method = init?.method ?? "GET";
  seen.http.push([method, response.status, response.headers.get("www-authenticate")]);
  if (method === "GET" && response.ok) opened();
  return response;
}

function answer(method) {
  return async (request) => {
    seen.asked.push(method);
    return answers[method](request);
  };
}

function hear(notification) {
  seen.told.push([notification.method, notification.params ?? {}]);
  unheard.push(notification.method);
  wake();
}

async function v1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const types = await import("@modelcontextprotocol/sdk/types.js");
  return {
    Client,
    StreamableHTTPClientTransport,
    negotiation: {},
    requests: {
      "elicitation/create": types.ElicitRequestSchema,
      "sampling/createMessage": types.CreateMessageRequestSchema,
      "roots/list": types.ListRootsRequestSchema,
    },
    notifications: {
      message: types.LoggingMessageNotificationSchema,
      "tools/list_changed": types.ToolListChangedNotificationSchema,
      "prompts/list_changed": types.PromptListChangedNotificationSchema,
      "resources/list_changed": types.ResourceListChangedNotificationSchema,
      "resources/updated": types.ResourceUpdatedNotificationSchema,
    },
    call: (client, params, rest) => client.callTool(params, undefined, rest),
  };
}

async function v2() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const mode = ["legacy", "auto"].includes(options.mode) ? options.mode : { pin: options.mode };
  return {
    Client,
    StreamableHTTPClientTransport,
    negotiation: { versionNegotiation: { mode } },
    requests: Object.fromEntries(Object.keys(answers).map((method) => [method, method])),
    notifications: Object.fromEntries(notifications.map((name) => [name, `notifications/${name}`])),
    call: (client, params, rest) => client.callTool(params, rest),
  };
}

const sdk = await (options.sdk === "v1" ? v1() : v2());
const capabilities = options.silent ? {} : { elicitation: {}, sampling: {}, roots: {} };
const client = new sdk.Client({ name: "driver", version: "1" }, { capabilities, ...sdk.negotiation });
if (!options.silent) {
  for (const method of Object.keys(answers)) client.setRequestHandler(sdk.requests[method], answer(method));
}
for (const name of notifications) client.setNotificationHandler(sdk.notifications[name], hear);

const commands = {
  async connect() {
    const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};
    const transport = new sdk.StreamableHTTPClientTransport(new URL(options.url), {
      requestInit: { headers },
      fetch: recording,
    });
    await client.connect(transport);
    return {
      revision: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
      server: client.getServerVersion() ?? null,
      capabilities: client.getServerCapabilities() ?? null,
      instructions: client.getInstructions() ?? null,
    };
  },
  callTool: (params) =>
    sdk.call(client, params, {
      onprogress: ({ progress, total }) => seen.told.push(["progress", { progress, total }]),
    }),
  async heard(method) {
    while (!unheard.includes(method)) await new Promise((resolve) => (wake = resolve));
    unheard.length = 0;
    return method;
  },
  opened: () => isOpened,
  async listen(filter) {
    await client.listen(filter);
    return filter;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = JSON.parse(line);
  const reply = {};
  try {
    reply.result = (await (commands[name] ?? client[name].bind(client))(...rest)) ?? null;
  } catch (error) {
    reply.error = { name: error.name, code: error.code ?? null, message: error.message, data: error.data ?? null };
  }
  console.log(JSON.stringify({ ...reply, ...seen }));
  for (const list of Object.values(seen)) list.length = 0;
  if (name === "close") process.exit(0);
}
