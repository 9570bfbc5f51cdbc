//! The keys of session tickets, from a file that all nodes share.
//!
//! Each line is one key, the base64 of 32 random bytes, newest first. Empty lines and lines that begin
//! with `#` are skipped. Absent: keys in the environment or in an argument, where other processes can
//! read them.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ticketer::{KEY_BYTES, TicketKey};

/// Maximum number of keys in one file. A rotation needs three (next, current, previous), and an attacker
/// who reads the file can use every key in it.
const KEYS_MAX: usize = 8;
/// Largest file, in bytes. Eight keys and their comments take less than 1 KiB; the limit keeps a wrong
/// path, to a device or a log, from filling the memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file of `--tls-ticket-keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TicketKeyFile(PathBuf);

/// The bytes of the file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TicketKeyText(pub(super) Vec<u8>);

/// Omits the keys.
impl fmt::Debug for TicketKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeyText").finish_non_exhaustive()
    }
}

/// The reason why the file is unusable. No message shows a part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketKeysError {
    #[error("--tls-ticket-keys {}: {error}", .file.display())]
    Unreadable { file: PathBuf, error: String },
    #[error("--tls-ticket-keys {} is longer than {FILE_BYTES_MAX} bytes", .file.display())]
    TooLong { file: PathBuf },
    #[error("--tls-ticket-keys {}, line {line}: not base64; `openssl rand -base64 {KEY_BYTES}` writes a key", .file.display())]
    NotBase64 { file: PathBuf, line: usize },
    #[error("--tls-ticket-keys {}, line {line}: a key of {bytes} bytes; it must be {KEY_BYTES}", .file.display())]
    Length { file: PathBuf, line: usize, bytes: usize },
    #[error("--tls-ticket-keys {}, line {line}: more than {KEYS_MAX} keys", .file.display())]
    TooMany { file: PathBuf, line: usize },
    #[error("--tls-ticket-keys {} holds no key; it must hold 1 to {KEYS_MAX}", .file.display())]
    Empty { file: PathBuf },
}

impl TicketKeyFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads the file as it is now.
    pub(super) fn read(&self) -> Result<TicketKeyText, TicketKeysError> {
        let text = read_at_most(&self.0, FILE_BYTES_MAX + 1).map_err(|error| {
            TicketKeysError::Unreadable { file: self.0.clone(), error: error.to_string() }
        })?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(TicketKeysError::TooLong { file: self.0.clone() });
        }
        Ok(TicketKeyText(text))
    }

    /// Parses the keys, of which there must be at least one. The first key encrypts.
    pub(super) fn keys(&self, text: &TicketKeyText) -> Result<Vec<TicketKey>, TicketKeysError> {
        let file = || self.0.clone();
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.0.split(|byte| *byte == b'\n')) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let Ok(secret) = STANDARD.decode(text) else {
                return Err(TicketKeysError::NotBase64 { file: file(), line });
            };
            let Ok(secret) = <[u8; KEY_BYTES]>::try_from(&secret[..]) else {
                return Err(TicketKeysError::Length { file: file(), line, bytes: secret.len() });
            };
            if keys.len() == KEYS_MAX {
                return Err(TicketKeysError::TooMany { file: file(), line });
            }
            keys.push(TicketKey::new(&secret));
        }
        if keys.is_empty() {
            return Err(TicketKeysError::Empty { file: file() });
        }
        Ok(keys)
    }
}

fn read_at_most(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/etc/keys";

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    fn parse(text: &str) -> Result<usize, String> {
        let keys = TicketKeyFile::new(FILE.into()).keys(&TicketKeyText(text.into()));
        keys.map(|keys| keys.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn comments_empty_lines_and_carriage_returns_are_skipped() {
        assert_eq!(parse(&line(1)), Ok(1));
        assert_eq!(parse(&format!("# new\r\n{}\r\n\r\n  {}  \n# end", line(1), line(2))), Ok(2));
    }

    #[test]
    fn eight_keys_are_read_and_a_ninth_is_refused_with_its_line() {
        let eight: String = (1..=8).map(|byte| line(byte) + "\n").collect();
        assert_eq!(parse(&eight), Ok(8));
        let error = parse(&format!("# old ones too\n{eight}{}\n", line(9))).unwrap_err();
        assert_eq!(error, "--tls-ticket-keys /etc/keys, line 10: more than 8 keys");
    }

    #[test]
    fn an_error_names_file_line_and_limit_and_shows_no_key() {
        let short = STANDARD.encode([7; 16]);
        for (text, expected) in [
            ("\n \n# only comments\n", " holds no key; it must hold 1 to 8"),
            (&format!("{}\n{short}", line(1)), ", line 2: a key of 16 bytes; it must be 32"),
            (
                &format!("\n{}!", line(7)),
                ", line 2: not base64; `openssl rand -base64 32` writes a key",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, format!("--tls-ticket-keys {FILE}{expected}"));
        }
    }

    #[test]
    fn a_file_that_does_not_exist_or_never_ends_is_named() {
        let read = |path: &str| TicketKeyFile::new(path.into()).read().unwrap_err().to_string();
        assert!(read("/nowhere/keys").contains("/nowhere/keys: No such file"));
        assert_eq!(read("/dev/zero"), "--tls-ticket-keys /dev/zero is longer than 65536 bytes");
    }

    #[test]
    fn nothing_that_holds_keys_shows_them() {
        let text = TicketKeyText(line(0x41).into());
        let keys = TicketKeyFile::new(FILE.into()).keys(&text).unwrap();
        let shown = format!("{text:?} {keys:?}");
        assert_eq!(shown, "TicketKeyText { .. } [TicketKey { .. }]");
    }
}
