import { connect } from "flowspan";

await using client = await connect();

const options = { tags: ["мир", "👩‍👩‍👧‍👦"], parameters: { straße: "naïve \u202e 東京" } };
const size = client.flow("größe 東京", options, (run) => {
  run.log.info("> a\0b Ελλάδα עברית 😀");
  throw new Error("no\0thing 😀");
});
await size.catch(() => {});
