import { readFileSync } from "node:fs";
import { connect, FlowspanError } from "flowspan";

const { FLOWSPAN_TLS, FLOWSPAN_TLS_CA } = process.env;

try {
  const tls = FLOWSPAN_TLS_CA ? { ca: readFileSync(FLOWSPAN_TLS_CA) } : FLOWSPAN_TLS === "true";
  await using client = await connect({ tls });
  console.log("> connected to", client.address);
} catch (error) {
  if (!(error instanceof FlowspanError)) throw error;
  console.log(">", error.code, error.advice ? "advice" : "no advice");
  console.log(error.message, error.advice);
}
