package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.flowspan.v1.LogRecord;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class LogPiecesTest {
  private static LogRecord piece(String text, int index, int count) {
    return LogRecord.newBuilder()
        .setRunId("r")
        .setMessage(text)
        .setChunkIndex(index)
        .setChunkCount(count)
        .build();
  }

  @Test
  void piecesOfEqualRecordsAreNotMixed() {
    LogPieces pieces = new LogPieces();
    List<LogRecord> records = new ArrayList<>();
    pieces.add(piece("a", 0, 2), records::add);
    pieces.add(piece("c", 0, 2), records::add);
    pieces.add(piece("b", 1, 2), records::add);
    pieces.add(piece("whole", 0, 1), records::add);
    pieces.add(piece("d", 1, 2), records::add);
    assertEquals(
        List.of("ab", "whole", "cd"), records.stream().map(LogRecord::getMessage).toList());
  }

  @Test
  void incompleteRecordsComeOutAtTheEnd() {
    LogPieces pieces = new LogPieces();
    List<LogRecord> records = new ArrayList<>();
    pieces.add(piece("a", 0, 3), records::add);
    pieces.add(piece("c", 2, 3), records::add);
    pieces.add(piece("odd", 9, 3), records::add);
    pieces.rest(records::add);
    assertEquals(List.of("odd", "a", "c"), records.stream().map(LogRecord::getMessage).toList());
  }
}
