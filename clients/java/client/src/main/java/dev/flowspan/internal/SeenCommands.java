package dev.flowspan.internal;

import java.util.LinkedHashMap;
import java.util.Map;

/** The ids of the latest commands: the service repeats a command until it sees the effect. */
final class SeenCommands {
  private static final int MAX_COMMANDS = 10_000;

  private final Map<String, Boolean> ids =
      new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
          return size() > MAX_COMMANDS;
        }
      };

  /** Returns true if the command is new. */
  synchronized boolean add(String id) {
    return ids.put(id, true) == null;
  }
}
