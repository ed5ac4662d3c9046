package dev.flowspan.internal;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.v1.CodeLocation;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The places in users' code that call runs. */
final class Callers {
  private static final String INTERNAL = "dev.flowspan.internal.";

  /**
   * The frames down to users' code, with some to spare: more of them are fetched in a second step.
   */
  private static final int DEPTH = 8;

  // To look for the frames of reflection, in order to hide them, takes longer than all the rest.
  private static final StackWalker STACK =
      StackWalker.getInstance(
          Set.of(StackWalker.Option.RETAIN_CLASS_REFERENCE, StackWalker.Option.SHOW_REFLECT_FRAMES),
          DEPTH);

  /** The known places of each class: to find the line of a frame is slow. */
  private static final ClassValue<Map<Place, CodeLocation>> KNOWN =
      new ClassValue<>() {
        @Override
        protected Map<Place, CodeLocation> computeValue(Class<?> type) {
          return new ConcurrentHashMap<>();
        }
      };

  private Callers() {}

  private record Place(String method, int byteCodeIndex) {}

  /** Returns the place that calls a run, or null if there is none. */
  static CodeLocation find() {
    return STACK.walk(
        frames -> frames.filter(Callers::isUsers).findFirst().map(Callers::locate).orElse(null));
  }

  private static boolean isUsers(StackWalker.StackFrame frame) {
    Class<?> type = frame.getDeclaringClass();
    String name = type.getName();
    return type != FlowspanClient.class
        && type != Run.class
        && !name.startsWith(INTERNAL)
        && !name.startsWith("java.lang.reflect.")
        && !name.startsWith("jdk.internal.reflect.");
  }

  private static CodeLocation locate(StackWalker.StackFrame frame) {
    Place place = new Place(frame.getMethodName(), frame.getByteCodeIndex());
    Map<Place, CodeLocation> known = KNOWN.get(frame.getDeclaringClass());
    CodeLocation found = known.get(place);
    if (found == null) {
      found = describe(frame);
      known.put(place, found);
    }
    return found;
  }

  private static CodeLocation describe(StackWalker.StackFrame frame) {
    String type = frame.getClassName();
    String folder = type.substring(0, type.lastIndexOf('.') + 1).replace('.', '/');
    String file = frame.getFileName() == null ? "" : folder + frame.getFileName();
    return CodeLocation.newBuilder()
        .setFilePath(Text.shortened(file, 1024))
        .setLine(Math.max(0, frame.getLineNumber()))
        .setFunction(Text.shortened(type + "." + frame.getMethodName(), Text.MAX_NAME_BYTES))
        .build();
  }
}
