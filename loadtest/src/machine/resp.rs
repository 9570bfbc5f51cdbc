//! The part of Redis's protocol that a driver needs: the length of a frame, and its texts.

/// The length of the first frame in `bytes`; `None` while it is incomplete or not understood.
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let parts = match bytes[0] {
        b'$' | b'=' | b'!' => {
            let Ok(length) = usize::try_from(count()?) else { return Some(line) };
            let end = line + length + 2;
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | b'>' => count()?,
        b'%' | b'|' => count()? * 2,
        _ => return Some(line),
    };
    let mut end = line;
    for _ in 0..parts {
        end += frame_length(&bytes[end..])?;
    }
    Some(end)
}

/// The texts and numbers of a complete frame, in order, however they are nested. A nil is an
/// empty text.
pub(super) fn texts(frame: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = frame;
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let head = String::from_utf8_lossy(&rest[1..line]).into_owned();
        let kind = rest[0];
        rest = &rest[line + 2..];
        match kind {
            b'*' | b'~' | b'>' | b'%' | b'|' => {}
            b'$' | b'=' => {
                let length = head.parse::<usize>().unwrap_or(0).min(rest.len());
                texts.push(String::from_utf8_lossy(&rest[..length]).into_owned());
                rest = if head == "-1" { rest } else { rest.get(length + 2..).unwrap_or_default() };
            }
            _ => texts.push(head),
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::{frame_length, texts};

    const PUSH: &[u8] = b">3\r\n$8\r\nsmessage\r\n$3\r\ne:t\r\n$4\r\na\r\nb\r\n";

    #[test]
    fn frame_ends_where_its_last_part_does() {
        assert_eq!(frame_length(PUSH), Some(PUSH.len()));
        let two = [PUSH, b"+PONG\r\n"].concat();
        assert_eq!(frame_length(&two), Some(PUSH.len()));
        for end in 0..PUSH.len() {
            assert_eq!(frame_length(&PUSH[..end]), None, "{end} bytes");
        }
        assert_eq!(frame_length(b"$-1\r\n"), Some(5));
        assert_eq!(frame_length(b"%1\r\n+a\r\n:1\r\n+x"), Some(12));
    }

    #[test]
    fn texts_come_in_order() {
        assert_eq!(texts(PUSH), ["smessage", "e:t", "a\r\nb"]);
        assert_eq!(texts(b"*3\r\n$-1\r\n:7\r\n*1\r\n+x\r\n"), ["", "7", "x"]);
    }
}
