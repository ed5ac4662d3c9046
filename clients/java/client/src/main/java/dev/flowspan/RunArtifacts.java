package dev.flowspan;

import java.util.Collection;
import java.util.Map;

/**
 * Creates artifacts of a run: what it shows to people. They are stored in order with its states.
 *
 * <p>A key (lower-case letters, digits and dashes) names the thing that an artifact is a version
 * of. An artifact with an empty key is deleted with its run.
 */
public interface RunArtifacts {
  /**
   * Creates a text in Markdown.
   *
   * @return the id of the artifact
   * @throws IllegalArgumentException if the key is invalid or the text exceeds 1 MiB
   */
  String markdown(String key, String text);

  /**
   * Creates a table.
   *
   * @param rows one map for each row, from the name of a column to a value
   * @return the id of the artifact
   * @throws IllegalArgumentException if the key is invalid, or the rows are no JSON of at most 1
   *     MiB
   */
  String table(String key, Collection<? extends Map<String, ?>> rows);

  /**
   * Creates a link.
   *
   * @param text the text to show; the URL itself if empty
   * @return the id of the artifact
   * @throws IllegalArgumentException if the key is invalid
   */
  String link(String key, String url, String text);

  /**
   * Creates a progress bar at 0 percent.
   *
   * @throws IllegalArgumentException if the key is invalid
   */
  Progress progress(String key);

  /**
   * Creates an artifact of any type.
   *
   * @param type the kind of data, such as {@code image}
   * @param data the data, encoded as JSON
   * @param description a description in Markdown; may be empty
   * @return the id of the artifact
   * @throws IllegalArgumentException if the key is invalid, or the data is no JSON of at most 1 MiB
   */
  String create(String key, String type, Object data, String description);

  /** A progress bar. */
  interface Progress {
    /** Returns the id of the artifact. */
    String id();

    /**
     * Shows another percentage, from 0 to 100. Values outside become the nearest of these.
     *
     * @throws IllegalArgumentException if it is not a number
     */
    void set(double percent);
  }
}
