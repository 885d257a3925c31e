//! From the syntax of ECMA-262 (with the flag `u`, <https://tc39.es/ecma262/#sec-patterns>) to that of the `regex`
//! crate, by a white list.
//!
//! Lookaheads are let through directly behind a leading `^` alone, where they are conditions of their own:
//! `^(?=.*\d)(?!.* ).+$` is `^.*\d` and not `^.* ` and `^.+$`. So nothing has to backtrack.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

const SPACE: &str = r"\t\n\x0B\x0C\r \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF";
const NO_LINE_END: &str = r"[^\n\r\u2028\u2029]";

/// The general categories (<https://tc39.es/ecma262/#table-unicode-general-category-values>).
const CATEGORIES: &str = "\
    Cased_Letter LC Close_Punctuation Pe Connector_Punctuation Pc Control Cc cntrl Currency_Symbol Sc \
    Dash_Punctuation Pd Decimal_Number Nd digit Enclosing_Mark Me Final_Punctuation Pf Format Cf \
    Initial_Punctuation Pi Letter L Letter_Number Nl Line_Separator Zl Lowercase_Letter Ll Mark M Combining_Mark \
    Math_Symbol Sm Modifier_Letter Lm Modifier_Symbol Sk Nonspacing_Mark Mn Number N Open_Punctuation Ps Other C \
    Other_Letter Lo Other_Number No Other_Punctuation Po Other_Symbol So Paragraph_Separator Zp Private_Use Co \
    Punctuation P punct Separator Z Space_Separator Zs Spacing_Mark Mc Surrogate Cs Symbol S Titlecase_Letter Lt \
    Unassigned Cn Uppercase_Letter Lu";
/// Those binary properties (<https://tc39.es/ecma262/#table-binary-unicode-properties>) that `regex` knows as well.
const BINARY: &str = "\
    ASCII Any Assigned ASCII_Hex_Digit AHex Alphabetic Alpha Case_Ignorable CI Cased Dash \
    Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji Emoji_Component EComp Emoji_Modifier EMod \
    Emoji_Modifier_Base EBase Emoji_Presentation EPres Extended_Pictographic ExtPict Extender Ext Hex_Digit Hex \
    ID_Continue IDC ID_Start IDS Ideographic Ideo Join_Control Join_C Lowercase Lower Math Quotation_Mark QMark \
    Sentence_Terminal STerm Terminal_Punctuation Term Unified_Ideograph UIdeo Uppercase Upper Variation_Selector \
    VS White_Space space";

type Translated<T> = Result<T, String>;

/// The expressions that all have to hold, and which of them must not match.
pub(super) fn translate(source: &str) -> Translated<Vec<(bool, String)>> {
    let mut parts = Vec::new();
    let mut rest = source;
    if let Some(after) = source.strip_prefix('^')
        && !has_alternation(source)
    {
        let mut after = after;
        while let Some((negated, inner, behind)) = lookahead(after)? {
            parts.push((negated, format!("^(?:{})", expression(inner)?)));
            after = behind;
        }
        if !parts.is_empty() {
            rest = after;
        }
    }
    if parts.is_empty() {
        return Ok(vec![(false, expression(rest)?)]);
    }
    if !rest.is_empty() {
        parts.push((false, format!("^{}", expression(rest)?)));
    }
    Ok(parts)
}

/// Whether a `|` stands outside of all groups.
fn has_alternation(source: &str) -> bool {
    let (mut depth, mut class, mut escaped) = (0_i32, false, false);
    for character in source.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => class = false,
            _ if class => {}
            '[' => class = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// A lookahead that the text begins with: whether it is negated, what is in it, what comes behind.
fn lookahead(text: &str) -> Translated<Option<(bool, &str, &str)>> {
    let (negated, body) = match (text.strip_prefix("(?="), text.strip_prefix("(?!")) {
        (Some(body), _) => (false, body),
        (_, Some(body)) => (true, body),
        _ => return Ok(None),
    };
    let (mut depth, mut class, mut escaped) = (1_i32, false, false);
    for (at, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => class = false,
            _ if class => {}
            '[' => class = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let behind = &body[at + 1..];
            if behind.starts_with(['*', '+', '?', '{']) {
                return Err("it repeats a lookahead".to_owned());
            }
            return Ok(Some((negated, &body[..at], behind)));
        }
    }
    Err("a group of it does not end".to_owned())
}

