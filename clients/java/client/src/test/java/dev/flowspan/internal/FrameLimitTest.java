package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.Event;
import dev.flowspan.v1.Failure;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import dev.flowspan.v1.StateType;
import java.util.List;
import org.junit.jupiter.api.Test;

class FrameLimitTest {
  private static String joined(List<Event> pieces) {
    StringBuilder text = new StringBuilder();
    for (int index = 0; index < pieces.size(); index++) {
      LogRecord record = pieces.get(index).getLog();
      assertEquals(index, record.getChunkIndex());
      assertEquals(pieces.size(), record.getChunkCount());
      text.append(record.getMessage());
    }
    return text.toString();
  }

  @Test
  void aLongRecordIsDividedWithoutLoss() {
    String text = "x😀ü".repeat(40_000);
    Event event = TestEvents.log("r", text);
    for (long frame : List.of(400L, 2048L, 65_536L, 4L << 20)) {
      List<Event> pieces = FrameLimit.pieces(event, frame);
      assertEquals(text, joined(pieces));
      for (Event piece : pieces) {
        assertTrue(FrameLimit.fits(piece, frame));
        assertTrue(Text.size(piece.getLog().getMessage()) <= FrameLimit.MAX_LOG_BYTES);
        assertEquals(event.getLog().getTime(), piece.getLog().getTime());
      }
    }
  }

  @Test
  void onlyWhatIsTooLongIsDivided() {
    assertEquals(List.of(), FrameLimit.pieces(TestEvents.log("r", "short"), 2048));
    assertEquals(List.of(), FrameLimit.pieces(TestEvents.created("r", ""), 1));
    Event piece = FrameLimit.pieces(TestEvents.log("r", "x".repeat(5000)), 2048).get(0);
    assertEquals(List.of(), FrameLimit.pieces(piece, 500));
  }

  @Test
  void aPieceForASmallerFrameKeepsItsPlaceAndBothEnds() {
    Event piece = FrameLimit.pieces(TestEvents.log("r", "x".repeat(5000) + "end"), 2048).get(2);
    Event fitted = FrameLimit.fitted(piece, 500);
    assertTrue(FrameLimit.fits(fitted, 500));
    assertEquals(piece.getLog().getChunkCount(), fitted.getLog().getChunkCount());
    assertEquals(piece.getLog().getChunkIndex(), fitted.getLog().getChunkIndex());
    assertTrue(fitted.getLog().getMessage().startsWith("xxx"));
    assertTrue(fitted.getLog().getMessage().endsWith("end"));
  }

  @Test
  void aStateLosesItsDetailsOnly() {
    State failed =
        State.newBuilder()
            .setType(StateType.STATE_TYPE_FAILED)
            .setMessage("m".repeat(5000))
            .setFailure(Failure.newBuilder().setType("T").setStackTrace("s".repeat(5000)))
            .build();
    Event event =
        Event.newBuilder()
            .setStateEntered(StateEntered.newBuilder().setRunId("r").setState(failed))
            .build();
    State fitted = FrameLimit.fitted(event, 2048).getStateEntered().getState();
    assertEquals(StateType.STATE_TYPE_FAILED, fitted.getType());
    assertEquals("T", fitted.getFailure().getType());
    assertEquals("", fitted.getFailure().getStackTrace());
  }

  @Test
  void whatNeverFitsBecomesAPlaceholder() {
    Event created = TestEvents.created("r".repeat(200), "");
    assertSame(FrameLimit.PLACEHOLDER, FrameLimit.fitted(created, 100));
    assertSame(FrameLimit.PLACEHOLDER, FrameLimit.reduced(created));
  }

  @Test
  void aRefusedRecordIsHalvedUntilNothingIsLeft() {
    Event event = TestEvents.log("r", "x".repeat(4000));
    int steps = 0;
    while (event.hasLog()) {
      Event smaller = FrameLimit.reduced(event);
      assertTrue(smaller.getSerializedSize() < event.getSerializedSize());
      event = smaller;
      steps++;
    }
    assertSame(FrameLimit.PLACEHOLDER, event);
    assertTrue(steps > 3 && steps < 30, "in " + steps + " steps");
  }
}
