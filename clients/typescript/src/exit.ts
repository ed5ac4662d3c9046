/** Closes the clients that a program forgot, when it has nothing else to do. */

/** What is closed. */
export interface Closable {
  close(): Promise<void>;
}

// One listener for all clients: Node warns about an object with many.
const open = new Set<Closable>();

function onBeforeExit(): void {
  for (const each of open) void each.close();
}

/** Close a client when the program ends without an error, unless it is closed before. */
export function closeAtExit(client: Closable): void {
  if (open.size === 0) process.on("beforeExit", onBeforeExit);
  open.add(client);
}

/** Leave a client alone. */
export function forgetAtExit(client: Closable): void {
  if (open.delete(client) && open.size === 0) process.off("beforeExit", onBeforeExit);
}
