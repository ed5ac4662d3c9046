/** The limits of the protocol. Sizes in bytes are sizes in UTF-8. */

const KIB = 1 << 10;
const MIB = 1 << 20;

export const MAX_NAME_BYTES = 256;
export const MAX_TAGS = 64;
export const MAX_STATE_NAME_BYTES = 128;
export const MAX_MESSAGE_BYTES = 32 * KIB;
export const MAX_FAILURE_TYPE_BYTES = KIB;
export const MAX_TRACE_BYTES = 64 * KIB;
export const MAX_FAILURE_CHAIN = 16;
export const MAX_FAILURES = 64;
export const MAX_FAILURE_TOTAL_BYTES = 1500 * KIB;
export const MAX_RUN_DESCRIPTION_BYTES = 4 * KIB;
export const MAX_INPUTS = 1000;
export const MAX_LABELS = 64;
export const MAX_LABEL_VALUE_BYTES = 256;
export const MAX_INT32 = 0x7fff_ffff;
/** The end of the year 9999, in microseconds since 1970 UTC. */
export const MAX_TIME_US = 253_402_300_800_000_000;
export const MAX_FILE_PATH_BYTES = KIB;
export const MAX_PREVIEW_BYTES = 64 * KIB;
export const MAX_PAYLOAD_BYTES = MIB;
export const MAX_PARAMETERS_BYTES = 512 * KIB;
export const MAX_LOG_BYTES = 256 * KIB;
export const MAX_TRACESTATE_BYTES = 512;
export const MAX_BATCH_EVENTS = 2000;
/** The largest frame until the service says another limit. */
export const DEFAULT_FRAME_BYTES = MIB;
