import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

await using client = await connect();

const run = await client.flowRuns.get(await line());
const result = run.state.result?.json<{ größe: unknown[] }>();
// JSON as Python writes it: with spaces.
const members = result?.größe.map((each) => JSON.stringify(each)).join(", ");
console.log(`> {"größe": [${members}]}`);
