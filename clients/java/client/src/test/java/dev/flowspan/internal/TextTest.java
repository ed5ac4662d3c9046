package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class TextTest {
  @Test
  void nulBecomesItsSymbol() {
    assertEquals("a␀b", Text.clean("a\0b"));
  }

  @Test
  void sizeCountsUtf8() {
    for (String text : List.of("", "abc", "größe", "€uro", "😀 smile", "￿")) {
      assertEquals(text.getBytes(StandardCharsets.UTF_8).length, Text.size(text), text);
    }
  }

  @Test
  void shortenedTextFitsAndKeepsBothEnds() {
    String text = "start" + "😀ü".repeat(10_000) + "end";
    for (int limit : List.of(200, 201, 202, 203, 1000)) {
      String shortened = Text.shortened(text, limit);
      assertTrue(Text.size(shortened) <= limit);
      assertTrue(shortened.startsWith("start"));
      assertTrue(shortened.endsWith("end"));
      assertTrue(shortened.indexOf('\uFFFD') < 0);
    }
    assertEquals("short", Text.shortened("short", 200));
    assertTrue(Text.size(Text.shortened("€".repeat(100), 20)) <= 20);
  }

  @Test
  void piecesJoinToTheTextAndFit() {
    String text = "a€😀b".repeat(500);
    for (int limit : List.of(4, 5, 7, 100, 100_000)) {
      List<String> pieces = Text.pieces(text, limit);
      assertEquals(text, String.join("", pieces));
      for (String piece : pieces) {
        assertTrue(Text.size(piece) <= limit);
      }
    }
    assertEquals(List.of(""), Text.pieces("", 10));
  }

  @Test
  void tooLongNamesAreRefused() {
    assertEquals("ok", Text.limited("name", "ok", 2));
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> Text.limited("name", "ü€", 4));
    assertTrue(error.getMessage().contains("has 5 bytes"));
  }
}
