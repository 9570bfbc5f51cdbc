//! The streamed answer of a language model: each token tells its number and the time at which it was sent.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

use crate::report::histogram::Histogram;

/// The path of chats, as OpenAI has it.
pub const PATH: &str = "/v1/chat/completions";
/// The event before and behind the text of a token, with the fields that OpenAI sends.
const HEAD: &str = "data: {\"id\":\"chatcmpl-scripted\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
                    \"model\":\"scripted\",\"system_fingerprint\":\"fp_scripted\",\"choices\":[{\"index\":0,\
                    \"delta\":{\"content\":\"";
const TAIL: &str = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
/// The last event.
pub const DONE: &str = "data: [DONE]\n\n";
/// The text of a token: its number, and microseconds since 1970.
const NUMBER: Range<usize> = HEAD.len()..HEAD.len() + 10;
const MICROS: Range<usize> = NUMBER.end + 1..NUMBER.end + 17;
const LEN: usize = MICROS.end + TAIL.len();

/// Returns the event of a token that is sent now.
pub fn token(number: u64) -> String {
    format!("{HEAD}{number:010} {:016}{TAIL}", now())
}

/// Checks the bytes of an answer, and measures the age of its tokens.
#[derive(Debug)]
pub struct ChatTranscript {
    tokens: u64,
    next: u64,
    is_done: bool,
    partial: Vec<u8>,
    /// The times at which the tokens were sent.
    pub sent: Vec<u64>,
}

impl ChatTranscript {
    /// The transcript of an answer with so many tokens.
    pub const fn new(tokens: u64) -> Self {
        Self { tokens, next: 0, is_done: false, partial: Vec::new(), sent: Vec::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are not what the upstream has sent.
    pub fn read(&mut self, piece: &[u8], ages: &mut Histogram) -> Result<()> {
        self.partial.extend_from_slice(piece);
        let (now, mut taken) = (now(), 0);
        while self.next < self.tokens && self.partial.len() - taken >= LEN {
            let sent = micros(&self.partial[taken..taken + LEN], self.next)?;
            ages.record(Duration::from_micros(now.saturating_sub(sent)));
            self.sent.push(sent);
            self.next += 1;
            taken += LEN;
        }
        self.partial.drain(..taken);
        if self.next == self.tokens && self.partial.len() >= DONE.len() {
            ensure!(self.partial == DONE.as_bytes() && !self.is_done, "more than the answer");
            self.partial.clear();
            self.is_done = true;
        }
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// When something is missing.
    pub fn finish(&self) -> Result<()> {
        let Self { next, tokens, is_done, .. } = self;
        ensure!(
            *is_done && self.partial.is_empty(),
            "the answer ended after {next} of {tokens} tokens"
        );
        Ok(())
    }
}

/// Returns the time at which a token was sent.
fn micros(event: &[u8], number: u64) -> Result<u64> {
    let text = std::str::from_utf8(event).context("a token is no text")?;
    let is_same = text.starts_with(HEAD) && text.ends_with(TAIL);
    if !is_same || text.get(NUMBER).and_then(|text| text.parse().ok()) != Some(number) {
        bail!("token {number} came as {text:?}");
    }
    text[MICROS].parse().with_context(|| format!("token {number} has no time: {text:?}"))
}

/// Microseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], size: usize) -> Result<usize> {
        let (mut transcript, mut ages) = (ChatTranscript::new(3), Histogram::default());
        for piece in bytes.chunks(size) {
            transcript.read(piece, &mut ages)?;
        }
        transcript.finish().map(|()| transcript.sent.len())
    }

    fn answer() -> String {
        (0..3).map(token).chain([DONE.to_owned()]).collect()
    }

    #[test]
    fn an_answer_is_complete_wherever_it_is_cut() {
        let answer = answer();
        for size in [1, 7, LEN, answer.len()] {
            assert_eq!(read(answer.as_bytes(), size).unwrap(), 3, "{size}");
        }
    }

    #[test]
    fn an_answer_that_misses_repeats_or_changes_anything_is_none() {
        let answer = answer();
        let (first, rest) = answer.split_at(LEN);
        for (name, wrong) in [
            ("a token is missing", rest.to_owned()),
            ("a token came twice", format!("{first}{answer}")),
            ("the end is missing", answer.strip_suffix(DONE).unwrap().to_owned()),
            ("the end came twice", format!("{answer}{DONE}")),
            ("a byte is another one", answer.replacen("scripted", "scrypted", 1)),
            ("a byte is missing", answer[..answer.len() - 1].to_owned()),
        ] {
            assert!(read(wrong.as_bytes(), 50).is_err(), "{name}");
        }
    }
}
