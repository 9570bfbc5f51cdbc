//! Secrets in files: a password, a token.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// A file that holds one secret and, maybe, a newline after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    flag: &'static str,
    path: PathBuf,
}

/// A file of several lines whose contents stay out of errors and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    flag: &'static str,
    path: PathBuf,
    bytes_max: u64,
}

/// Largest file, in bytes: a token has at most 16 KiB, and nobody waits for a whole disk.
const FILE_BYTES_MAX: u64 = 17 * 1024;
/// The permissions of everybody but the owner and the group.
const OTHERS: u32 = 0o007;

impl SecretFile {
    pub(crate) fn new(flag: &'static str, path: &Path) -> Self {
        Self { flag, path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secret, without the newline at its end. It has a character at least.
    ///
    /// # Errors
    /// The file cannot be read, is empty or too long, or holds something else than one line of text. No
    /// error quotes it.
    pub(crate) fn read(&self) -> Result<String> {
        let named = || self.to_string();
        let mut text = String::new();
        let file = File::open(&self.path).with_context(named)?;
        let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(named)?;
        if length as u64 > FILE_BYTES_MAX {
            bail!("{self}: it has more than {FILE_BYTES_MAX} bytes");
        }
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        if secret.is_empty() {
            bail!("{self}: it is empty");
        }
        if secret.contains(['\n', '\r', '\0']) {
            bail!("{self}: it has more than one line");
        }
        Ok(secret.to_owned())
    }

    /// Returns a warning if every user of the machine can read the file.
    ///
    /// # Errors
    /// The file is gone.
    pub(crate) fn warning(&self) -> io::Result<Option<String>> {
        warning(&self.path, self)
    }
}

fn warning(path: &Path, named: impl fmt::Display) -> io::Result<Option<String>> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    let warning = || format!("{named}: every user of this machine may read it (chmod 600)");
    Ok((mode & OTHERS != 0).then(warning))
}

impl TextFile {
    pub(crate) fn new(flag: &'static str, path: &Path, bytes_max: u64) -> Self {
        Self { flag, path: path.to_owned(), bytes_max }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// The file cannot be read, is too long, or is no text. No error quotes it.
    pub(crate) fn read(&self) -> Result<String> {
        let named = || self.to_string();
        let mut text = String::new();
        let file = File::open(&self.path).with_context(named)?;
        let length = file.take(self.bytes_max + 1).read_to_string(&mut text).with_context(named)?;
        if length as u64 > self.bytes_max {
            bail!("{self}: it has more than {} bytes", self.bytes_max);
        }
        Ok(text)
    }

    /// Returns a warning if every user of the machine can read the file.
    ///
    /// # Errors
    /// The file is gone.
    pub(crate) fn warning(&self) -> io::Result<Option<String>> {
        warning(&self.path, self)
    }
}

impl fmt::Display for TextFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.path.display())
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, SecretFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, bytes).unwrap();
        (directory, SecretFile::new("--some-file", &path))
    }

    #[test]
    fn a_secret_is_the_line_of_its_file() {
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(file(text.as_bytes()).1.read().unwrap(), "s3cret");
        }
        assert_eq!(file(b" a b \n").1.read().unwrap(), " a b ");
    }

    #[test]
    fn a_file_without_one_secret_is_refused_and_not_quoted() {
        let long = "s3cret".repeat(4000);
        for bytes in [&b""[..], b"\n", b"s3cret\nmore", b"s3cret\xff", long.as_bytes()] {
            let error = format!("{:#}", file(bytes).1.read().unwrap_err());
            assert!(error.contains("--some-file") && !error.contains("s3cret"), "{error}");
        }
        let gone = SecretFile::new("--some-file", Path::new("/nowhere/secret"));
        assert!(format!("{:#}", gone.read().unwrap_err()).contains("/nowhere/secret"));
    }

    #[test]
    fn a_file_that_everybody_reads_is_warned_about() {
        let (_directory, secret) = file(b"s3cret");
        fs::set_permissions(&secret.path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(secret.warning().unwrap(), None);
        fs::set_permissions(&secret.path, Permissions::from_mode(0o644)).unwrap();
        assert!(secret.warning().unwrap().unwrap().contains("chmod 600"));
    }
}
