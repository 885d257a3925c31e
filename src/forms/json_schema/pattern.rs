//! Regular expressions: those of ECMA-262, which JSON Schema means, become one text that PostgreSQL and the `regex`
//! crate read alike.
//!
//! Always holds: what is not known to mean the same everywhere is refused (a white list); no expression that is let
//! through backtracks, here or there; every class is spelled out in code points, so no locale and no version of
//! Unicode decides.

use std::fmt::Write as _;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

use super::ecma;

/// The most characters of a pattern.
const MAX_LENGTH: usize = 1_000;
/// The most that repetitions may multiply a pattern to, in characters to match.
const MAX_WEIGHT: usize = 1_000;
/// The most pieces that may be left out, repetitions multiplied out: what PostgreSQL takes to prepare an expression
/// grows with their cube, 30 ms for these (measured).
const MAX_SKIPS: usize = 100;
/// PostgreSQL's own limit of a repetition
/// (<https://www.postgresql.org/docs/15/functions-matching.html#POSIX-QUANTIFIERS-TABLE>).
const MAX_REPEAT: u32 = 255;
/// The most ranges of all classes: `\p{L}` has 650.
const MAX_RANGES: usize = 2_000;

/// A pattern, as all of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As it stands in the schema.
    pub(super) source: String,
    /// Each has to hold; those after the first come from lookaheads at the beginning.
    pub(super) parts: Vec<Part>,
}

/// A regular expression without lookarounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Whether it must not match.
    pub(super) negated: bool,
    /// For any engine.
    pub(super) regex: String,
    /// The same for PostgreSQL, where a length can take the place of a bounded repetition, which is dear there.
    pub(super) bounded: Option<Bounded>,
    /// Whether PostgreSQL reads `regex` itself: it counts to 255.
    pub(super) portable: bool,
    /// How many pieces of it may be left out.
    pub(super) skips: usize,
}

/// `^[a-z]{1,80}$` is `^[a-z]*$` with 1 to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounded {
    pub(super) regex: String,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Pattern {
    /// # Errors
    /// Why it is refused.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.chars().count() > MAX_LENGTH {
            return Err(format!("the pattern has more than {MAX_LENGTH} characters"));
        }
        let pattern = Self::of_ours(source)?;
        for part in &pattern.parts {
            if part.skips > MAX_SKIPS {
                return Err(format!("it has more than {MAX_SKIPS} pieces that may be left out, repetitions counted"));
            }
        }
        Ok(pattern)
    }

    /// One that is written in this code, and may be longer.
    pub(super) fn of_ours(source: &str) -> Result<Self, String> {
        let parts = ecma::translate(source)?.into_iter().map(|(negated, text)| Part::new(negated, &text));
        Ok(Self { source: source.to_owned(), parts: parts.collect::<Result<_, _>>()? })
    }

    /// The expression, where it is one without conditions around it.
    pub(super) fn single(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [part] if !part.negated => Some(&part.regex),
            _ => None,
        }
    }
}

impl Part {
    fn new(negated: bool, text: &str) -> Result<Self, String> {
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(50).build();
        let hir = parser.parse(text).map_err(|error| match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            _ => "it cannot be read".to_owned(),
        })?;
        let mut ranges = 0;
        let skips = skips(&hir);
        if weight(&hir, &mut ranges) > MAX_WEIGHT || ranges > MAX_RANGES {
            return Err("its repetitions or classes make it too large".to_owned());
        }
        let bounded = bounded(&hir)?;
        let mut regex = String::new();
        // What a length stands for may repeat as often as it likes; PostgreSQL does not see it.
        print(&hir, &mut regex, if bounded.is_some() { u32::MAX } else { MAX_REPEAT })?;
        let portable = bounded.is_none() || print(&hir, &mut String::new(), MAX_REPEAT).is_ok();
        Ok(Self { negated, regex, bounded, portable, skips })
    }
}

/// How many characters it has to remember, with repetitions multiplied out.
fn weight(hir: &Hir, ranges: &mut usize) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(class) => {
            if let Class::Unicode(class) = class {
                *ranges += class.ranges().len();
            }
            1
        }
        HirKind::Repetition(repetition) => {
            // One character, however often, costs nothing where a length can say it.
            let times = repetition.max.unwrap_or(repetition.min + 1).max(1) as usize;
            weight(&repetition.sub, ranges).saturating_mul(if character(&repetition.sub).is_some() {
                times.min(256)
            } else {
                times
            })
        }
        HirKind::Capture(capture) => weight(&capture.sub, ranges),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            all.iter().fold(0, |sum, hir| sum.saturating_add(weight(hir, ranges)))
        }
    }
}

/// How many pieces may be left out, with repetitions multiplied out.
fn skips(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let (min, times) = (repetition.min as usize, repetition.max.unwrap_or(repetition.min + 1) as usize);
            if character(&repetition.sub).is_some() {
                return usize::from(repetition.max != Some(repetition.min));
            }
            skips(&repetition.sub).saturating_mul(times.max(1)).saturating_add(times - min)
        }
        HirKind::Capture(capture) => skips(&capture.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            all.iter().fold(0, |sum, hir| sum.saturating_add(skips(hir)))
        }
        _ => 0,
    }
}

/// What matches exactly one character.
fn character(hir: &Hir) -> Option<()> {
    match hir.kind() {
        HirKind::Class(_) => Some(()),
        HirKind::Literal(literal) => {
            std::str::from_utf8(&literal.0).ok().filter(|text| text.chars().count() == 1).map(drop)
        }
        _ => None,
    }
}

