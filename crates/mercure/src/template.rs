//! URI Templates (RFC 6570) as patterns: the topics that are expansions of a template.
//!
//! All four levels are compiled to one regular expression, which the library matches in time linear in the topic's
//! length. A variable may be undefined, a text, a list or a map, so a template matches more than one reader
//! expects: `/books{/id}` also matches `/books`.
//!
//! Refused: a template with more than [`VARIABLES_MAX`] variables in one expression or more than [`EXPRESSIONS_MAX`] expressions, or
//! one whose program is too large, such as one with a long prefix. A text with braces out of place is no template; it stands for itself only.

use std::fmt::Write as _;

use regex::bytes::Regex;

/// Variables of one expression. Its program grows with their square, because each may be undefined.
pub(crate) const VARIABLES_MAX: usize = 8;
/// Expressions of one template, so that one that is too large is refused before it is compiled.
pub(crate) const EXPRESSIONS_MAX: usize = 32;
/// The largest program of a pattern or a template, in bytes.
pub(crate) const PROGRAM_BYTES_MAX: usize = 128 * 1024;
/// The memory in which one regular expression keeps the states that it has built, in bytes. When it is full they are built anew.
pub(crate) const STATES_BYTES_MAX: usize = 256 * 1024;

/// A character of a value, and one that may also be reserved.
const VALUE: &str = "(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})";
const RESERVED_VALUE: &str = r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})";
/// The same for a prefix, whose length counts characters, each of which may be escaped as several octets.
const PREFIX: &str = "(?:[A-Za-z0-9._~-]|(?:%[0-9A-Fa-f]{2}){1,4})";
const RESERVED_PREFIX: &str = r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|(?:%[0-9A-Fa-f]{2}){1,4})";
/// The digits of the longest prefix: RFC 6570 allows less than 10,000.
const PREFIX_DIGITS_MAX: usize = 4;

/// The reason why a text is not matched as a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTemplate {
    /// It has no expression, or is malformed: it stands for itself.
    Plain,
    /// It would cost too much.
    TooLarge,
}

/// An operator: the text before the first variable and between two, and the form of their values.
struct Operator {
    first: &'static str,
    between: &'static str,
    /// True if the name of a variable stands before its value.
    is_named: bool,
    /// True if an empty value keeps its `=`.
    keeps_equals: bool,
    /// True if a value may have reserved characters.
    is_reserved: bool,
}

/// A variable of an expression.
struct Variable<'a> {
    name: &'a str,
    prefix: Option<&'a str>,
    is_exploded: bool,
}

impl Operator {
    /// The operator of an expression, and the rest of it; `None` if the operator is not defined.
    fn of(expression: &str) -> Option<(Self, &str)> {
        let operator = |first, between, is_named, keeps_equals, is_reserved| {
            Some(Self { first, between, is_named, keeps_equals, is_reserved })
        };
        let first = expression.chars().next()?;
        let found = match first {
            '+' => operator("", ",", false, false, true),
            '#' => operator("#", ",", false, false, true),
            '.' => operator(r"\.", r"\.", false, false, false),
            '/' => operator("/", "/", false, false, false),
            ';' => operator(";", ";", true, false, false),
            '?' => operator(r"\?", "&", true, true, false),
            '&' => operator("&", "&", true, true, false),
            // RFC 6570 keeps these for later.
            '=' | ',' | '!' | '@' | '|' => None,
            _ => return operator("", ",", false, false, false).map(|plain| (plain, expression)),
        }?;
        Some((found, &expression[first.len_utf8()..]))
    }

