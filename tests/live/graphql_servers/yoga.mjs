// GraphQL Yoga, whose subscriptions go over server-sent events: SCHEMA PORT
import { createServer } from "node:http";
import { createYoga } from "graphql-yoga";
import { mocked } from "./schema.mjs";

const [file, port] = process.argv.slice(2);
createServer(createYoga({ schema: mocked(file) })).listen(Number(port), "127.0.0.1");
