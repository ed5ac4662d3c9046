import { connect } from "flowspan";

await using client = await connect();

const etl = client.flow("etl", () => {
  throw new AggregateError([new TypeError("first"), new Error("second")], "two things failed");
});
await etl.catch(() => {});
