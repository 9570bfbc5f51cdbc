use futures_util::StreamExt as _;
use reqwest_eventsource::{Event, EventSource};

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let mut source = EventSource::get(url);
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Open) => {}
            Ok(Event::Message(message)) => println!("{}", message.data),
            Err(error) => eprintln!("{error}"),
        }
    }
}
