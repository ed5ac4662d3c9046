package dev.flowspan.internal;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** An executor service whose work belongs to a run. */
final class RunExecutor implements ExecutorService {
  private final RunScope scope;
  private final ExecutorService executor;

  RunExecutor(RunScope scope, ExecutorService executor) {
    this.scope = scope;
    this.executor = executor;
  }

  private <T> List<Callable<T>> wrapAll(Collection<? extends Callable<T>> works) {
    List<Callable<T>> wrapped = new ArrayList<>(works.size());
    for (Callable<T> work : works) {
      wrapped.add(scope.wrap(work));
    }
    return wrapped;
  }

  @Override
  public void execute(Runnable work) {
    executor.execute(scope.wrap(work));
  }

  @Override
  public <T> Future<T> submit(Callable<T> work) {
    return executor.submit(scope.wrap(work));
  }

  @Override
  public <T> Future<T> submit(Runnable work, T result) {
    return executor.submit(scope.wrap(work), result);
  }

  @Override
  public Future<?> submit(Runnable work) {
    return executor.submit(scope.wrap(work));
  }

  @Override
  public <T> List<Future<T>> invokeAll(Collection<? extends Callable<T>> works)
      throws InterruptedException {
    return executor.invokeAll(wrapAll(works));
  }

  @Override
  public <T> List<Future<T>> invokeAll(
      Collection<? extends Callable<T>> works, long timeout, TimeUnit unit)
      throws InterruptedException {
    return executor.invokeAll(wrapAll(works), timeout, unit);
  }

  @Override
  public <T> T invokeAny(Collection<? extends Callable<T>> works)
      throws InterruptedException, ExecutionException {
    return executor.invokeAny(wrapAll(works));
  }

  @Override
  public <T> T invokeAny(Collection<? extends Callable<T>> works, long timeout, TimeUnit unit)
      throws InterruptedException, ExecutionException, TimeoutException {
    return executor.invokeAny(wrapAll(works), timeout, unit);
  }

  @Override
  public void shutdown() {
    executor.shutdown();
  }

  @Override
  public List<Runnable> shutdownNow() {
    return executor.shutdownNow();
  }

  @Override
  public boolean isShutdown() {
    return executor.isShutdown();
  }

  @Override
  public boolean isTerminated() {
    return executor.isTerminated();
  }

  @Override
  public boolean awaitTermination(long timeout, TimeUnit unit) throws InterruptedException {
    return executor.awaitTermination(timeout, unit);
  }
}
