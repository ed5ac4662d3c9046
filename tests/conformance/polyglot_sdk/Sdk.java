import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.Gson;
import dev.flowspan.examples.polyglot.Archive;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collection;
import java.util.Map;

/**
 * Starts the program `archive` in tests: an OpenTelemetry SDK makes its spans, and appends them to the
 * file SPANS.
 */
public final class Sdk implements SpanExporter {
  private static final AttributeKey<String> RUN_ID = AttributeKey.stringKey("flowspan.run.id");
  private static final String NO_SPAN = "0000000000000000";

  public static void main(String[] arguments) throws Exception {
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .addSpanProcessor(SimpleSpanProcessor.create(new Sdk()))
            .build();
    OpenTelemetrySdk.builder().setTracerProvider(provider).buildAndRegisterGlobal();
    Archive.main(arguments);
  }

  @Override
  public CompletableResultCode export(Collection<SpanData> spans) {
    for (SpanData span : spans) {
      String run = span.getAttributes().get(RUN_ID);
      String parent = span.getParentSpanId();
      Map<String, String> line =
          Map.of(
              "name", span.getName(),
              "run_id", run == null ? "" : run,
              "trace_id", span.getTraceId(),
              "span_id", span.getSpanId(),
              "parent_id", parent.equals(NO_SPAN) ? "" : parent);
      try {
        Files.writeString(
            Path.of(System.getenv("SPANS")),
            new Gson().toJson(line) + "\n",
            UTF_8,
            StandardOpenOption.CREATE,
            StandardOpenOption.APPEND);
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
    return CompletableResultCode.ofSuccess();
  }

  @Override
  public CompletableResultCode flush() {
    return CompletableResultCode.ofSuccess();
  }

  @Override
  public CompletableResultCode shutdown() {
    return CompletableResultCode.ofSuccess();
  }
}
