use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).expect("a URL");
    let client = ClientBuilder::for_url(&url)?
        .reconnect(ReconnectOptions::reconnect(true).retry_initial(true).build())
        .build_with_transport(HyperTransport::new()?);
    let mut stream = client.stream();
    while let Some(item) = stream.next().await {
        match item {
            Ok(SSE::Event(event)) if event.event_type == "tailwater.end" => break,
            Ok(SSE::Event(event)) if event.event_type.starts_with("tailwater.") => {}
            Ok(SSE::Event(event)) => println!("{}", event.data),
            Ok(_) => {}
            // The stream goes on after an error: the next item is of a new connection.
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
