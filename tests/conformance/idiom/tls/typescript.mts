import { readFileSync } from "node:fs";
import { connect, type TlsOptions } from "flowspan";

/** Return the certificates that the environment names, as for Python. */
function certificates(): boolean | TlsOptions {
  const { FLOWSPAN_TLS, FLOWSPAN_TLS_CA, FLOWSPAN_TLS_CLIENT_CERT, FLOWSPAN_TLS_CLIENT_KEY } = process.env;
  if (!FLOWSPAN_TLS) return false;
  return {
    ...(FLOWSPAN_TLS_CA && { ca: readFileSync(FLOWSPAN_TLS_CA) }),
    ...(FLOWSPAN_TLS_CLIENT_CERT && { cert: readFileSync(FLOWSPAN_TLS_CLIENT_CERT) }),
    ...(FLOWSPAN_TLS_CLIENT_KEY && { key: readFileSync(FLOWSPAN_TLS_CLIENT_KEY) }),
  };
}

await using client = await connect({ tls: certificates() });

await client.flow("etl", async (run) => {
  run.log.info("> begin");
  await run.task("fetch", () => {});
});
for await (const run of client.flowRuns.list()) console.log(">", run.flowName, run.state.type);
