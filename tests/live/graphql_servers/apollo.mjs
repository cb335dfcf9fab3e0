// Apollo Server, and graphql-ws beside it for subscriptions: SCHEMA PORT WEBSOCKET_PORT
import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { mocked } from "./schema.mjs";

const [file, port, socketPort] = process.argv.slice(2);
const schema = mocked(file);
useServer({ schema }, new WebSocketServer({ host: "127.0.0.1", port: Number(socketPort), path: "/graphql" }));
const server = new ApolloServer({ schema, introspection: true });
await startStandaloneServer(server, { listen: { host: "127.0.0.1", port: Number(port) } });
