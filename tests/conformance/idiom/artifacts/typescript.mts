import { connect } from "flowspan";

await using client = await connect();

await client.flow("etl", (run) => {
  run.artifacts.markdown("# Sales", { key: "report" });
  run.artifacts.table([{ city: "東京", sales: 3 }]);
  run.artifacts.link("https://example.org/");
  const progress = run.artifacts.progress(0);
  progress.update(100);
});
