package dev.flowspan.jackson;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.flowspan.Json;
import java.io.UncheckedIOException;
import java.util.Objects;

/** JSON by Jackson 2, which must be on the class path. */
public final class JacksonJson implements Json {
  private final ObjectMapper mapper;

  /** Uses a mapper with Jackson's defaults and all modules on the class path. */
  public JacksonJson() {
    this(new ObjectMapper().findAndRegisterModules());
  }

  /** Uses your mapper. */
  public JacksonJson(ObjectMapper mapper) {
    this.mapper = Objects.requireNonNull(mapper, "mapper");
  }

  @Override
  public String encode(Object value) {
    try {
      return mapper.writeValueAsString(value);
    } catch (JsonProcessingException error) {
      throw new UncheckedIOException(error);
    }
  }

  @Override
  public <T> T decode(String json, Class<T> type) {
    try {
      return mapper.readValue(json, type);
    } catch (JsonProcessingException error) {
      throw new UncheckedIOException(error);
    }
  }
}
