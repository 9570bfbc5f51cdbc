//! A reading that a task fills: requests and bodies go on while the copier stores, and `next` is cancel-safe.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::HttpSession;
use crate::place::Place;
use crate::source::{BATCH_MAX, Failure, Item, Reading};

/// A reading whose items come from a task, which ends with the reading.
#[derive(Debug)]
pub(crate) struct Feed {
    batches: mpsc::Receiver<Result<Vec<Item>, Failure>>,
    _task: AbortOnDropHandle<()>,
}

/// The task's end of a feed.
#[derive(Debug)]
pub(crate) struct Out(mpsc::Sender<Result<Vec<Item>, Failure>>);

/// Batches that wait for the copier. The task holds one more, of the items in one piece of a body.
const BATCHES_MAX: usize = 1;
/// The longest wait for the head of an answer in an opening, which must end while its relay still leads. Some servers send
/// it with their first event; the reading goes on to wait for it.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(3);

impl Feed {
    /// Starts a task, and waits until it has connected. Its result is the reason for which it does not go on.
    ///
    /// # Errors
    /// It did not connect.
    pub(crate) async fn start<F>(work: impl FnOnce(Out) -> F) -> Result<Box<dyn Reading>, Failure>
    where
        F: Future<Output = Failure> + Send + 'static,
    {
        let (sender, mut batches) = mpsc::channel(BATCHES_MAX);
        let work = work(Out(sender.clone()));
        let task = tokio::spawn(async move {
            let failure = work.await;
            // The copier may have dropped the reading.
            let _is_read = sender.send(Err(failure)).await;
        });
        let task = AbortOnDropHandle::new(task);
        if let Ok(Some(first)) = timeout(HEAD_WAIT_MAX, batches.recv()).await {
            first?;
        }
        Ok(Box::new(Self { batches, _task: task }))
    }
}

impl Out {
    /// Says that the server has answered. Comes before all items.
    pub(crate) async fn connected(&self) {
        let _is_read = self.0.send(Ok(Vec::new())).await;
    }

    /// Hands items over, and waits until there is room for them.
    pub(crate) async fn put(&self, mut items: Vec<Item>) {
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(BATCH_MAX));
            let _is_read = self.0.send(Ok(items)).await;
            items = rest;
        }
    }
}

#[async_trait]
impl Reading for Feed {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        loop {
            match self.batches.recv().await {
                Some(Ok(items)) if items.is_empty() => {}
                Some(result) => return result,
                None => return Err(Failure::Away("the reading has ended".to_owned())),
            }
        }
    }

    async fn stored(&mut self, _up_to: &Place) -> Result<(), Failure> {
        Ok(())
    }
}

/// Turns the pieces of a body into items.
pub(crate) trait Items: Send {
    /// The items that a piece completes.
    ///
    /// # Errors
    /// The stream is not read on. The items so far count.
    fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) -> Result<(), Failure>;

    /// The items that the end of the body completes.
    fn end(&mut self, _items: &mut Vec<Item>) {}
}

/// Reads a body to its end, and returns the reason of the end.
pub(crate) async fn stream(
    session: &HttpSession,
    mut response: Response,
    mut decoder: impl Items,
    out: &Out,
) -> Failure {
    loop {
        let mut items = Vec::new();
        let ended = match response.chunk().await {
            Ok(Some(piece)) => decoder.feed(&piece, &mut items).err(),
            Ok(None) => {
                decoder.end(&mut items);
                Some(Failure::Away("the server has ended the stream".to_owned()))
            }
            Err(error) => Some(session.failure(error)),
        };
        out.put(items).await;
        if let Some(failure) = ended {
            return failure;
        }
    }
}
