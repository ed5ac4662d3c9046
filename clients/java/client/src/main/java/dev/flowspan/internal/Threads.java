package dev.flowspan.internal;

import java.util.ArrayList;
import java.util.List;

/**
 * The threads that execute a run. A thread is interrupted only while it is in the run, so that the
 * interrupt never hits code that it executes later.
 */
final class Threads {
  private final List<Thread> entered = new ArrayList<>(1);
  private final List<Thread> interrupted = new ArrayList<>(0);
  private final List<Thread> unaware = new ArrayList<>(0);

  /** Adds the current thread; it may be there already. */
  synchronized void enter() {
    entered.add(Thread.currentThread());
  }

  /** Removes the current thread once, and takes back an interrupt that came from here. */
  synchronized void leave() {
    Thread current = Thread.currentThread();
    entered.remove(entered.lastIndexOf(current));
    if (!entered.contains(current)) {
      unaware.remove(current);
      if (interrupted.remove(current)) {
        Thread.interrupted();
      }
    }
  }

  /** Interrupts all threads in the run, each only once. */
  synchronized void interrupt() {
    for (Thread thread : entered) {
      if (!interrupted.contains(thread)) {
        interrupted.add(thread);
        unaware.add(thread);
        thread.interrupt();
      }
    }
  }

  /**
   * Interrupts the current thread again if its code in this run does not know yet: the run below,
   * which the thread has just left, may have consumed the interrupt.
   */
  synchronized void interruptAgain() {
    if (unaware.contains(Thread.currentThread())) {
      Thread.currentThread().interrupt();
    }
  }

  /** Returns true if the current thread is in the run. */
  synchronized boolean hasCurrent() {
    return entered.contains(Thread.currentThread());
  }

  /**
   * Takes the interrupt of the current thread, whose code learns of the cancellation now.
   *
   * @return true if the code did not know, false if it was not interrupted or has noticed already
   */
  synchronized boolean takeInterrupt() {
    return unaware.remove(Thread.currentThread()) && Thread.interrupted();
  }
}