/// `^…$` whose parts are characters, one of which is repeated from m to n times, the others a fixed number of times.
fn bounded(hir: &Hir) -> Result<Option<Bounded>, String> {
    let HirKind::Concat(all) = hir.kind() else { return Ok(None) };
    let [first, middle @ .., last] = all.as_slice() else { return Ok(None) };
    if !matches!((first.kind(), last.kind()), (HirKind::Look(Look::Start), HirKind::Look(Look::End))) {
        return Ok(None);
    }
    let (mut fixed, mut range) = (0, None);
    let mut regex = "^".to_owned();
    for hir in middle {
        match hir.kind() {
            HirKind::Repetition(repetition) if character(&repetition.sub).is_some() => {
                let (min, max) = (repetition.min, repetition.max);
                let long = max.is_some_and(|max| max > min.saturating_add(1) || max > MAX_REPEAT);
                if long && range.is_none() {
                    range = Some((u64::from(min), u64::from(max.unwrap_or_default())));
                    print(&repetition.sub, &mut regex, MAX_REPEAT)?;
                    regex.push('*');
                    continue;
                }
                if max != Some(min) {
                    return Ok(None);
                }
                fixed += u64::from(min);
            }
            HirKind::Literal(literal) => {
                fixed += std::str::from_utf8(&literal.0).map_or(0, |text| text.chars().count() as u64);
            }
            HirKind::Class(_) => fixed += 1,
            _ => return Ok(None),
        }
        print(hir, &mut regex, MAX_REPEAT)?;
    }
    regex.push('$');
    Ok(range.map(|(min, max)| Bounded { regex, min: fixed + min, max: fixed + max }))
}

fn print(hir: &Hir, out: &mut String, max_repeat: u32) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => {
            for character in std::str::from_utf8(&literal.0).map_err(|_| "it is no text")?.chars() {
                escape(character, out)?;
            }
        }
        HirKind::Class(Class::Unicode(class)) => print_class(class, out)?,
        HirKind::Class(Class::Bytes(class)) => {
            print_class(&class.to_unicode_class().ok_or("it matches bytes, not characters")?, out)?;
        }
        HirKind::Look(Look::Start) => out.push('^'),
        HirKind::Look(Look::End) => out.push('$'),
        HirKind::Look(_) => return Err("it uses a word boundary".to_owned()),
        HirKind::Repetition(repetition) => {
            let (min, max) = (repetition.min, repetition.max);
            if min > max_repeat || max.is_some_and(|max| max > max_repeat) {
                return Err(format!("it repeats something more than {MAX_REPEAT} times"));
            }
            if character(&repetition.sub).is_some() {
                print(&repetition.sub, out, max_repeat)?;
            } else {
                group(&repetition.sub, out, max_repeat)?;
            }
            let _ = match (min, max) {
                (0, None) => write!(out, "*"),
                (1, None) => write!(out, "+"),
                (0, Some(1)) => write!(out, "?"),
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) if min == max => write!(out, "{{{min}}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        HirKind::Capture(capture) => group(&capture.sub, out, max_repeat)?,
        HirKind::Concat(all) => {
            for hir in all {
                if matches!(hir.kind(), HirKind::Alternation(_)) {
                    group(hir, out, max_repeat)?;
                } else {
                    print(hir, out, max_repeat)?;
                }
            }
        }
        HirKind::Alternation(all) => {
            for (n, hir) in all.iter().enumerate() {
                if n > 0 {
                    out.push('|');
                }
                print(hir, out, max_repeat)?;
            }
        }
    }
    Ok(())
}

fn group(hir: &Hir, out: &mut String, max_repeat: u32) -> Result<(), String> {
    out.push_str("(?:");
    print(hir, out, max_repeat)?;
    out.push(')');
    Ok(())
}

fn print_class(class: &ClassUnicode, out: &mut String) -> Result<(), String> {
    if class.ranges().is_empty() {
        return Err("a class of it matches no character".to_owned());
    }
    let mut class = class.clone();
    let negated = class.ranges().last().is_some_and(|range| range.end() == char::MAX);
    if negated {
        class.negate();
    }
    // No text of PostgreSQL has a NUL, and no pattern of it can.
    let ranges: Vec<_> = class.ranges().iter().map(|range| (range.start().max('\u{1}'), range.end())).collect();
    let ranges: Vec<_> = ranges.into_iter().filter(|(start, end)| start <= end).collect();
    match (ranges.as_slice(), negated) {
        ([], true) => out.push_str("[\\u0001-\u{10FFFF}]"),
        ([], false) => return Err("a class of it matches no character".to_owned()),
        ([(start, end)], false) if start == end => escape(*start, out)?,
        (ranges, negated) => {
            out.push_str(if negated { "[^" } else { "[" });
            for (start, end) in ranges {
                escape(*start, out)?;
                if start < end {
                    if *end as u32 > *start as u32 + 1 {
                        out.push('-');
                    }
                    escape(*end, out)?;
                }
            }
            out.push(']');
        }
    }
    Ok(())
}

/// A character that stands for itself, also inside of a class.
fn escape(character: char, out: &mut String) -> Result<(), String> {
    match character {
        '\0' => return Err("it asks for a NUL character, which no text in PostgreSQL has".to_owned()),
        'a'..='z'
        | 'A'..='Z'
        | '0'..='9'
        | '_'
        | ' '
        | '@'
        | '%'
        | '#'
        | ','
        | ':'
        | ';'
        | '<'
        | '>'
        | '='
        | '!'
        | '"'
        | '\''
        | '`'
        | '~'
        | '/'
        | '\u{A1}'.. => out.push(character),
        '\u{1}'..='\u{1F}' | '\u{7F}'..='\u{A0}' => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => {
            out.push('\\');
            out.push(character);
        }
    }
    Ok(())
}
