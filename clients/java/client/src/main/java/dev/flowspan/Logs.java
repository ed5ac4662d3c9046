package dev.flowspan;

import dev.flowspan.internal.Core;
import dev.flowspan.internal.LogPieces;
import dev.flowspan.internal.Pages;
import dev.flowspan.internal.Streams;
import dev.flowspan.v1.ListLogsRequest;
import dev.flowspan.v1.ListLogsResponse;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.LogServiceGrpc;
import dev.flowspan.v1.TailLogsRequest;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/**
 * The logs of runs. Long records, which are stored in pieces, come out whole. All methods throw
 * {@link FlowspanException} if the call fails.
 */
public final class Logs {
  private static final int PAGE_SIZE = 1000;

  private final Core core;

  Logs(Core core) {
    this.core = core;
  }

  /** Lists the records of a run and of all runs that it called, oldest first. */
  public Iterable<LogRecord> list(String runId) {
    return list(ListLogsRequest.newBuilder().setRunId(runId).setIncludeDescendants(true).build());
  }

  /** Lists records. Pages are read while you iterate. */
  public Iterable<LogRecord> list(ListLogsRequest request) {
    return () -> pages(request);
  }

  private Iterator<LogRecord> pages(ListLogsRequest request) {
    LogPieces pieces = new LogPieces();
    int size = request.getPageSize() == 0 ? PAGE_SIZE : request.getPageSize();
    return new Pages<LogRecord>(
            token -> {
              ListLogsResponse page =
                  core.call(
                      LogServiceGrpc.getListLogsMethod(),
                      request.toBuilder().setPageSize(size).setPageToken(token).build());
              List<LogRecord> records = new ArrayList<>();
              page.getLogsList().forEach(record -> pieces.add(record, records::add));
              if (page.getNextPageToken().isEmpty()) {
                pieces.rest(records::add);
              }
              return new Pages.Page<>(records, page.getNextPageToken());
            })
        .iterator();
  }

  /**
   * Follows the records of a run and of all runs that it called: the existing ones, then new ones.
   * The stream ends with the run, and resumes after broken connections.
   */
  public Stream<LogRecord> tail(String runId) {
    return tail(TailLogsRequest.newBuilder().setRunId(runId).setIncludeDescendants(true).build());
  }

  /** Follows records; see {@link #tail(String)}. */
  public Stream<LogRecord> tail(TailLogsRequest request) {
    core.awaitOwnEvents();
    return Streams.tail(core.connection(), request);
  }
}
