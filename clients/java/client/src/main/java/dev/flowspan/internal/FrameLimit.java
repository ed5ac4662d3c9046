package dev.flowspan.internal;

import com.google.protobuf.UnknownFieldSet;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.RunCreated;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import java.util.ArrayList;
import java.util.List;

/**
 * The limits of frames and log records, and how events are made to fit them.
 *
 * <p>A long log record is divided into pieces, without loss. Any other event that is too large on
 * its own loses what is only for people, so that the histories of runs stay whole.
 */
final class FrameLimit {
  /** The largest text of one log record. The service allows a little more. */
  static final int MAX_LOG_BYTES = 250 << 10;

  /** No log record of this size, with all its fields, has a longer text than the service allows. */
  static final int LARGE_ITEM_BYTES = 255 << 10;

  /** The bytes of a frame besides its events. */
  static final int FRAME_OVERHEAD_BYTES = 32;

  private static final int ITEM_OVERHEAD_BYTES = 6;
  private static final int PIECE_FIELDS_BYTES = 24;
  private static final int MIN_PIECE_BYTES = 64;
  private static final int SHORT_MESSAGE_BYTES = 200;
  private static final int UNKNOWN_FIELD = 1000;

  /** An event of a kind that no service knows: it takes a sequence, and is skipped. */
  static final Event PLACEHOLDER =
      Event.newBuilder()
          .setUnknownFields(
              UnknownFieldSet.newBuilder()
                  .addField(UNKNOWN_FIELD, UnknownFieldSet.Field.newBuilder().addVarint(1).build())
                  .build())
          .build();

  private FrameLimit() {}

  /** Returns the bytes that an event takes in a frame. */
  static int itemBytes(Event event) {
    return event.getSerializedSize() + ITEM_OVERHEAD_BYTES;
  }

  /** Returns true if a frame of this size can hold the event. */
  static boolean fits(Event event, long maxFrameBytes) {
    return FRAME_OVERHEAD_BYTES + itemBytes(event) <= maxFrameBytes;
  }

  /**
   * Divides a log record that is too long for one record or for one frame.
   *
   * @return the pieces in order, at least two; empty if the event stays as it is
   */
  static List<Event> pieces(Event event, long maxFrameBytes) {
    LogRecord record = event.getLog();
    if (!event.hasLog() || record.getChunkCount() > 1) {
      return List.of(); // the number of pieces is known to the service already
    }
    int bytes = record.getMessageBytes().size();
    if (bytes <= MAX_LOG_BYTES && fits(event, maxFrameBytes)) {
      return List.of();
    }
    List<String> texts = Text.pieces(record.getMessage(), roomForText(event, maxFrameBytes));
    if (texts.size() < 2) {
      return List.of();
    }
    List<Event> pieces = new ArrayList<>(texts.size());
    for (String text : texts) {
      LogRecord.Builder piece =
          record.toBuilder()
              .setMessage(text)
              .setChunkIndex(pieces.size())
              .setChunkCount(texts.size());
      pieces.add(Event.newBuilder().setLog(piece).build());
    }
    return pieces;
  }

  private static int roomForText(Event event, long maxFrameBytes) {
    int text = event.getLog().getMessageBytes().size();
    int others = FRAME_OVERHEAD_BYTES + itemBytes(event) - text + PIECE_FIELDS_BYTES;
    return (int) Math.max(MIN_PIECE_BYTES, Math.min(MAX_LOG_BYTES, maxFrameBytes - others));
  }

  /** Returns a smaller form of an event that is too large for a frame of this size. */
  static Event fitted(Event event, long maxFrameBytes) {
    Event smaller =
        event.hasLog() ? shortened(event, roomForText(event, maxFrameBytes)) : smaller(event);
    return fits(smaller, maxFrameBytes) ? smaller : PLACEHOLDER;
  }

  /** Returns a smaller form of an event that was refused as too large, by an unknown limit. */
  static Event reduced(Event event) {
    Event smaller =
        event.hasLog()
            ? shortened(event, event.getLog().getMessageBytes().size() / 2)
            : smaller(event);
    boolean isSmaller = smaller.getSerializedSize() < event.getSerializedSize();
    boolean hasText = !event.hasLog() || !smaller.getLog().getMessage().isEmpty();
    return isSmaller && hasText ? smaller : PLACEHOLDER;
  }

  private static Event shortened(Event log, int maxBytes) {
    LogRecord record = log.getLog();
    String text = Text.shortened(record.getMessage(), maxBytes);
    return Event.newBuilder().setLog(record.toBuilder().setMessage(text)).build();
  }

  /** Returns the event without what is only for people. */
  private static Event smaller(Event event) {
    return switch (event.getEventCase()) {
      case RUN_CREATED ->
          Event.newBuilder()
              .setRunCreated(
                  RunCreated.newBuilder(event.getRunCreated())
                      .clearParameters()
                      .clearDescription()
                      .clearInputs()
                      .clearLabels()
                      .clearTags())
              .build();
      case STATE_ENTERED -> {
        StateEntered entered = event.getStateEntered();
        State.Builder state = State.newBuilder(entered.getState()).clearResult().clearFailure();
        state.setMessage(Text.shortened(entered.getState().getMessage(), SHORT_MESSAGE_BYTES));
        if (entered.getState().hasFailure()) {
          state.getFailureBuilder().setType(entered.getState().getFailure().getType());
        }
        yield Event.newBuilder().setStateEntered(entered.toBuilder().setState(state)).build();
      }
      default -> event;
    };
  }
}
