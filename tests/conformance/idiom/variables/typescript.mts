import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

interface City {
  name: string;
}

await using client = await connect();

const { variables } = client;
await line();
console.log(">", (await variables.get<City>("city"))?.name);
await variables.set("city", { name: "Paris" }, { overwrite: true });
console.log(">", (await variables.get<City>("city"))?.name);
await variables.delete("city");
console.log(">", (await variables.get("city")) === undefined ? "none" : "still there");
