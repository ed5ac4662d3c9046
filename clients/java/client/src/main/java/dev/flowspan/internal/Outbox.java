package dev.flowspan.internal;

import dev.flowspan.v1.Batch;
import dev.flowspan.v1.Event;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The events of a session that are not acknowledged yet, in the order of their sequences.
 *
 * <p>The first ones are in flight on the current connection; the others wait. An event keeps its
 * sequence and its content once it was sent. Before that, a long log record is divided to fit the
 * frames of the service, and the events of a short run move together.
 *
 * <p>One lock guards it all, and the reporter waits on {@link #changed}.
 */
final class Outbox {
  private static final int MIN_CAPACITY = 1024;

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
  private long bytes;
  private long waitingBytes;

  /** The sequence of the first event that is kept here. */
  private long firstSequence = 1;

  /** The last sequence that the service has stored. Less than the one before, if it lost events. */
  private long stored;

  /** The last sequence that was sent on the current connection. */
  private long sent;

  /** The last sequence that was sent on any connection. */
  private long sentEver;

  /** The sequences that flushes wait for, each in an array of its own. */
  private final List<long[]> flushes = new ArrayList<>(1);

  private long oldestWaitingNanos;
  private long droppedLogs;
  private boolean closed;

  Outbox(int maxEvents, long maxBytes) {
    this.maxEvents = maxEvents;
    this.maxBytes = maxBytes;
  }

  /** The events of a batch, one a sequence. */
  static final class Frame {
    private final long first;
    private final Event[] events;

    Frame(long first, Event[] events) {
      this.first = first;
      this.events = events;
    }

    /** Returns the sequence of the first event. */
    long first() {
      return first;
    }

    List<Event> events() {
      return Collections.unmodifiableList(Arrays.asList(events));
    }

    /**
     * Returns the batch. Call it without the lock: this takes longer than all the rest.
     *
     * @param joins true to report each short run as one event
     */
    Batch batch(boolean joins) {
      Batch.Builder batch = Batch.newBuilder().setFirstSequence(first);
      if (joins) {
        ShortRuns.addJoined(batch, events);
      } else {
        batch.addAllEvents(Arrays.asList(events));
      }
      return batch.build();
    }
  }

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
    ensureRoom(1);
    ring[slot(count)] = event;
    int size = FrameLimit.itemBytes(event);
    if (waiting() == 0) {
      oldestWaitingNanos = System.nanoTime();
      waitingBytes = 0;
      changed.signal();
    }
    count++;
    bytes += size;
    waitingBytes += size;
    if (waiting() == Reporter.URGENT_EVENTS || waitingBytes >= Reporter.URGENT_BYTES) {
      changed.signal();
    }
  }

  private int slot(long offset) {
    return (int) (head + offset) & (ring.length - 1);
  }

  private void ensureRoom(int more) {
    int capacity = ring.length;
    while (count + more > capacity) {
      capacity *= 2;
    }
    if (capacity > ring.length) {
      Event[] larger = new Event[capacity];
      for (int offset = 0; offset < count; offset++) {
        larger[offset] = ring[slot(offset)];
      }
      ring = larger;
      head = 0;
    }
  }

  /**
   * Takes the next waiting events into a frame of at most {@code maxFrameBytes}.
   *
   * @param maxCount the largest number of events, at least 1
   * @param gathers true to move the events of short runs together
   */
  Frame take(int maxCount, long maxFrameBytes, boolean gathers) {
    long first = sent + 1;
    if (first < firstSequence) {
      return takePlaceholders(maxCount, maxFrameBytes);
    }
    int start = (int) (first - firstSequence);
    int taken = 0;
    long size = FrameLimit.FRAME_OVERHEAD_BYTES;
    long large = Math.min(maxFrameBytes - size, FrameLimit.LARGE_ITEM_BYTES);
    while (taken < maxCount && start + taken < count) {
      Event event = ring[slot(start + taken)];
      int added = FrameLimit.itemBytes(event);
      if (added > large) {
        if (taken > 0) {
          break; // if it is divided, its first piece is sent at once
        }
        event = fit(start, maxFrameBytes);
        added = FrameLimit.itemBytes(event);
      }
      if (taken > 0 && size + added > maxFrameBytes) {
        break;
      }
      size += added;
      waitingBytes = Math.max(0, waitingBytes - added);
      taken++;
    }
    Event[] events = new Event[taken];
    for (int index = 0; index < taken; index++) {
      events[index] = ring[slot(start + index)];
    }
    if (gathers) {
      gather(events, first);
    }
    return sending(first, events);
  }

  private Frame sending(long first, Event[] events) {
    sent = first + events.length - 1;
    sentEver = Math.max(sentEver, sent);
    oldestWaitingNanos = System.nanoTime();
    return new Frame(first, events);
  }

  /** Takes sequences whose events are gone, because the service had stored them and lost them. */
  private Frame takePlaceholders(int maxCount, long maxFrameBytes) {
    long room =
        (maxFrameBytes - FrameLimit.FRAME_OVERHEAD_BYTES)
            / FrameLimit.itemBytes(FrameLimit.PLACEHOLDER);
    long wanted = Math.min(maxCount, firstSequence - 1 - sent);
    Event[] events = new Event[(int) Math.max(1, Math.min(wanted, room))];
    Arrays.fill(events, FrameLimit.PLACEHOLDER);
    return sending(sent + 1, events);
  }

  /** Moves the events of short runs together, unless they have their sequences already. */
  private void gather(Event[] events, long first) {
    int fixed = (int) Math.max(0, Math.min(events.length, sentEver + 1 - first));
    if (!ShortRuns.gather(events, fixed)) {
      return;
    }
    for (int index = fixed; index < events.length; index++) {
      ring[slot(first - firstSequence + index)] = events[index];
    }
    long last = first + events.length - 1;
    for (long[] flush : flushes) {
      if (flush[0] >= first + fixed && flush[0] < last) {
        flush[0] = last; // what it waits for may have moved
      }
    }
  }

  /** Makes the event at a place fit, and returns it; a divided one becomes several. */
  private Event fit(int offset, long maxFrameBytes) {
    Event event = ring[slot(offset)];
    List<Event> pieces =
        firstSequence + offset > sentEver ? FrameLimit.pieces(event, maxFrameBytes) : List.of();
    if (!pieces.isEmpty()) {
      divide(offset, pieces);
    } else if (!FrameLimit.fits(event, maxFrameBytes)) {
      replace(offset, FrameLimit.fitted(event, maxFrameBytes));
    }
    return ring[slot(offset)];
  }

  private void divide(int offset, List<Event> pieces) {
    int more = pieces.size() - 1;
    ensureRoom(more);
    for (int index = count - 1; index > offset; index--) {
      ring[slot(index + more)] = ring[slot(index)];
    }
    count += more;
    long before = FrameLimit.itemBytes(ring[slot(offset)]);
    long after = 0;
    for (int index = 0; index < pieces.size(); index++) {
      ring[slot(offset + index)] = pieces.get(index);
      after += FrameLimit.itemBytes(pieces.get(index));
    }
    bytes += after - before;
    waitingBytes += after - before;
    for (long[] flush : flushes) {
      if (flush[0] >= firstSequence + offset) {
        flush[0] += more;
      }
    }
  }

  private void replace(int offset, Event event) {
    int slot = slot(offset);
    bytes += FrameLimit.itemBytes(event) - FrameLimit.itemBytes(ring[slot]);
    ring[slot] = event;
  }

  /**
   * Puts a placeholder in the place of an event.
   *
   * @return false if the event is not here, or is a placeholder already
   */
  boolean leaveOut(long sequence) {
    long offset = sequence - firstSequence;
    if (offset < 0 || offset >= count || ring[slot(offset)].equals(FrameLimit.PLACEHOLDER)) {
      return false;
    }
    replace((int) offset, FrameLimit.PLACEHOLDER);
    return true;
  }

  /** Reduces the first event in flight, which gRPC or a proxy refuses as too large. */
  void reduceFirst() {
    long offset = stored + 1 - firstSequence;
    if (offset >= 0 && offset < count) {
      replace((int) offset, FrameLimit.reduced(ring[slot(offset)]));
    }
  }

  /** Drops all events up to a sequence, which are stored. */
  void ack(long sequence) {
    long upTo = Math.min(sequence, last());
    if (upTo <= stored) {
      return;
    }
    stored = upTo;
    sent = Math.max(sent, upTo);
    while (count > 0 && firstSequence <= upTo) {
      bytes -= FrameLimit.itemBytes(ring[head]);
      ring[head] = null;
      head = slot(1);
      count--;
      firstSequence++;
    }
    if (!isFull()) {
      room.signalAll();
    }
    acked.signalAll();
    changed.signal();
  }

  /**
   * Continues after a sequence on a new connection: what follows is sent again. In the place of
   * events that the service had acknowledged, and has lost, placeholders are sent.
   *
   * @param sequence the last sequence that the service has, at most {@link #last()}
   * @return the number of events that it has lost since the last connection
   */
  long resume(long sequence) {
    long lost = Math.max(0, stored - sequence);
    ack(sequence);
    stored = sequence;
    sent = sequence;
    waitingBytes = bytes;
    oldestWaitingNanos = System.nanoTime();
    return lost;
  }

  /** Waits until everything added before the call is acknowledged. */
  boolean awaitAcked(long timeoutNanos) throws InterruptedException {
    long[] flush = new long[1];
    lock.lockInterruptibly();
    try {
      flush[0] = last();
      flushes.add(flush);
      long left = timeoutNanos;
      while (stored < flush[0] && !closed && left > 0) {
        left = acked.awaitNanos(left);
      }
      return stored >= flush[0];
    } finally {
      flushes.removeIf(each -> each == flush);
      lock.unlock();
    }
  }

  /** Drops everything, and whatever is added later. Wakes all waiting threads. */
  void close() {
    lock.lock();
    try {
      closed = true;
      count = 0;
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

  /** Returns true if the service has stored everything. */
  boolean isEmpty() {
    return closed || stored == last();
  }

  int size() {
    return count;
  }

  boolean isFlushing() {
    return !flushes.isEmpty();
  }

  /** Returns the sequence of the last event. */
  long last() {
    return firstSequence + count - 1;
  }

  /** Returns the number of events that are not sent on the current connection. */
  long waiting() {
    return last() - sent;
  }

  long inFlight() {
    return sent - stored;
  }

  long waitingBytes() {
    return waitingBytes;
  }

  long oldestWaitingNanos() {
    return oldestWaitingNanos;
  }

  /** Returns the last sequence that the service said it has stored. */
  long ackedSequence() {
    return stored;
  }

  long takeDroppedLogs() {
    long dropped = droppedLogs;
    droppedLogs = 0;
    return dropped;
  }

  /** Waits for a change, for at most the given time; callers look again in a loop. */
  @SuppressWarnings("WaitNotInLoop") // the loops are the callers'
  void await(long nanos) throws InterruptedException {
    if (nanos > 0) {
      changed.await(nanos, TimeUnit.NANOSECONDS);
    }
  }
}