    /// The expression of a variable that is defined.
    fn defined(&self, variable: &Variable<'_>) -> String {
        let (value, prefix) = match self.is_reserved {
            true => (RESERVED_VALUE, RESERVED_PREFIX),
            false => (VALUE, PREFIX),
        };
        let one = match variable.prefix {
            Some(length) => format!("{prefix}{{0,{length}}}"),
            None => format!("{value}*"),
        };
        let equals = if self.keeps_equals { format!("={one}") } else { format!("(?:={one})?") };
        let between = self.between;
        match (variable.is_exploded, self.is_named) {
            (true, true) => format!("{VALUE}+{equals}(?:{between}{VALUE}+{equals})*"),
            (true, false) => format!("{one}(?:={one})?(?:{between}{one}(?:={one})?)*"),
            // A list or a map: its parts stand between commas.
            (false, named) => {
                let all = format!("{one}(?:,{one})*");
                let name = regex::escape(variable.name);
                match (named, self.keeps_equals) {
                    (false, _) => all,
                    (true, true) => format!("{name}={all}"),
                    (true, false) => format!("{name}(?:={all})?"),
                }
            }
        }
    }

    /// The expression of variables of which any may be undefined.
    fn any(&self, variables: &[Variable<'_>]) -> String {
        let defined: Vec<_> = variables.iter().map(|variable| self.defined(variable)).collect();
        // The first that is defined, then any of those behind it.
        let begins = (0..defined.len()).map(|at| {
            let others = defined[at + 1..].iter().map(|one| format!("(?:{}{one})?", self.between));
            format!("{}{}", defined[at], others.collect::<String>())
        });
        format!("(?:{}(?:{}))?", self.first, begins.collect::<Vec<_>>().join("|"))
    }
}

impl<'a> Variable<'a> {
    /// Parses the specification of a variable; `None` if it is malformed.
    fn parse(specification: &'a str) -> Option<Self> {
        let (name, prefix, is_exploded) = match specification.strip_suffix('*') {
            Some(name) => (name, None, true),
            None => match specification.split_once(':') {
                Some((name, length)) => (name, Some(length), false),
                None => (specification, None, false),
            },
        };
        let is_length = |length: &str| {
            (1..=PREFIX_DIGITS_MAX).contains(&length.len())
                && length.bytes().all(|byte| byte.is_ascii_digit())
                && !length.starts_with('0')
        };
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.%".contains(&byte));
        (is_name && prefix.is_none_or(is_length)).then_some(Self { name, prefix, is_exploded })
    }
}

/// Compiles a template.
///
/// # Errors
/// It is none, or it is too large.
pub(crate) fn compile(text: &str) -> Result<Regex, NoTemplate> {
    let mut program = "^".to_owned();
    let mut rest = text;
    let mut expressions = 0;
    while let Some(at) = rest.find(['{', '}']) {
        put_literal(&mut program, &rest[..at]);
        let expression = rest[at..].strip_prefix('{').ok_or(NoTemplate::Plain)?;
        let end = expression.find('}').ok_or(NoTemplate::Plain)?;
        let (operator, list) = Operator::of(&expression[..end]).ok_or(NoTemplate::Plain)?;
        let variables: Option<Vec<_>> = list.split(',').map(Variable::parse).collect();
        let variables = variables.ok_or(NoTemplate::Plain)?;
        expressions += 1;
        if variables.len() > VARIABLES_MAX || expressions > EXPRESSIONS_MAX {
            return Err(NoTemplate::TooLarge);
        }
        program.push_str(&operator.any(&variables));
        rest = &expression[end + 1..];
    }
    if expressions == 0 {
        return Err(NoTemplate::Plain);
    }
    put_literal(&mut program, rest);
    program.push('$');
    regex(&program).ok_or(NoTemplate::TooLarge)
}

/// Writes a literal. An expansion escapes other characters than those of ASCII; a publisher may not.
fn put_literal(program: &mut String, literal: &str) {
    for char in literal.chars() {
        let raw = regex::escape(char.encode_utf8(&mut [0; 4]));
        if char.is_ascii() {
            program.push_str(&raw);
            continue;
        }
        let mut escaped = String::new();
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            write!(escaped, "%(?i:{byte:02X})").expect("memory takes everything");
        }
        write!(program, "(?:{raw}|{escaped})").expect("memory takes everything");
    }
}

