/** Primitives to wait: a wake-up call, and a delay that a signal can end. */

/** Wakes one waiter. A call while nobody waits is remembered. */
export class Wakeup {
  private isSet = false;
  private resolve: ((woken: boolean) => void) | undefined;

  /** Wake the waiter, or let the next wait return at once. */
  set(): void {
    const resolve = this.resolve;
    if (resolve === undefined) this.isSet = true;
    else resolve(true);
  }

  /**
   * Wait for the next call of `set`.
   *
   * @param timeoutMs - The longest time to wait. The timer does not keep the process alive.
   * @returns False if the time was over.
   */
  wait(timeoutMs?: number): Promise<boolean> {
    if (this.isSet) {
      this.isSet = false;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const timer =
        timeoutMs === undefined
          ? undefined
          : unref(setTimeout(() => this.resolve?.(false), timeoutMs));
      this.resolve = (woken) => {
        clearTimeout(timer);
        this.resolve = undefined;
        resolve(woken);
      };
    });
  }
}

/**
 * Wait for a time.
 *
 * @param ms - Milliseconds; longer waits than a timer can hold are split.
 * @param signal - Ends the wait; its reason is thrown.
 */
export async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  const LONGEST_TIMER_MS = 0x7fff_ffff;
  for (let left = ms; left > 0; left -= LONGEST_TIMER_MS) {
    await timer(Math.min(left, LONGEST_TIMER_MS), signal);
  }
  signal?.throwIfAborted();
}

function timer(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(handle);
      reject(signal?.reason);
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Wait for a promise for at most a time. Returns false if the time was over. */
export async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let handle: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<false>((resolve) => {
    handle = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([promise.then(() => true as const), timeout]);
  } finally {
    clearTimeout(handle);
  }
}

/** Let a timer of Node not keep the process alive; timers of browsers are numbers. */
export function unref<T>(timer: T): T {
  (timer as { unref?: () => void }).unref?.();
  return timer;
}
