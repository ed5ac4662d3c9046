package dev.flowspan.internal;

import com.google.protobuf.UnknownFieldSet;
import dev.flowspan.v1.Batch;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.RunCreated;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The events of a session that are not acknowledged yet, in the order of their sequences.
 *
 * <p>The first ones are in flight on the current connection; the others wait. One lock guards it
 * all, and the reporter waits on {@link #changed}.
 */
final class Outbox {
  private static final int MIN_CAPACITY = 1024;
  private static final int EVENT_OVERHEAD_BYTES = 6;
  private static final int FRAME_OVERHEAD_BYTES = 32;
  private static final int UNKNOWN_FIELD = 6000;

  final ReentrantLock lock = new ReentrantLock();

  /** Signalled when the reporter may have something to do. */
  final Condition changed = lock.newCondition();

  private final Condition room = lock.newCondition();
  private final Condition acked = lock.newCondition();
  private final int maxEvents;
  private final long maxBytes;

  private Event[] ring = new Event[MIN_CAPACITY];
  private int head;
  private int count;
  private int inFlight;
  private long bytes;
  private long waitingBytes;
  private long firstSequence = 1;
  private long oldestWaitingNanos;
  private long droppedLogs;
  private boolean closed;

  Outbox(int maxEvents, long maxBytes) {
    this.maxEvents = maxEvents;
    this.maxBytes = maxBytes;
  }

  /** A range of events as a frame: the batch and the number of its events. */
  record Frame(Batch batch, int events) {}

  /** Adds a log record, or drops and counts it if the outbox is full. */
  void addLog(Event event) {
    lock.lock();
    try {
      if (closed || isFull()) {
        droppedLogs++;
        return;
      }
      append(event);
    } finally {
      lock.unlock();
    }
  }

  /**
   * Adds an event that is never dropped; waits while the outbox is full.
   *
   * @return false if there was no room within the time; the event was then added only if {@code
   *     anyway} is set
   */
  boolean add(Event event, long timeoutNanos, boolean anyway) {
    lock.lock();
    try {
      boolean fits = awaitRoom(timeoutNanos);
      if ((fits || anyway) && !closed) {
        append(event);
      }
      return fits;
    } finally {
      lock.unlock();
    }
  }

  private boolean awaitRoom(long timeoutNanos) {
    long left = timeoutNanos;
    boolean interrupted = false;
    long end = System.nanoTime() + timeoutNanos;
    while (isFull() && !closed && left > 0) {
      try {
        left = room.awaitNanos(left);
      } catch (InterruptedException interrupt) {
        // A cancelled run still has to report its end; the caller sees the interrupt afterwards.
        interrupted = true;
        left = end - System.nanoTime();
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    return !isFull() || closed;
  }

  private boolean isFull() {
    return count >= maxEvents || bytes >= maxBytes;
  }

  private void append(Event event) {
    if (count == ring.length) {
      resize(ring.length * 2);
    }
    ring[(head + count) & (ring.length - 1)] = event;
    int size = event.getSerializedSize() + EVENT_OVERHEAD_BYTES;
    if (count == inFlight) {
      oldestWaitingNanos = System.nanoTime();
      waitingBytes = 0;
      changed.signal();
    }
    count++;
    bytes += size;
    waitingBytes += size;
    if (count - inFlight == Reporter.URGENT_EVENTS || waitingBytes >= Reporter.URGENT_BYTES) {
      changed.signal();
    }
  }

  private void resize(int capacity) {
    Event[] larger = new Event[capacity];
    for (int index = 0; index < count; index++) {
      larger[index] = ring[(head + index) & (ring.length - 1)];
    }
    ring = larger;
    head = 0;
  }

  /** Takes up to {@code maxCount} waiting events into a frame of at most {@code maxFrameBytes}. */
  Frame take(int maxCount, long maxFrameBytes) {
    Batch.Builder batch = Batch.newBuilder().setFirstSequence(firstSequence + inFlight);
    long size = FRAME_OVERHEAD_BYTES;
    int taken = 0;
    while (taken < maxCount && inFlight < count) {
      Event event = ring[(head + inFlight) & (ring.length - 1)];
      int added = event.getSerializedSize() + EVENT_OVERHEAD_BYTES;
      if (FRAME_OVERHEAD_BYTES + added > maxFrameBytes) {
        event = replaceFirstWaiting(maxFrameBytes);
        added = event.getSerializedSize() + EVENT_OVERHEAD_BYTES;
      }
      if (taken > 0 && size + added > maxFrameBytes) {
        break;
      }
      batch.addEvents(event);
      size += added;
      waitingBytes = Math.max(0, waitingBytes - added);
      inFlight++;
      taken++;
    }
    oldestWaitingNanos = System.nanoTime();
    return new Frame(batch.build(), taken);
  }

  /** Replaces the first waiting event, which is too large on its own, by a smaller one. */
  private Event replaceFirstWaiting(long maxFrameBytes) {
    int index = (head + inFlight) & (ring.length - 1);
    Event old = ring[index];
    Event event = withoutDetails(old);
    if (event.getSerializedSize() + EVENT_OVERHEAD_BYTES + FRAME_OVERHEAD_BYTES > maxFrameBytes) {
      event = placeholder();
    }
    bytes += event.getSerializedSize() - old.getSerializedSize();
    ring[index] = event;
    return event;
  }

  /** Replaces the first event in flight, which the service or a proxy refuses as too large. */
  void replaceFirst() {
    if (count > 0) {
      Event old = ring[head];
      Event smaller = withoutDetails(old);
      Event event = smaller.getSerializedSize() < old.getSerializedSize() ? smaller : placeholder();
      bytes += event.getSerializedSize() - old.getSerializedSize();
      ring[head] = event;
    }
  }

  /** Returns the event without what is only for people, so that the run's history stays whole. */
  private static Event withoutDetails(Event event) {
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
        state.setMessage(Text.shortened(entered.getState().getMessage(), 200));
        if (entered.getState().hasFailure()) {
          state.getFailureBuilder().setType(entered.getState().getFailure().getType());
        }
        yield Event.newBuilder().setStateEntered(entered.toBuilder().setState(state)).build();
      }
      default -> event;
    };
  }

  /** Returns an event that takes a sequence, and which every service skips with a verdict. */
  private static Event placeholder() {
    UnknownFieldSet.Field field = UnknownFieldSet.Field.newBuilder().addVarint(1).build();
    return Event.newBuilder()
        .setUnknownFields(UnknownFieldSet.newBuilder().addField(UNKNOWN_FIELD, field).build())
        .build();
  }

  /** Drops all events up to a sequence, which are stored. */
  void ack(long sequence) {
    long done = Math.min(count, sequence - firstSequence + 1);
    for (long index = 0; index < done; index++) {
      bytes -= ring[head].getSerializedSize() + EVENT_OVERHEAD_BYTES;
      ring[head] = null;
      head = (head + 1) & (ring.length - 1);
      count--;
    }
    if (done > 0) {
      firstSequence += done;
      inFlight = (int) Math.max(0, inFlight - done);
      if (!isFull()) {
        room.signalAll();
      }
      acked.signalAll();
      changed.signal();
    }
  }

  /**
   * Continues after a sequence on a new connection: what follows is sent again.
   *
   * @return false if the service has stored fewer events than it acknowledged, or more than there
   *     are, so that the session cannot continue
   */
  boolean resume(long sequence) {
    if (sequence < firstSequence - 1 || sequence > firstSequence - 1 + count) {
      return false;
    }
    inFlight = 0;
    ack(sequence);
    waitingBytes = bytes;
    oldestWaitingNanos = System.nanoTime();
    return true;
  }

  /** Numbers the events from 1 again, for a new session. */
  void renumber() {
    firstSequence = 1;
    inFlight = 0;
    waitingBytes = bytes;
  }

  /** Waits until everything added before the call is acknowledged. */
  boolean awaitAcked(long timeoutNanos) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      long target = firstSequence + count - 1;
      long left = timeoutNanos;
      while (firstSequence <= target && !closed && left > 0) {
        left = acked.awaitNanos(left);
      }
      return firstSequence > target;
    } finally {
      lock.unlock();
    }
  }

  /** Drops everything, and whatever is added later. Wakes all waiting threads. */
  void close() {
    lock.lock();
    try {
      closed = true;
      count = 0;
      inFlight = 0;
      bytes = 0;
      ring = new Event[MIN_CAPACITY];
      head = 0;
      room.signalAll();
      acked.signalAll();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  // The methods below need the lock.

  boolean isClosed() {
    return closed;
  }

  boolean isEmpty() {
    return count == 0;
  }

  int size() {
    return count;
  }

  int waiting() {
    return count - inFlight;
  }

  int inFlight() {
    return inFlight;
  }

  long waitingBytes() {
    return waitingBytes;
  }

  long oldestWaitingNanos() {
    return oldestWaitingNanos;
  }

  /** Returns the last sequence whose ack was received. */
  long ackedSequence() {
    return firstSequence - 1;
  }

  long takeDroppedLogs() {
    long dropped = droppedLogs;
    droppedLogs = 0;
    return dropped;
  }

  /** Waits for a change, for at most the given time. */
  void await(long nanos) throws InterruptedException {
    if (nanos > 0) {
      changed.await(nanos, TimeUnit.NANOSECONDS);
    }
  }
}
