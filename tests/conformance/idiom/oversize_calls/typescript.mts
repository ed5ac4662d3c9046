import { connect, FlowspanError } from "flowspan";

const MIB = 1 << 20;

await using client = await connect();

for (const size of [MIB, 9 * MIB]) {
  try {
    await client.artifacts.create("markdown", "# Sales", { description: "x".repeat(size) });
  } catch (error) {
    if (!(error instanceof FlowspanError) || error.retryable) throw error;
    console.log(`> ${error.code} ${error.reason}`.trim());
  }
}
const stored = await client.artifacts.create("markdown", "# Sales", { description: "fits" });
console.log(">", stored.description);
