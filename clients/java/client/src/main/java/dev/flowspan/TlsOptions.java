package dev.flowspan;

import java.nio.file.Path;

/**
 * Options for TLS. All are optional: without a CA, the certificates that Java trusts are used.
 *
 * @param ca a PEM file with the certificates to trust, or null
 * @param certificate a PEM file with the certificate chain of this client, or null
 * @param key a PEM file with the private key of this client (PKCS #8), or null
 * @param serverName the name that the service's certificate must have, if it is not the host; or
 *     null
 */
public record TlsOptions(Path ca, Path certificate, Path key, String serverName) {
  /** Checks the options. */
  public TlsOptions {
    if ((certificate == null) != (key == null)) {
      throw new IllegalArgumentException(
          "A client certificate needs its key, and the key its certificate: give both or neither.");
    }
  }

  /** Returns TLS with the certificates that Java trusts. */
  public static TlsOptions system() {
    return new TlsOptions(null, null, null, null);
  }

  /** Returns TLS with the certificates of a PEM file. */
  public static TlsOptions trusting(Path ca) {
    return new TlsOptions(ca, null, null, null);
  }

  /** Returns these options with a client certificate and its key, in PEM files. */
  public TlsOptions identity(Path certificate, Path key) {
    return new TlsOptions(ca, certificate, key, serverName);
  }

  /** Returns these options with another name to expect in the service's certificate. */
  public TlsOptions serverName(String serverName) {
    return new TlsOptions(ca, certificate, key, serverName);
  }
}
