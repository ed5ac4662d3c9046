/**
 * An ETL flow: weather stations are fetched in parallel, with retries, and summed up in a table.
 *
 * Start a service with `flowspan server start`, and then run `node examples/etl.ts`. (Node 20 needs
 * a loader for TypeScript: `npx tsx examples/etl.ts`.)
 */

import { connect, exponentialBackoff, type Run } from "flowspan";

interface Reading {
  station: string;
  celsius: number;
}

const STATIONS = ["Ulm", "Graz", "Bern", "Lund", "Gent"];

/** Stands for a request to a station, which fails now and then, at most three times in a row. */
async function fetchReading(run: Run, station: string): Promise<Reading> {
  await new Promise((resolve) => setTimeout(resolve, 20 + 40 * Math.random()));
  run.signal.throwIfAborted();
  if (run.attempt < 4 && Math.random() < 0.3)
    throw new Error(`the station ${station} did not answer`);
  return { station, celsius: Math.round(300 * Math.random() - 50) / 10 };
}

await using client = await connect();

const summary = await client.flow(
  "etl",
  { parameters: { stations: STATIONS }, tags: ["example"], description: "Reads weather stations." },
  async (run) => {
    const progress = run.artifacts.progress(0, { description: "stations read" });
    let done = 0;
    const tasks = run.parameters.stations.map((station) =>
      run.task(
        "fetch",
        {
          parameters: { station },
          retries: 5,
          retryDelayMs: exponentialBackoff(50),
          timeoutMs: 5_000,
        },
        async (task) => {
          const reading = await fetchReading(task, station);
          task.log.info(`${station} has ${reading.celsius} °C`);
          progress.update((100 * ++done) / STATIONS.length);
          return reading;
        },
      ),
    );
    const readings = await Promise.all(tasks);

    return run.task("load", { inputs: { readings: tasks } }, (task) => {
      task.artifacts.table(readings, { key: "readings", description: "The latest readings" });
      const sum = readings.reduce((total, reading) => total + reading.celsius, 0);
      return { count: readings.length, mean: sum / readings.length };
    });
  },
);

console.log(`${summary.count} stations, ${summary.mean.toFixed(1)} °C on average`);

for await (const run of client.flowRuns.list({ functionNames: ["etl"] }, { limit: 3 })) {
  console.log(run.name, run.state.name, `${run.runDurationMs.toFixed(0)} ms`);
}
