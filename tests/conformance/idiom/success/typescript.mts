import { connect, type Run } from "flowspan";

function fetchRows(run: Run<{ limit: number }>) {
  run.log.info(`> fetched ${run.parameters.limit}`);
  return [1, 2, 3];
}

await using client = await connect();

const sum = await client.flow(
  "etl",
  { parameters: { day: "monday", limit: 3 }, description: "Loads the sales of a day." },
  async (run) => {
    run.log.info("> begin");
    run.log.warn("> careful");
    const { limit } = run.parameters;
    const rows = await run.task(
      "fetch",
      { parameters: { limit }, tags: ["network", "shop"] },
      fetchRows,
    );
    return rows.reduce((total, row) => total + row, 0);
  },
);
console.log(`> ${sum}`);
