package dev.flowspan.internal;

import dev.flowspan.v1.LogRecord;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;

/** Joins the pieces of long log records. A record comes out when its last piece has arrived. */
public final class LogPieces {
  private final List<LogRecord[]> open = new ArrayList<>();

  /** Adds a record or a piece, and passes on what is complete. */
  public void add(LogRecord record, Consumer<? super LogRecord> receiver) {
    int count = record.getChunkCount();
    int index = record.getChunkIndex();
    if (count <= 1 || index < 0 || index >= count) {
      receiver.accept(record);
      return;
    }
    Iterator<LogRecord[]> groups = open.iterator();
    while (groups.hasNext()) {
      LogRecord[] group = groups.next();
      if (accepts(group, record)) {
        group[index] = record;
        if (isComplete(group)) {
          groups.remove();
          receiver.accept(joined(group));
        }
        return;
      }
    }
    LogRecord[] group = new LogRecord[count];
    group[index] = record;
    open.add(group);
  }

  /** Passes on the pieces whose record is incomplete, and forgets them. */
  public void rest(Consumer<? super LogRecord> receiver) {
    for (LogRecord[] group : open) {
      for (LogRecord piece : group) {
        if (piece != null) {
          receiver.accept(piece);
        }
      }
    }
    open.clear();
  }

  private static boolean accepts(LogRecord[] group, LogRecord piece) {
    if (group.length != piece.getChunkCount() || group[piece.getChunkIndex()] != null) {
      return false;
    }
    for (LogRecord other : group) {
      if (other != null) {
        return other.getRunId().equals(piece.getRunId())
            && other.getLogger().equals(piece.getLogger())
            && other.getTime().equals(piece.getTime())
            && other.getAttempt() == piece.getAttempt();
      }
    }
    return true;
  }

  private static boolean isComplete(LogRecord[] group) {
    for (LogRecord piece : group) {
      if (piece == null) {
        return false;
      }
    }
    return true;
  }

  private static LogRecord joined(LogRecord[] group) {
    StringBuilder message = new StringBuilder();
    for (LogRecord piece : group) {
      message.append(piece.getMessage());
    }
    return group[group.length - 1].toBuilder()
        .setMessage(message.toString())
        .clearChunkIndex()
        .clearChunkCount()
        .build();
  }
}
