import { connect } from "flowspan";

await using client = await connect();

await client.flow("etl", (run) => {
  run.log.info("> before");
  run.log.info(`> ${"0123456789abcdef".repeat(65_536)}`);
  run.log.info("> after");
});
