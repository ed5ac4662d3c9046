package dev.flowspan;

/**
 * Encodes parameters, results and artifacts as JSON, and decodes them.
 *
 * <p>The default uses Gson, which grpc-java brings along. {@code dev.flowspan.jackson.JacksonJson}
 * uses Jackson instead.
 */
public interface Json {
  /**
   * Encodes a value.
   *
   * @param value the value, or null
   * @return one JSON value
   * @throws RuntimeException if it cannot be encoded; the run is then reported without it
   */
  String encode(Object value);

  /**
   * Decodes a value.
   *
   * @param json one JSON value
   * @param type the type of the result; {@code Object.class} gives maps, lists, strings and numbers
   * @throws RuntimeException if the JSON does not have this type
   */
  <T> T decode(String json, Class<T> type);
}
