/**
 * The client of flowspan: runs flows and tasks, reports them to a service, and reads them there.
 *
 * <pre>{@code
 * try (FlowspanClient client = FlowspanClient.connect()) {
 *   int rows = client.flow("etl", run -> {
 *     String text = run.task("fetch", Retries.of(3), task -> download(url));
 *     return run.task("load", task -> store(text));
 *   });
 * }
 * }</pre>
 */
package dev.flowspan;
