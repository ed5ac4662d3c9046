//! Generates the client from the protos of the repository. Protox reads them, so protoc is not needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = "../../proto";
    let services = ["single_run_service", "flow_run_service"];
    let files = services.map(|name| format!("flowspan/v1/{name}.proto"));
    let descriptors = protox::compile(files, [protos])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={protos}");
    Ok(())
}
