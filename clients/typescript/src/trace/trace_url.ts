/** The address of a trace in the page of a trace viewer. */

const PLACEHOLDER = "{trace_id}";
const MAX_LENGTH = 2048;
// Terminals may obey control characters.
const PAGE = /^https?:\/\/[!-~]+$/;

/** Return the address of a trace; undefined if the page is no address with a place for the id. */
export function traceUrl(page: string, traceId: string): string | undefined {
  if (page.length > MAX_LENGTH || !PAGE.test(page) || !page.includes(PLACEHOLDER)) return undefined;
  return page.replaceAll(PLACEHOLDER, traceId);
}
