package dev.flowspan.internal;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonPrimitive;
import com.google.gson.JsonSerializer;
import com.google.gson.ToNumberPolicy;
import dev.flowspan.Json;
import java.nio.file.Path;
import java.time.temporal.TemporalAccessor;
import java.time.temporal.TemporalAmount;
import java.util.Optional;

/** JSON by Gson, with times, paths and optional values as people expect them. */
public final class GsonJson implements Json {
  private final Gson gson;

  /** Creates the codec. */
  public GsonJson() {
    JsonSerializer<Object> asText = (value, type, context) -> new JsonPrimitive(value.toString());
    JsonSerializer<Optional<?>> asOptional =
        (value, type, context) -> context.serialize(value.orElse(null));
    gson =
        new GsonBuilder()
            .serializeNulls()
            .disableHtmlEscaping()
            .enableComplexMapKeySerialization()
            .setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE)
            .registerTypeHierarchyAdapter(TemporalAccessor.class, asText)
            .registerTypeHierarchyAdapter(TemporalAmount.class, asText)
            .registerTypeHierarchyAdapter(Path.class, asText)
            .registerTypeHierarchyAdapter(Optional.class, asOptional)
            .create();
  }

  @Override
  public String encode(Object value) {
    return gson.toJson(value);
  }

  @Override
  public <T> T decode(String json, Class<T> type) {
    return gson.fromJson(json, type);
  }
}
