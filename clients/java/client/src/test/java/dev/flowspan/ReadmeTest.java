package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;
import dev.flowspan.v1.StateType;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Compiles the examples of the README, and runs them against the real service. */
@Timeout(180)
class ReadmeTest {
  private static final Pattern EXAMPLE =
      Pattern.compile("^( *)```java\n(.*?)^ *```$", Pattern.MULTILINE | Pattern.DOTALL);
  private static final int LEAST_EXAMPLES = 9;

  /** Has the names that the examples leave to the reader. */
  private static final String AROUND =
      """
      import dev.flowspan.*;
      import dev.flowspan.v1.*;
      import java.io.*;
      import java.nio.file.*;
      import java.time.*;
      import java.util.*;
      import java.util.concurrent.*;

      public final class %s {
        static final String url = "https://shop.example/orders";
        static final List<Path> files = List.of(Path.of("a"), Path.of("b"));
        static final Map<String, String> request = new HashMap<>();
        static FlowspanClient client;
        static Run run;
        static String id;
        static long total;

        static String download(String url) throws IOException {
          return "text";
        }

        static int store(String text) {
          return 1;
        }

        static long count(Path file) {
          return 1;
        }

        static String readToken() {
          return "secret";
        }

        public static void perform(FlowspanClient with, Run in, String ended) throws Exception {
          client = with;
          run = in;
          id = ended;
          request.putAll(in.headers());
          example();
        }

        static void example() throws Exception {
      %s
        }
      }
      """;

  @TempDir Path folder;

  private static String readme() throws IOException {
    return Files.readString(TestService.root().resolve("clients/java/README.md"));
  }

  private static List<String> examples() throws IOException {
    List<String> examples = new ArrayList<>();
    Matcher matcher = EXAMPLE.matcher(readme());
    while (matcher.find()) {
      examples.add(matcher.group(2));
    }
    return examples;
  }

  private Class<?> compiled(String name, String source) throws Exception {
    Path file = Files.writeString(folder.resolve(name + ".java"), source);
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter errors = new StringWriter();
    try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
      boolean isCompiled =
          compiler
              .getTask(
                  errors,
                  files,
                  null,
                  List.of("-proc:none", "-cp", System.getProperty("java.class.path")),
                  null,
                  files.getJavaFileObjects(file))
              .call();
      assertTrue(isCompiled, errors + source);
    }
    URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()});
    return loader.loadClass(name);
  }

  @Test
  void theProgramRuns() throws Exception {
    compiled("Etl", examples().get(0)); // javac checks the name of the file, too
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      ProcessBuilder builder =
          new ProcessBuilder(
              Path.of(System.getProperty("java.home"), "bin", "java").toString(),
              "-cp",
              folder + ":" + System.getProperty("java.class.path"),
              "Etl");
      builder.environment().put("FLOWSPAN_ADDRESS", service.address());
      builder.environment().remove("FLOWSPAN_RUN");
      builder.redirectErrorStream(true);
      builder.redirectOutput(folder.resolve("output").toFile());
      Process program = builder.start();
      try {
        assertTrue(program.waitFor(60, TimeUnit.SECONDS));
      } finally {
        program.destroyForcibly().waitFor();
      }
      String output = Files.readString(folder.resolve("output"));
      assertEquals(0, program.exitValue(), output);
      assertTrue(output.contains("2 rows"), output);
      FlowRun run = client.flowRuns().list(RunFilter.getDefaultInstance()).iterator().next();
      assertEquals(StateType.STATE_TYPE_COMPLETED, run.getState().getType());
      assertEquals(2, client.decode(run.getState().getResult(), Integer.class));
    }
  }

  @Test
  void eachExampleCompilesAndRuns() throws Exception {
    List<String> examples = examples();
    assertTrue(examples.size() >= LEAST_EXAMPLES, examples.size() + " examples");
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      String ended = client.flow("ended", Run::id);
      for (int index = 1; index < examples.size(); index++) {
        String name = "Example" + index;
        Class<?> example = compiled(name, AROUND.formatted(name, examples.get(index)));
        if (examples.get(index).contains("flowspan.example:4600")) {
          continue; // there is no such service
        }
        Method perform =
            example.getMethod("perform", FlowspanClient.class, Run.class, String.class);
        client.flow("etl", run -> perform.invoke(null, client, run, ended));
      }
    }
  }

  @Test
  void theDependencyIsThisVersion() throws Exception {
    Properties properties = new Properties();
    try (InputStream file =
        ReadmeTest.class.getResourceAsStream("/dev/flowspan/client.properties")) {
      properties.load(file);
    }
    String version = properties.getProperty("version");
    assertTrue(readme().contains("<version>" + version + "</version>"), version);
  }
}
