import { connect, type Run } from "flowspan";

function innermost(run: Run) {
  run.log.info("> at the bottom");
}

async function step(run: Run) {
  run.log.info("> in the step");
  await run.flow("innermost", innermost);
}

async function inner(run: Run) {
  await run.task("step", step);
}

await using client = await connect();

await client.flow("outer", async (run) => {
  // Without the run, the client finds it.
  await client.flow("inner", inner);
  await run.task("after", () => {});
});
