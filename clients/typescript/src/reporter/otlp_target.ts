/** The receivers of this process's spans and logs, by the variables of OpenTelemetry. */

const GRPC = "grpc";
const HTTP = "http/protobuf";
const MAX_URL_LENGTH = 1024;
const VISIBLE = /^[!-~]+$/;
const DEFAULT_ENDPOINTS: Readonly<Record<string, string>> = {
  [GRPC]: "http://localhost:4317",
  [HTTP]: "http://localhost:4318",
};

type Get = (name: string) => string;

/** See flowspan.v1.OtlpTarget. */
export interface OtlpTarget {
  protocol: string;
  tracesUrl: string;
  logsUrl: string;
}

/**
 * Return where this process sends its spans and logs, so that the service can send the spans of its
 * crashed runs there; undefined without such a configuration. Credentials are left out.
 */
export function otlpTargetOf(
  environ: Readonly<Record<string, string | undefined>>,
): OtlpTarget | undefined {
  const get: Get = (name) => environ[name]?.trim() ?? "";
  const isOff = get("OTEL_SDK_DISABLED").toLowerCase() === "true";
  if (isOff || get("FLOWSPAN_TRACING").toLowerCase() === "false") return undefined;
  const traces = hasSpans(get)
    ? receiver(get, "TRACES", "/v1/traces", get("FLOWSPAN_OTLP_ENDPOINT"))
    : undefined;
  const logs = hasOtlp(get("OTEL_LOGS_EXPORTER"))
    ? receiver(get, "LOGS", "/v1/logs", "")
    : undefined;
  const protocol = traces?.protocol ?? logs?.protocol;
  if (protocol === undefined) return undefined;
  return {
    protocol,
    tracesUrl: traces?.url ?? "",
    // A target has one protocol.
    logsUrl: logs?.protocol === protocol ? logs.url : "",
  };
}

/** Return whether the environment lets the service export the logs of runs over OTLP. */
export function wantsLogs(environ: Readonly<Record<string, string | undefined>>): boolean {
  const isOff = environ.OTEL_SDK_DISABLED?.trim().toLowerCase() === "true";
  return !isOff && environ.OTEL_LOGS_EXPORTER?.trim().toLowerCase() !== "none";
}

function hasSpans(get: Get): boolean {
  if (get("FLOWSPAN_OTLP_ENDPOINT")) return true;
  const exporters = get("OTEL_TRACES_EXPORTER");
  if (exporters) return hasOtlp(exporters);
  return Boolean(get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || get("OTEL_EXPORTER_OTLP_ENDPOINT"));
}

function hasOtlp(exporters: string): boolean {
  return exporters.split(",").some((name) => name.trim().toLowerCase() === "otlp");
}

function receiver(
  get: Get,
  signal: string,
  path: string,
  own: string,
): { protocol: string; url: string } | undefined {
  const value: Get = (name) =>
    get(`OTEL_EXPORTER_OTLP_${signal}_${name}`) || get(`OTEL_EXPORTER_OTLP_${name}`);
  const endpoint = own || value("ENDPOINT");
  const protocol = protocolOf(value("PROTOCOL"), endpoint, own !== "");
  if (protocol === undefined) return undefined;
  let url = endpoint || (DEFAULT_ENDPOINTS[protocol] as string);
  if (!url.includes("://")) {
    const isInsecure = own !== "" || value("INSECURE").toLowerCase() === "true";
    url = `${isInsecure ? "http" : "https"}://${url}`;
  }
  const isWhole = own === "" && get(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) !== "";
  const plain = plainUrl(url, protocol, isWhole ? "" : path);
  return plain === undefined ? undefined : { protocol, url: plain };
}

/** Return the configured protocol, else the usual one of the port; undefined for an unknown one. */
function protocolOf(configured: string, endpoint: string, isOwn: boolean): string | undefined {
  if (configured === GRPC || configured === HTTP) return configured;
  // Receivers of the other encoding take both at the same address.
  if (configured !== "") return configured === "http/json" ? HTTP : undefined;
  return isOwn || /:4317\/?$/.test(endpoint) ? GRPC : HTTP;
}

/** Return a URL without user, password, query and fragment; undefined if it is invalid. */
function plainUrl(text: string, protocol: string, path: string): string | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
  // The class leaves out the port that is usual for the scheme, which is not that of OTLP.
  const host = /^[a-z]+:\/\/(?:[^/?#]*@)?([^/?#]*)/i.exec(text)?.[1] ?? url.host;
  let plain = `${url.protocol}//${host}`;
  if (protocol === HTTP)
    plain += path === "" ? url.pathname : url.pathname.replace(/\/$/, "") + path;
  // The service refuses a Hello with another address, and with it the session.
  const isUsable = url.port !== "0" && VISIBLE.test(plain) && plain.length <= MAX_URL_LENGTH;
  return isUsable ? plain : undefined;
}
