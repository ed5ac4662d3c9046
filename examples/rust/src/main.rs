//! Reports its work as a flow run, and lists the latest runs, with a client generated from the protos.
//!
//! FLOWSPAN_ADDRESS is the host and port of the service, FLOWSPAN_TOKEN an access token, and FLOWSPAN_RUN
//! the run that started this program.

use flowspan::finish_run_request::Outcome;
use flowspan::flow_run_service_client::FlowRunServiceClient;
use flowspan::single_run_service_client::SingleRunServiceClient;
use flowspan::*;
use std::env;
use tonic::{transport::Channel, Request, Status};

mod flowspan {
    tonic::include_proto!("flowspan.v1");
}

const BELOW: u32 = 100_000;

fn authorize(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Ok(token) = env::var("FLOWSPAN_TOKEN") {
        let value = format!("Bearer {token}").parse();
        let value = value.map_err(|_| Status::unauthenticated("FLOWSPAN_TOKEN is malformed"))?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

fn json(text: String) -> Payload {
    Payload { encoding: "json".into(), data: text.into(), ..Default::default() }
}

fn is_prime(number: &u32) -> bool {
    *number > 1 && (2..).take_while(|d| d * d <= *number).all(|d| !number.is_multiple_of(d))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::var("FLOWSPAN_ADDRESS").unwrap_or("127.0.0.1:4600".into());
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;

    let mut service = SingleRunServiceClient::with_interceptor(channel.clone(), authorize);
    let start = StartRunRequest {
        flow_name: "count-primes".into(),
        parameters: Some(json(format!(r#"{{"below": {BELOW}}}"#))),
        run_context: env::var("FLOWSPAN_RUN").unwrap_or_default(),
        ..Default::default()
    };
    let token = service.start_run(start).await?.into_inner().token;

    let count = (0..BELOW).filter(is_prime).count();
    let log = RunLog { message: format!("There are {count} primes."), ..Default::default() };
    let touch = TouchRunRequest { token: token.clone(), logs: vec![log], number: 1 };
    let stop = service.touch_run(touch).await?.into_inner().cancel_requested;

    let outcome = match stop {
        true => Outcome::Cancelled(RunCancelled {}),
        false => Outcome::Result(json(count.to_string())),
    };
    let finish = FinishRunRequest { token, outcome: Some(outcome), ..Default::default() };
    service.finish_run(finish).await?;

    let mut service = FlowRunServiceClient::with_interceptor(channel, authorize);
    let list = ListFlowRunsRequest { page_size: 5, ..Default::default() };
    for run in service.list_flow_runs(list).await?.into_inner().flow_runs {
        println!("{} {} {}", run.id, run.flow_name, run.state.unwrap_or_default().name);
    }
    Ok(())
}
