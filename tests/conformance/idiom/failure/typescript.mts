import { connect } from "flowspan";

class LoadError extends Error {}

function fetchRows() {
  throw new LoadError("cannot load", { cause: new Error("no such file") });
}

await using client = await connect();

try {
  await client.flow("etl", (run) => run.task("fetch", fetchRows));
} catch (error) {
  if (!(error instanceof LoadError)) throw error;
  console.log(">", error.message);
}
