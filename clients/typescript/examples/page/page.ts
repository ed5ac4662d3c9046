/**
 * A page that lists the newest flow runs, follows them live, cancels them, and reports a run of its
 * own. Open it with `?service=http://127.0.0.1:4680`, and start the service with `--cors-origin` and
 * the origin of the page.
 *
 * `npm run example:page` bundles it into .build/page of the repository.
 */

import {
  type BrowserClient,
  connect,
  type FlowRun,
  isTerminal,
  type State,
  type TaskRun,
  type Transition,
} from "flowspan/browser";

const SHOWN = 20;

const status = element("status");
const rows = element("runs");

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

function show(client: BrowserClient, run: FlowRun): void {
  const row = document.createElement("tr");
  row.id = run.id;
  for (const text of [run.flowName, run.name]) row.insertCell().textContent = text;
  row.insertCell().className = "state";
  const cancel = document.createElement("button");
  cancel.textContent = "Cancel";
  cancel.onclick = () => void client.flowRuns.cancel(run.id, "cancelled on the page").catch(fail);
  row.insertCell().append(cancel);
  rows.prepend(row);
  showState(run.id, run.state);
}

function showState(id: string, state: State): void {
  const row = document.getElementById(id);
  const cell = row?.querySelector(".state");
  if (cell) cell.textContent = state.name;
  const cancel = row?.querySelector("button");
  if (cancel) cancel.hidden = isTerminal(state.type);
}

function fail(error: unknown): void {
  status.textContent = String(error);
}

async function main(): Promise<void> {
  const address = new URLSearchParams(location.search).get("service") ?? location.origin;
  const client = await connect({ address });
  status.textContent = `flowspan ${client.service.version} at ${client.address}`;
  element("report").onclick = () => void reportRun(client).catch(fail);

  // The watch begins with the marker, so nothing happens between the list and the first change.
  for await (const item of client.watch({ flowRunsOnly: true, snapshot: "none" })) {
    if (item.kind === "snapshotEnd") await showNewest(client);
    else if (item.kind === "change") showChange(client, item.transition, item.run);
  }
}

async function showNewest(client: BrowserClient): Promise<void> {
  const newest: FlowRun[] = [];
  for await (const run of client.flowRuns.list({}, { limit: SHOWN })) newest.unshift(run);
  for (const run of newest) show(client, run);
}

function showChange(client: BrowserClient, change: Transition, run?: FlowRun | TaskRun): void {
  if (run?.kind === "flow" && document.getElementById(run.id) === null) show(client, run);
  showState(change.runId, change.state);
}

async function reportRun(client: BrowserClient): Promise<void> {
  await client.flow("page", { parameters: { href: location.href } }, async (run) => {
    run.log.info("reported by a browser");
    await new Promise((resolve) => setTimeout(resolve, 200));
    return navigator.userAgent;
  });
}

main().catch(fail);
