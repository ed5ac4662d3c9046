import { connect } from "flowspan";

await using client = await connect();

await client.flow("other", () => ({ größe: [1, 2.5, null, true] }));
