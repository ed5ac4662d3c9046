package idiom.parallel;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** A program of the idiom tier. */
public final class Program {
  private static int etl(Run run) throws Exception {
    List<String> names = List.of("one", "two", "three");
    CountDownLatch missing = new CountDownLatch(names.size());
    ExecutorService pool = run.wrap(Executors.newFixedThreadPool(names.size()));
    try {
      List<Future<Integer>> futures = new ArrayList<>();
      for (String name : names) {
        int number = futures.size() + 1;
        futures.add(
            pool.submit(
                () ->
                    run.task(
                        name,
                        task -> {
                          missing.countDown();
                          missing.await();
                          task.log().info("> {}", name);
                          return number;
                        })));
      }
      int sum = 0;
      for (Future<Integer> future : futures) {
        sum += future.get();
      }
      return sum;
    } finally {
      pool.shutdown();
    }
  }

  public static void main(String[] arguments) throws Exception {
    try (FlowspanClient client = FlowspanClient.connect()) {
      int sum = client.flow("etl", run -> etl(run));
      print(sum);
    }
  }
}
