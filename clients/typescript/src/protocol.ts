/**
 * The messages and services of the protocol, for programs that call the service themselves.
 *
 * @module
 */
export * from "./gen/flowspan/v1/artifact_pb.js";
export * from "./gen/flowspan/v1/artifact_service_pb.js";
export * from "./gen/flowspan/v1/code_location_pb.js";
export * from "./gen/flowspan/v1/error_pb.js";
export * from "./gen/flowspan/v1/failure_pb.js";
export * from "./gen/flowspan/v1/flow_pb.js";
export * from "./gen/flowspan/v1/flow_run_pb.js";
export * from "./gen/flowspan/v1/flow_run_service_pb.js";
export * from "./gen/flowspan/v1/flow_service_pb.js";
export * from "./gen/flowspan/v1/label_pb.js";
export * from "./gen/flowspan/v1/label_service_pb.js";
export * from "./gen/flowspan/v1/log_pb.js";
export * from "./gen/flowspan/v1/log_service_pb.js";
export * from "./gen/flowspan/v1/payload_pb.js";
export * from "./gen/flowspan/v1/report_pb.js";
export * from "./gen/flowspan/v1/report_service_pb.js";
export * from "./gen/flowspan/v1/run_filter_pb.js";
export * from "./gen/flowspan/v1/run_input_pb.js";
export * from "./gen/flowspan/v1/run_service_pb.js";
export * from "./gen/flowspan/v1/single_run_service_pb.js";
export * from "./gen/flowspan/v1/state_pb.js";
export * from "./gen/flowspan/v1/system_service_pb.js";
export * from "./gen/flowspan/v1/task_run_pb.js";
export * from "./gen/flowspan/v1/task_run_service_pb.js";
export * from "./gen/flowspan/v1/trace_pb.js";
export * from "./gen/flowspan/v1/transition_pb.js";
export * from "./gen/flowspan/v1/variable_pb.js";
export * from "./gen/flowspan/v1/variable_service_pb.js";
export * from "./gen/flowspan/v1/verdict_pb.js";
export * from "./gen/flowspan/v1/watch_service_pb.js";
