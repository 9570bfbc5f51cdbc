//! The thread that writes log lines.
//!
//! The reader of standard error may stop reading for a while, and a pipe holds only 64 KiB. A thread
//! that serves requests must not block on it, so lines that do not fit in the queue are dropped and
//! counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Capacity of the queue, in lines: one second of a reconnect storm, which is a few megabytes.
const WAITING_MAX: usize = 16 * 1024;
/// Bytes in one write.
const BATCH_BYTES: usize = 64 * 1024;

/// The queue of lines to the writing thread. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered when all lines before it have been written.
    Flush(SyncSender<()>),
}

/// Puts one line into the queue.
#[derive(Debug)]
pub(super) struct LineWriter<'a>(&'a Lines);

impl Lines {
    /// Starts the thread that writes to `to`.
    pub(super) fn to(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("log-lines".to_owned()).spawn(move || write(&lines, to))?;
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Returns the number of lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until all lines so far are written, for at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        const TRIES: u32 = 100;
        let (done, written) = sync_channel(1);
        for _ in 0..TRIES {
            match self.queue.try_send(Message::Flush(done.clone())) {
                Ok(()) => {
                    // A timeout has nowhere to be reported.
                    let _written = written.recv_timeout(patience);
                    return;
                }
                Err(TrySendError::Full(_)) => thread::sleep(patience / TRIES),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

impl Write for LineWriter<'_> {
    /// Takes a whole line: the formatter writes each line in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.dropped.fetch_add(1, Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self)
    }
}

/// Writes the queued lines in batches, until every sender is gone.
fn write(lines: &Receiver<Message>, mut to: impl Write) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => flushed = Some(done),
            }
            let more = batch.len() < BATCH_BYTES && flushed.is_none();
            next = if more { lines.try_recv().ok() } else { None };
        }
        // An error of standard error has nowhere to be reported.
        let _written = to.write_all(&batch).and_then(|()| to.flush());
        batch.clear();
        if let Some(done) = flushed {
            let _received = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    /// Blocks each write until it is released.
    struct Stalled {
        released: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.released.recv().map_err(io::Error::other)?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_makes_lines_drop_and_blocks_no_logger() {
        let (release, released) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Stalled { released, written: Arc::clone(&written) }).unwrap();
        // More than the queue and one batch hold.
        let count = 3 * WAITING_MAX + BATCH_BYTES;
        for _ in 0..count {
            lines.make_writer().write_all(b"x\n").unwrap();
        }
        let dropped = lines.dropped();
        assert!(dropped >= WAITING_MAX as u64, "{dropped}");
        for _ in 0..count {
            release.send(()).unwrap();
        }
        lines.flush(Duration::from_secs(60));
        assert_eq!(written.lock().unwrap().len() as u64, 2 * (count as u64 - dropped));
    }

    #[test]
    fn a_flush_waits_for_the_lines_before_it() {
        let (release, released) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Stalled { released, written: Arc::clone(&written) }).unwrap();
        lines.make_writer().write_all(b"last words\n").unwrap();
        for _ in 0..9 {
            release.send(()).unwrap();
        }
        lines.flush(Duration::from_secs(60));
        assert_eq!(*written.lock().unwrap(), b"last words\n");
    }
}
