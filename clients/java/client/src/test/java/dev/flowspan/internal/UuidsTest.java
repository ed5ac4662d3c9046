package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.UUID;
import org.junit.jupiter.api.Test;

class UuidsTest {
  @Test
  void idsAreVersion7AndAscend() {
    String last = "";
    long before = System.currentTimeMillis();
    for (int index = 0; index < 20_000; index++) {
      String id = Uuids.next();
      UUID uuid = UUID.fromString(id);
      assertEquals(id, uuid.toString());
      assertEquals(7, uuid.version());
      assertEquals(2, uuid.variant());
      assertTrue(id.compareTo(last) > 0);
      last = id;
    }
    long millis = UUID.fromString(last).getMostSignificantBits() >>> 16;
    assertTrue(millis >= before && millis <= System.currentTimeMillis() + 60_000);
  }

  @Test
  void spanIdsFollowFromTheRun() {
    String id = "0199c0de-0000-7000-8000-000000000001";
    assertEquals("0199c0de000070008000000000000001", Uuids.traceId(id));
    assertEquals("8000000000000001", Uuids.spanId(id, 1));
    // The first 8 bytes of SHA-256(0199c0de000070008000000000000001 00000002).
    assertEquals("c04304ad088ee7ae", Uuids.spanId(id, 2));
  }
}
