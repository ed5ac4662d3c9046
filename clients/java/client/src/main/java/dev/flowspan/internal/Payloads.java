package dev.flowspan.internal;

import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.protobuf.ByteString;
import dev.flowspan.Json;
import dev.flowspan.v1.Payload;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Conversion of users' values to payloads. A value that cannot be stored fails no run. */
final class Payloads {
  private static final int MAX_DEPTH = 1000;
  static final int MAX_RESULT_BYTES = 1 << 20;
  static final int MAX_FLOW_PARAMETERS_BYTES = 512 << 10;
  static final int MAX_TASK_PARAMETERS_BYTES = 64 << 10;

  private static final Logger LOG = LoggerFactory.getLogger("dev.flowspan");

  private Payloads() {}

  /** Returns a value as JSON, or null if it cannot be encoded or is too large. */
  static Payload ofOrNull(Json json, Object value, int maxBytes, String what) {
    try {
      Payload payload = of(json, value);
      if (payload.getData().size() <= maxBytes) {
        return payload;
      }
      LOG.warn(
          "{} has {} bytes as JSON and is not stored; the limit is {}.",
          what,
          payload.getData().size(),
          maxBytes);
    } catch (RuntimeException | StackOverflowError | LinkageError error) {
      // Serialization calls users' code, which may throw anything.
      LOG.debug("{} cannot be encoded as JSON and is not stored", what, error);
    }
    return null;
  }

  /** Returns a value as JSON. */
  static Payload of(Json json, Object value) {
    return Payload.newBuilder()
        .setEncoding("json")
        .setData(ByteString.copyFromUtf8(encode(json, value)))
        .build();
  }

  /** Encodes a value. The service would refuse the whole session for JSON that is none. */
  private static String encode(Json json, Object value) {
    String text = json.encode(value);
    if (!(json instanceof GsonJson)) {
      JsonReader reader = new JsonReader(new StringReader(text));
      reader.setStrictness(Strictness.STRICT);
      reader.setNestingLimit(MAX_DEPTH);
      try {
        reader.skipValue();
        if (reader.peek() != JsonToken.END_DOCUMENT) {
          throw new IllegalArgumentException("The JSON library wrote more than one value.");
        }
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
    return text;
  }

  /** Returns parameters as an object. A value that cannot be encoded is replaced by its type. */
  static Payload ofParameters(Json json, Map<String, ?> parameters, int maxBytes, String what) {
    StringBuilder object = new StringBuilder("{");
    parameters.forEach(
        (name, value) -> {
          object.append(object.length() > 1 ? "," : "");
          object.append(encode(json, String.valueOf(name))).append(':');
          object.append(encodedOrType(json, value));
        });
    ByteString data = ByteString.copyFromUtf8(object.append('}').toString());
    if (data.size() <= maxBytes) {
      return Payload.newBuilder().setEncoding("json").setData(data).build();
    }
    LOG.warn(
        "{} have {} bytes as JSON and are not stored; the limit is {}.",
        what,
        data.size(),
        maxBytes);
    return null;
  }

  private static String encodedOrType(Json json, Object value) {
    try {
      return encode(json, value);
    } catch (RuntimeException | StackOverflowError | LinkageError error) {
      LOG.debug("A parameter cannot be encoded as JSON; its type is stored instead", error);
      return json.encode("<" + value.getClass().getName() + ">");
    }
  }
}