/// One expression without lookarounds.
fn expression(source: &str) -> Translated<String> {
    let mut out = String::with_capacity(source.len() * 2);
    let mut chars = source.chars().peekable();
    // Whether something stands before that can be repeated.
    let mut atom = false;
    let mut names = Vec::new();
    while let Some(character) = chars.next() {
        match character {
            '\\' => {
                match escape(&mut chars, false)? {
                    Escape::Character(character) => literal(character, &mut out),
                    Escape::Class(class) => out.push_str(&class),
                }
                atom = true;
            }
            // The first ] ends a class, so the second one of [[:alpha:]] stands alone.
            ']' if source.contains("[:") => {
                return Err("it has a ] outside of a class: write \\], and \\p{L} for [[:alpha:]], which is of POSIX"
                    .to_owned());
            }
            ']' | '}' => return Err(format!("it has a {character} without its beginning: write \\{character}")),
            '[' => {
                class(&mut chars, &mut out)?;
                atom = true;
            }
            '.' => {
                out.push_str(NO_LINE_END);
                atom = true;
            }
            '^' | '$' => {
                out.push_str(if character == '^' { "\\A" } else { "\\z" });
                atom = false;
            }
            '(' => {
                if chars.next_if_eq(&'?').is_some() {
                    match chars.next() {
                        Some(':') => {}
                        Some('<') if !matches!(chars.peek(), Some('=' | '!')) => {
                            let name = until(&mut chars, '>').ok_or("a group's name does not end")?;
                            if !is_name(&name) {
                                return Err(format!("the name of a group, {name:?}, is no identifier"));
                            }
                            if names.contains(&name) {
                                return Err(format!("two groups have the name {name}"));
                            }
                            names.push(name);
                        }
                        Some('=' | '!' | '<') => {
                            return Err("it looks ahead or behind, other than directly after a leading ^".to_owned());
                        }
                        _ => return Err("it has a group of an unknown kind".to_owned()),
                    }
                }
                out.push_str("(?:");
                atom = false;
            }
            ')' | '|' => {
                out.push(character);
                atom = character == ')';
            }
            '*' | '+' | '?' => {
                if !std::mem::take(&mut atom) {
                    return Err(format!("its {character} repeats nothing"));
                }
                out.push(character);
                // Whether it takes as few as it can makes no difference to whether it matches.
                chars.next_if_eq(&'?');
            }
            '{' => match repetition(&chars) {
                Some(text) => {
                    if !std::mem::take(&mut atom) {
                        return Err("its { repeats nothing".to_owned());
                    }
                    chars.by_ref().take(text.chars().count()).for_each(drop);
                    out.push('{');
                    out.push_str(&text);
                    chars.next_if_eq(&'?');
                }
                None => return Err("its { begins no repetition: write \\{".to_owned()),
            },
            other => {
                literal(other, &mut out);
                atom = true;
            }
        }
    }
    Ok(out)
}

/// `2}`, `2,}` or `2,3}`, if that comes next.
fn repetition(chars: &Peekable<Chars<'_>>) -> Option<String> {
    let text: String = chars.clone().take_while(|character| *character != '}').take(12).collect();
    let (min, max) = text.split_once(',').unwrap_or((&text, ""));
    let digits = |text: &str| text.chars().all(|character| character.is_ascii_digit());
    let ends = chars.clone().nth(text.chars().count()) == Some('}');
    (ends && !min.is_empty() && digits(min) && digits(max)).then(|| text + "}")
}

enum Escape {
    Character(char),
    Class(String),
}

/// The text before this character, which is taken as well.
fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            character if character == end => return Some(text),
            character => text.push(character),
        }
    }
}

fn is_name(name: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || matches!(character, '$' | '_');
    name.starts_with(|first: char| part(first) && !first.is_numeric()) && name.chars().all(part)
}

/// What follows a backslash.
fn escape(chars: &mut Peekable<Chars<'_>>, in_class: bool) -> Translated<Escape> {
    let character = chars.next().ok_or("it ends with a backslash")?;
    let class = |text: &str| Ok(Escape::Class(text.to_owned()));
    Ok(Escape::Character(match character {
        'd' => return class("[0-9]"),
        'D' => return class("[^0-9]"),
        'w' => return class("[A-Za-z0-9_]"),
        'W' => return class("[^A-Za-z0-9_]"),
        's' => return Ok(Escape::Class(format!("[{SPACE}]"))),
        'S' => return Ok(Escape::Class(format!("[^{SPACE}]"))),
        'p' | 'P' => return property(character, chars).map(Escape::Class),
        'b' | 'B' => return Err("it uses a word boundary".to_owned()),
        'k' | '1'..='9' => return Err("it refers back to a group".to_owned()),
        't' => '\t',
        'n' => '\n',
        'v' => '\x0B',
        'f' => '\x0C',
        'r' => '\r',
        '0' if !chars.peek().is_some_and(char::is_ascii_digit) => '\0',
        'c' => match chars.next() {
            Some(letter) if letter.is_ascii_alphabetic() => char::from(letter as u8 % 32),
            _ => return Err("its \\c names no letter".to_owned()),
        },
        'x' => code_point(hexadecimal(chars, 2)?)?,
        'u' => unicode(chars)?,
        '^' | '$' | '\\' | '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '/' => character,
        '-' if in_class => character,
        other if other.is_ascii_punctuation() || other == ' ' => {
            return Err(format!("it has the escape \\{other}, which the flag u forbids here: write {other}"));
        }
        other => return Err(format!("it has an unknown escape \\{other}")),
    }))
}

