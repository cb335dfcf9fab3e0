// The schema of a file, every field of which answers made-up values; subscriptions send three events.
import { readFileSync } from "node:fs";
import { addMocksToSchema } from "@graphql-tools/mock";
import { makeExecutableSchema } from "@graphql-tools/schema";

const BUILT_IN = new Set(["Int", "Float", "String", "ID", "Boolean"]);

export function mocked(file) {
  const resolvers = { Subscription: {} };
  const options = { typeDefs: readFileSync(file, "utf8"), assumeValidSDL: true }; // GitHub's defines a field twice
  const plain = makeExecutableSchema(options);
  for (const name of Object.keys(plain.getSubscriptionType()?.getFields() ?? {})) {
    resolvers.Subscription[name] = {
      subscribe: async function* () {
        for (let number = 1; number <= 3; number += 1) yield { [name]: { number, text: "x" } };
      },
      resolve: (event) => event[name],
    };
  }
  const schema = makeExecutableSchema({ ...options, resolvers: plain.getSubscriptionType() ? resolvers : {} });
  const mocks = {};
  for (const [name, type] of Object.entries(schema.getTypeMap())) {
    if (type.astNode?.kind === "ScalarTypeDefinition" && !BUILT_IN.has(name)) mocks[name] = () => "x";
  }
  return addMocksToSchema({ schema, mocks, preserveResolvers: true });
}
