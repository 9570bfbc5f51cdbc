//! Secrets, which are in files: a password in a configuration is soon in a repository.

use std::path::Path;

/// The largest file of a secret, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads a secret, without the line break at its end. It is read anew at each connection, so it can be rotated.
///
/// # Errors
/// The file cannot be read, is too large, or is empty. The secret itself is in no error.
pub(crate) fn read(setting: &str, path: &Path) -> Result<String, String> {
    let named = |reason: &dyn std::fmt::Display| format!("{setting} {}: {reason}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| named(&error))?.len();
    if bytes > BYTES_MAX {
        return Err(named(&format_args!("it has {bytes} bytes; the limit is {BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(named(&"it is empty"));
    }
    Ok(secret.to_owned())
}
