//! A publisher that retries each event with the same key until the event is acknowledged.

use std::sync::Arc;

use event_log::{Append, EventType, Extra, Key, Mark, NewEvent, Topic};
use tokio::time::{Instant, sleep};

use super::dice::{chance, millis, pick};
use super::world::World;

#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    pub(crate) topics: Vec<Topic>,
}

impl Publisher {
    /// Publishes at random times until a given time.
    pub(crate) async fn run(self, until: Instant) {
        let mut number = 0;
        while Instant::now() < until {
            sleep(if chance(40) { millis(0..20) } else { millis(0..4000) }).await;
            number += 1;
            let kind = *pick(&[None, Some("a"), Some("b")]);
            self.publish(pick(&self.topics), number, kind, Mark::Open).await;
        }
    }

    /// Publishes one event whose data names its topic, publisher and number.
    pub(crate) async fn publish(&self, topic: &Topic, number: u32, kind: Option<&str>, mark: Mark) {
        let Self { name, world, .. } = self;
        let data: Box<str> = match mark {
            mark if !mark.is_event() => "".into(),
            _ => format!("{topic} {name}/{number}").into(),
        };
        let kind = kind.map(|kind| EventType::new(kind).expect("a type"));
        let extra = self.extra(topic);
        let event = NewEvent { kind, data: data.clone(), mark, extra, ..NewEvent::default() };
        let key = Key::new(&format!("{name}/{number}")).expect("a key");
        loop {
            let (topic, event, key) = (topic.clone(), event.clone(), Some(key.clone()));
            match world.publish(Append { key, ..Append::new(topic.clone(), event) }).await {
                Ok(receipt) => {
                    world.note(format_args!("{name} published {data:?} at {}", receipt.position));
                    let stored = world.store.of(&world.spaces.log_of(&topic), |history| {
                        let place = history.find(receipt.position)?;
                        Some(history.entry(place.era, place.n)?.event.data() == &*data)
                    });
                    if stored != Some(true) {
                        world.violated(format!("{data:?} is acknowledged and not stored"));
                    }
                    return;
                }
                Err(error) => {
                    world.note(format_args!("{name} is refused {data:?}: {error}"));
                    sleep(millis(100..1000)).await;
                }
            }
        }
    }

    /// Other topics of some events in a space.
    fn extra(&self, topic: &Topic) -> Option<Box<Extra>> {
        if !self.world.spaces.has(topic) || chance(80) {
            return None;
        }
        let is_other = |other: &&Topic| self.world.spaces.has(other) && *other != topic;
        let others = self.topics.iter().filter(is_other).filter(|_| chance(50));
        Some(Box::new(Extra { also: others.cloned().collect(), attributes: None }))
    }
}
