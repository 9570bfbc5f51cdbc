use eventsource_client::{Client as _, ClientBuilder, SSE};
use futures_util::TryStreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).expect("a URL");
    let transport = launchdarkly_sdk_transport::HyperTransport::new()?;
    let client = ClientBuilder::for_url(&url)?.build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(item) = stream.try_next().await? {
        if let SSE::Event(event) = item {
            println!("{}", event.data);
        }
    }
    Ok(())
}
