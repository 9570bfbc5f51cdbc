//! URL patterns, as the WHATWG's standard defines them: the selectors of 1.0 beside exact ones.
//!
//! The library parses a pattern. Only its matchers are kept, and only those that need a regular expression have one: it takes
//! time linear in the topic's length, and its program has a bound.

use std::fmt;
use std::sync::OnceLock;

use regex::bytes::Regex;
use urlpattern::matcher::{InnerMatcher, Matcher};
use urlpattern::regexp::RegExp;
use urlpattern::{RegexSyntax, UrlPattern, UrlPatternInit, UrlPatternOptions};

use crate::hub::Hub;
use crate::template;
use crate::topic::Topic;

/// The matchers of a pattern: one for each part of a URL.
pub(crate) struct Pattern {
    protocol: Matcher<Program>,
    username: Matcher<Program>,
    password: Matcher<Program>,
    hostname: Matcher<Program>,
    port: Matcher<Program>,
    pathname: Matcher<Program>,
    search: Matcher<Program>,
    hash: Matcher<Program>,
}

/// A text that is no URL pattern, or one that costs too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

/// A regular expression of a bounded size, whose groups nobody asks for.
#[derive(Debug)]
struct Program(Regex);

/// A regular expression before it is compiled, unless the library has asked it. The library makes two for each part, and most
/// matchers need none.
#[derive(Debug)]
struct Source {
    text: Box<str>,
    /// `None` inside if it is malformed or too large.
    regex: OnceLock<Option<Regex>>,
}

impl Source {
    fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| template::regex(&self.text)).as_ref()
    }
}

impl RegExp for Source {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        Ok(Self { text: pattern.into(), regex: OnceLock::new() })
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.regex()?.is_match(text.as_bytes()).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        &self.text
    }
}

impl RegExp for Program {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        template::regex(pattern).map(Self).ok_or(())
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.0.is_match(text.as_bytes()).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        self.0.as_str()
    }
}

impl Pattern {
    /// Compiles a pattern; a relative one is resolved against the hub.
    ///
    /// # Errors
    /// The text is malformed, its program is too large, or it has a bracket outside a group.
    pub(crate) fn compile(text: &str, hub: &Hub) -> Result<Self, BadPattern> {
        check_brackets(text)?;
        let bad = |error: urlpattern::Error| BadPattern(error.to_string());
        let base = Some(hub.base().clone());
        let init = UrlPatternInit::parse_constructor_string::<Source>(text, base).map_err(bad)?;
        // A pattern with a protocol is absolute. The standard would resolve the path of `urn:a` against the base all the same,
        // and it would match nothing.
        let base_url = init.base_url.filter(|_| init.protocol.is_none());
        let init = UrlPatternInit { base_url, ..init };
        let options = UrlPatternOptions::default();
        let pattern = UrlPattern::<Source>::parse(init, options).map_err(bad)?;
        Ok(Self {
            protocol: compiled(pattern.protocol.matcher)?,
            username: compiled(pattern.username.matcher)?,
            password: compiled(pattern.password.matcher)?,
            hostname: compiled(pattern.hostname.matcher)?,
            port: compiled(pattern.port.matcher)?,
            pathname: compiled(pattern.pathname.matcher)?,
            search: compiled(pattern.search.matcher)?,
            hash: compiled(pattern.hash.matcher)?,
        })
    }

    /// The matchers, that of the path first, because paths differ most.
    fn matchers(&self) -> [&Matcher<Program>; 8] {
        [
            &self.pathname,
            &self.hostname,
            &self.protocol,
            &self.port,
            &self.search,
            &self.hash,
            &self.username,
            &self.password,
        ]
    }

    /// Returns true if a topic matches. A topic that is no URL matches no pattern.
    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        let Some(url) = topic.url() else { return false };
        let parts = [
            &url.pathname,
            &url.hostname,
            &url.protocol,
            &url.port,
            &url.search,
            &url.hash,
            &url.username,
            &url.password,
        ];
        let mut pairs = self.matchers().into_iter().zip(parts);
        pairs.all(|(matcher, part)| matcher.matches(part).is_some())
    }
}

/// A matcher whose regular expression is compiled, if it has one.
fn compiled(matcher: Matcher<Source>) -> Result<Matcher<Program>, BadPattern> {
    let bad = || {
        BadPattern(format!(
            "a regular expression in it is malformed, or needs more than {} KiB",
            template::PROGRAM_BYTES_MAX / 1024
        ))
    };
    let Matcher { prefix, suffix, inner, ignore_case } = matcher;
    let inner = match inner {
        InnerMatcher::Literal { literal } => InnerMatcher::Literal { literal },
        InnerMatcher::SingleCapture { filter, allow_empty } => {
            InnerMatcher::SingleCapture { filter, allow_empty }
        }
        InnerMatcher::RegExp { regexp } => {
            let regex = regexp.ok().and_then(|source| source.regex().cloned());
            InnerMatcher::RegExp { regexp: Ok(Program(regex.ok_or_else(bad)?)) }
        }
    };
    Ok(Matcher { prefix, suffix, inner, ignore_case })
}

