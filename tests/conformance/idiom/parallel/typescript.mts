import { connect, type Run } from "flowspan";

const NAMES = ["one", "two", "three"];

let here = 0;
let meet = () => {};
const allHere = new Promise<void>((resolve) => {
  meet = resolve;
});

async function number(run: Run) {
  if (++here === NAMES.length) meet();
  await allHere;
  run.log.info(`> ${run.functionName}`);
  return NAMES.indexOf(run.functionName) + 1;
}

await using client = await connect();

const sum = await client.flow("etl", async (run) => {
  const numbers = await Promise.all(NAMES.map((name) => run.task(name, number)));
  return numbers.reduce((total, each) => total + each, 0);
});
console.log(`> ${sum}`);
