package program;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The words between the programs of the idiom tier and the test, in UTF-8. */
public final class Console {
  private static final PrintStream OUTPUT =
      new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final BufferedReader INPUT =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private Console() {}

  /** Writes a line that the test reads. */
  public static void print(Object value) {
    OUTPUT.println("> " + value);
  }

  /** Waits for a line of the test. */
  public static String line() {
    try {
      return INPUT.readLine();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Returns a process that runs a program with arguments, and writes to the same output. */
  public static ProcessBuilder command(Class<?> program, String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElse("java"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), program.getName()));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command).inheritIO();
  }
}