/// `\p{L}`, `\p{Script=Greek}`: by their names in the standard, which `regex` takes in other spellings as well.
fn property(kind: char, chars: &mut Peekable<Chars<'_>>) -> Translated<String> {
    let name = chars.next_if_eq(&'{').and_then(|_| until(chars, '}')).unwrap_or_default();
    let is_in = |names: &str, name: &str| names.split(' ').any(|known| known == name);
    let known = match name.split_once('=') {
        Some(("General_Category" | "gc", value)) => is_in(CATEGORIES, value),
        Some(("Script" | "sc" | "Script_Extensions" | "scx", value)) => is_script(value),
        Some(_) => false,
        None => is_in(CATEGORIES, &name) || is_in(BINARY, &name),
    };
    if known { Ok(format!("\\{kind}{{{name}}}")) } else { Err(format!("its \\{kind} names no property of ECMA-262")) }
}

/// As the names of scripts are written; whether there is one of this name, `regex` knows.
fn is_script(name: &str) -> bool {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.next().is_some_and(|second| second.is_ascii_lowercase())
            && letters.all(|letter| letter.is_ascii_lowercase())
    };
    name == "SignWriting" || name.split('_').all(word)
}

fn hexadecimal(chars: &mut Peekable<Chars<'_>>, digits: usize) -> Translated<u32> {
    let text: String = chars.by_ref().take(digits).collect();
    let right = text.len() == digits && text.chars().all(|character| character.is_ascii_hexdigit());
    u32::from_str_radix(&text, 16).ok().filter(|_| right).ok_or_else(|| format!("\\x or \\u needs {digits} digits"))
}

fn code_point(code: u32) -> Translated<char> {
    char::from_u32(code).ok_or_else(|| format!("U+{code:04X} is no character"))
}

/// Behind `\u`: `00e9`, `{1f600}`, or the first of a surrogate pair.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Translated<char> {
    if chars.next_if_eq(&'{').is_some() {
        let digits = until(chars, '}').filter(|text| text.chars().all(|character| character.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
        return code_point(code.ok_or("its \\u{…} names no character")?);
    }
    let high = hexadecimal(chars, 4)?;
    if !(0xD800..0xDC00).contains(&high) {
        return code_point(high);
    }
    if (chars.next(), chars.next()) != (Some('\\'), Some('u')) {
        return code_point(high);
    }
    let low = hexadecimal(chars, 4)?;
    if !(0xDC00..0xE000).contains(&low) {
        return code_point(high);
    }
    code_point(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
}

/// Behind `[`.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Translated<()> {
    let negated = chars.next_if_eq(&'^').is_some();
    out.push_str(if negated { "[^" } else { "[" });
    let mut empty = true;
    loop {
        let item = match chars.next().ok_or("a class of it does not end")? {
            ']' if empty => return Err("it has an empty class, [] or [^]".to_owned()),
            ']' => break,
            '\\' if chars.next_if_eq(&'b').is_some() => Escape::Character('\x08'),
            '\\' => escape(chars, true)?,
            character => Escape::Character(character),
        };
        empty = false;
        let first = match item {
            Escape::Class(class) => {
                if chars.peek() == Some(&'-') && chars.clone().nth(1) != Some(']') {
                    return Err("a range of a class of it begins with a class".to_owned());
                }
                out.push_str(&class);
                continue;
            }
            Escape::Character(character) => character,
        };
        literal(first, out);
        if chars.peek() != Some(&'-') || chars.clone().nth(1) == Some(']') {
            continue;
        }
        chars.next();
        let last = match chars.next().ok_or("a class of it does not end")? {
            '\\' if chars.next_if_eq(&'b').is_some() => '\x08',
            '\\' => match escape(chars, true)? {
                Escape::Character(character) => character,
                Escape::Class(_) => return Err("a range of a class of it ends with a class".to_owned()),
            },
            character => character,
        };
        if last < first {
            return Err("a range of a class of it is the wrong way around".to_owned());
        }
        out.push('-');
        literal(last, out);
    }
    out.push(']');
    Ok(())
}

fn literal(character: char, out: &mut String) {
    if character.is_ascii_alphanumeric() || !character.is_ascii() || character == '_' {
        out.push(character);
    } else {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{{{:x}}}", u32::from(character));
    }
}
