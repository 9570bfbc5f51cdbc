use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::conformance::{Lab, RETENTION};
use event_log::{Log, Topic};
use redis_log::{Config, RedisLog};
use tokio::time::sleep;

use crate::server::Server;
use crate::support::{audited, open};

struct RedisLab {
    server: Server,
    log: Arc<RedisLog>,
}

fn config(server: &Server) -> Config {
    Config { retention: RETENTION, ..audited(server) }
}

async fn lab() -> RedisLab {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    RedisLab { server, log }
}

#[async_trait]
impl Lab for RedisLab {
    fn log(&self) -> Arc<dyn Log> {
        Arc::<RedisLog>::clone(&self.log)
    }

    async fn second(&self) -> Arc<dyn Log> {
        open(config(&self.server)).await
    }

    async fn flush(&self) {
        let now = self.server.now().await;
        self.server.words::<()>("FLUSHALL").await;
        while self.server.now().await <= now {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn trim(&self, topic: &Topic, keep: usize) {
        let stream = stream(&self.server, topic).await;
        self.server.words::<()>(&format!("XTRIM {stream} MAXLEN {keep}")).await;
    }
}

/// The name of a topic's stream.
async fn stream(server: &Server, topic: &Topic) -> String {
    let keys: Vec<String> = server.words(&format!("KEYS e:*:{topic}")).await;
    keys.into_iter().next().expect("the topic has a stream")
}

event_log::conformance!(lab);
