import { connect } from "flowspan";

const LONG = "0123456789abcdef".repeat(65_536);

await using client = await connect();

const etl = client.flow("etl", { description: LONG, parameters: { text: LONG } }, async (run) => {
  const { text } = run.parameters;
  await run.task(
    "step",
    { description: LONG, parameters: { text } },
    (task) => task.parameters.text.length,
  );
  throw new Error(LONG);
});
await etl.catch(() => {});