/// Compiles a program of a bounded size. Its classes are those of ASCII: templates and the parts of a URL have no others, and
/// those of Unicode are large.
pub(crate) fn regex(program: &str) -> Option<Regex> {
    regex::bytes::RegexBuilder::new(program)
        .unicode(false)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(STATES_BYTES_MAX)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, yes: &[&str], no: &[&str]) {
        let regex = compile(template).unwrap();
        for topic in yes {
            assert!(regex.is_match(topic.as_bytes()), "{template} {topic}");
        }
        for topic in no {
            assert!(!regex.is_match(topic.as_bytes()), "{template} {topic}");
        }
    }

    #[test]
    fn level_1_and_2() {
        check(
            "https://example.com/books/{id}",
            &[
                "https://example.com/books/1",
                "https://example.com/books/a%20b",
                "https://example.com/books/",
                "https://example.com/books/1,2",
            ],
            &[
                "https://example.com/books/1/2",
                "https://example.com/books/a b",
                "https://example.com/books/a%2",
                "https://exampleXcom/books/1",
                "https://example.com/books",
                "xhttps://example.com/books/1",
            ],
        );
        check("/a/{+path}/z", &["/a/b/c/z", "/a//z", "/a/?x#y/z"], &["/a/b", "/a/b c/z"]);
        check("/a{#part}", &["/a", "/a#b/c"], &["/ab", "/a##\u{e9}"]);
    }

    #[test]
    fn level_3() {
        check("/m{/a,b}", &["/m", "/m/1", "/m/1/2"], &["/m1", "/m/1/2/3"]);
        check("x{.y}", &["x", "x.y", "x.", "x.y.z"], &["xy", "x.y/z"]);
        check("/p{;a,b}", &["/p", "/p;a=1", "/p;a;b=2", "/p;b"], &["/p;c=1", "/p;b;a", "/pa=1"]);
        check("/q{?a,b}", &["/q", "/q?a=1&b=2", "/q?b="], &["/q?a", "/q?b=1&a=2", "/q?"]);
        check("/q?x=1{&a}", &["/q?x=1", "/q?x=1&a=2"], &["/q?x=1a=2"]);
    }

    #[test]
    fn level_4() {
        check("/{a:3}/z", &["/abc/z", "//z", "/%C3%A9tu/z"], &["/abcd/z"]);
        check("/m{/list*}", &["/m", "/m/a/b/c", "/m/k=v/l=w"], &["/mx", "/m/a?"]);
        check("/q{?map*}", &["/q", "/q?a=1&b=2"], &["/q?a", "/q?=1"]);
        check("/p{;map*}", &["/p;a=1;b", "/p"], &["/p;;"]);
    }

    #[test]
    fn literals_are_taken_as_they_are_and_escaped() {
        check("/\u{e9}/{id}", &["/\u{e9}/1", "/%C3%A9/1", "/%c3%a9/1"], &["/e/1", "/%C3/1"]);
        check("a.b+c({id})", &["a.b+c(1)"], &["aXb+c(1)", "a.bbc(1)"]);
    }

    #[test]
    fn a_text_with_braces_out_of_place_is_no_template() {
        for text in [
            "a",
            "{",
            "}",
            "a}",
            "{}",
            "{a",
            "{a}{",
            "{=a}",
            "{a b}",
            "{a,}",
            "{a:0}",
            "{a:12345}",
            "{{a}}",
        ] {
            assert_eq!(compile(text).unwrap_err(), NoTemplate::Plain, "{text}");
        }
    }

    #[test]
    fn a_template_that_costs_too_much_is_refused() {
        let many = format!("{{{}}}", ["a"; 9].join(","));
        for text in
            [many.as_str(), "{a:9999}", &"{a*,b*,c*,d*,e*,f*,g*,h*}".repeat(9), &"{a}".repeat(33)]
        {
            assert_eq!(compile(text).unwrap_err(), NoTemplate::TooLarge, "{text}");
        }
        assert!(compile("{a,b,c,d,e,f,g,h}").is_ok() && compile(&"{a}".repeat(32)).is_ok());
    }
}
