package dev.flowspan.examples.polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.Gson;
import dev.flowspan.CancelledRunException;
import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.zip.GZIPOutputStream;

/**
 * Compresses a document and stores it in the folder ARCHIVE_FOLDER. Reads the document from its
 * standard input, and writes the receipt to its standard output.
 *
 * <p>The program that starts it names its run in the environment (FLOWSPAN_RUN, TRACEPARENT), so
 * the flow here is a child of that run, without any code.
 */
public final class Archive {
  private static final Gson GSON = new Gson();

  private Archive() {}

  /** A document, and the time until the tape for it is there. */
  record Document(int order, String html, double tapeSeconds) {}

  /** The place of a compressed document, and its checksum. */
  record Stored(String path, String sha256) {}

  /** Archives one document. */
  public static void main(String[] arguments) throws Exception {
    Document document = GSON.fromJson(new InputStreamReader(System.in, UTF_8), Document.class);
    String folder = System.getenv().getOrDefault("ARCHIVE_FOLDER", "archive");
    try (FlowspanClient client = FlowspanClient.connect()) {
      Map<String, Object> parameters = Map.of("order", document.order(), "folder", folder);
      Stored stored =
          client.flow("archive", parameters, run -> archive(run, document, Path.of(folder)));
      System.out.println(GSON.toJson(stored));
    } catch (CancelledRunException | InterruptedException stopped) {
      System.err.println("archive: the run was cancelled");
      System.exit(1);
    }
  }

  private static Stored archive(Run run, Document document, Path folder) throws Exception {
    Files.createDirectories(folder);
    Path unfinished = Files.createTempFile(folder, "invoice-", ".unfinished");
    try {
      String sha256 = run.task("compress", task -> compress(task, document.html(), unfinished));
      Path path = folder.resolve("invoice-" + document.order() + ".html.gz");
      run.task("store", task -> store(task, unfinished, path, document.tapeSeconds()));
      return new Stored(path.toAbsolutePath().normalize().toString(), sha256);
    } finally {
      Files.deleteIfExists(unfinished); // of a run that was cancelled, or failed
    }
  }

  private static String compress(Run task, String text, Path target)
      throws IOException, NoSuchAlgorithmException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(bytes)) {
      gzip.write(text.getBytes(UTF_8));
    }
    Files.write(target, bytes.toByteArray());
    task.log().info("{} characters are {} bytes in the archive", text.length(), bytes.size());
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(bytes.toByteArray());
    return HexFormat.of().formatHex(hash);
  }

  private static String store(Run task, Path unfinished, Path path, double tapeSeconds)
      throws IOException, InterruptedException {
    task.log().info("waiting {} s for the tape", tapeSeconds);
    Thread.sleep((long) (1000 * tapeSeconds)); // a cancellation interrupts the thread
    return Files.move(unfinished, path, StandardCopyOption.REPLACE_EXISTING).toString();
  }
}