/// Refuses a closing bracket outside a group: in a host the library counts brackets and does not expect one too many. A group is
/// read as the library reads it, and one that the library would refuse is refused before.
fn check_brackets(text: &str) -> Result<(), BadPattern> {
    let bad = |reason: &str| Err(BadPattern(reason.to_owned()));
    let group = || {
        bad(
            "a group in it is malformed: it is in parentheses, of ASCII, and others in it begin with ?",
        )
    };
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match (depth, char) {
            (0, ']') | (0, '\\') if char == ']' || next == Some(']') => {
                return bad("it has \"]\" outside a group; a path has %5D, and hosts are not IPv6");
            }
            (0, '(') if matches!(next, None | Some('?' | ')')) => return group(),
            (0, '(') => depth = 1,
            (0, '\\') => drop(chars.next()),
            (0, _) => {}
            (_, '(') if next != Some('?') => return group(),
            (_, '(') => depth += 1,
            (_, ')') => depth -= 1,
            (_, '\\') if next.is_none_or(|next| !next.is_ascii()) => return group(),
            (_, '\\') => drop(chars.next()),
            (_, other) if !other.is_ascii() => return group(),
            _ => {}
        }
    }
    if depth == 0 { Ok(()) } else { group() }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pattern")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let hub = hub();
        let compiled = Pattern::compile(pattern, &hub).unwrap();
        let matches = |text: &&&str| compiled.matches(&Topic::unchecked(text, &hub));
        assert_eq!(yes.iter().find(|text| !matches(text)), None, "{pattern} does not match");
        assert_eq!(no.iter().find(matches), None, "{pattern} matches");
    }

    #[test]
    fn absolute_patterns_match_whole_urls() {
        check(
            "https://example.com/books/:id",
            &["https://example.com/books/1", "https://EXAMPLE.com/books/1", "/books/1"],
            &[
                "https://example.com/books/",
                "https://example.com/books/1/2",
                "https://example.com/Books/1",
                "http://example.com/books/1",
                "https://example.com:444/books/1",
                "https://other.com/books/1",
                "books/1",
                "https://[",
            ],
        );
        check(
            "https://*.example.com/*",
            &["https://a.example.com/x/y"],
            &["https://example.com/x"],
        );
        check("/a{/b}?", &["/a", "/a/b"], &["/a/c", "/ab"]);
        check(r"/n/:n(\d+)", &["/n/42"], &["/n/x", "/n/"]);
        check(r"/n/([a-c\]]+)", &["/n/abc"], &["/n/d"]);
        check(r"/n/(a(?:b)?)", &["/n/ab", "/n/a"], &["/n/b"]);
        // Without the escapes the standard reads `:book` as a group.
        check(r"urn\:book\:*", &["urn:book:1"], &["urn:film:1"]);
        check("/q?*", &["/q?a=b"], &["/r?a=b"]);
    }

    #[test]
    fn relative_patterns_and_topics_are_resolved_against_the_hub() {
        check(
            "/.well-known/mercure/subscriptions/:match_type/:match/:subscriber",
            &[
                "/.well-known/mercure/subscriptions/exact/a%2Fb/urn%3Auuid%3A1",
                "https://example.com/.well-known/mercure/subscriptions/exact/a/b",
            ],
            &["/.well-known/mercure/subscriptions", "/.well-known/mercure/subscriptions/exact/a"],
        );
    }

    #[test]
    fn malformed_and_large_patterns_are_refused_with_the_reason() {
        let refuse = |text: &str| Pattern::compile(text, &hub()).unwrap_err().to_string();
        assert!(refuse("/{a").contains("expected token Close"), "{}", refuse("/{a"));
        assert!(refuse("/:a/:a").contains("duplicate name"));
        for text in ["/(a", "/()", "/(?a)", "/(\u{e9})", "/((a))", "/(\\", r"/(\)"] {
            assert!(refuse(text).contains("a group in it is malformed"), "{text}");
        }
        // The library would count below zero.
        for text in ["https://a]", "https://[::1]/", "/a]", r"/\]", "/([a])]"] {
            assert!(refuse(text).contains("outside a group"), "{text}");
        }
        let large = refuse(r"/(\w{9999}\w{9999})");
        assert_eq!(large, "a regular expression in it is malformed, or needs more than 128 KiB");
    }
}
